// Magic select: click on an object, then cut it out, remove it, or keep the selection for other tools. Of a cut-out it
// edits the foreground. Only what is done with the selection costs a credit.

import { withConfidence } from "../confidence.js";
import { drawGhost } from "../canvas.js";
import { el } from "../elements.js";
import { loadImage } from "../images.js";
import { Marking } from "./marking.js";
import { placeNote, quietButton, Tool } from "./tool.js";

/** @import { Context } from "../canvas.js" */
/** @import { Editor } from "../editor.js" */
/** @import { Picture } from "../images.js" */
/** @import { Action, Fields, Frame, Point } from "../types.js" */
/** @import { Hover } from "./tool.js" */

const HIDDEN = ["points", "box", "strokes", "auto", "output", "multimask", "model", "format", "quality"];
const REFINEMENTS = ["grow", "feather", "invert"]; // shown in the overlay

export class MagicSelect extends Tool {
  /** @param {Editor} editor */
  constructor(editor) {
    super(editor, "magic-select");
    this.message = el("p", { class: "note", role: "status" });
    /**
     * The photo of the cut-out that is shown.
     * @type {HTMLImageElement | null}
     */
    this.photo = null;
    /** @type {Marking} */
    this.marking = new Marking(this, {
      way: "click",
      overlaysStrokes: true,
      onChange: () => this.#refresh(),
    });
  }

  build() {
    const { marking } = this;
    this.#showMessage();
    return [
      placeNote(this),
      ...marking.build((way) => {
        marking.way = way;
        this.editor.panel.rebuild();
        this.editor.setCursor(this.cursor);
        this.stage.invalidate();
      }),
      el(
        "div",
        { class: "row" },
        quietButton("Find the subject", () => marking.selectSubject()),
        quietButton("Clear", () => this.clear()),
      ),
      this.message,
      this.controls.advanced(HIDDEN),
    ];
  }

  /** The selection is made in the photo, where the cut-out's missing parts are visible too. */
  get retouches() {
    return true;
  }

  /** @returns {Action[]} */
  actions() {
    const problem = this.problem();
    const isCutout = this.step.cutout !== null;
    return [
      { label: isCutout ? "Keep only this" : "Cut out", problem, request: () => this.#cutOut() },
      {
        label: "Add to cut-out",
        problem,
        request: () => this.#withSelection("brush", { op: "restore" }, "Add to cut-out"),
        isHidden: !isCutout,
      },
      {
        label: "Erase from cut-out",
        problem,
        request: () => this.#withSelection("brush", { op: "erase" }, "Erase from cut-out"),
        isHidden: !isCutout,
      },
      {
        label: "Remove object",
        problem,
        request: () => this.#withSelection("generative-fill", {}, "Remove object"),
        isHidden: isCutout,
      },
      {
        label: "Use as mask",
        problem,
        request: () => this.request(this.fields()),
        act: () => this.#keep(),
        isHidden: isCutout,
      },
    ];
  }

  /**
   * A tool that acts on the selection: both together are one run.
   * @param {string} tool
   * @param {Fields} fields
   * @param {string} title
   */
  #withSelection(tool, fields, title) {
    const selection = { stepId: this.step.id, params: this.fields() };
    return { ...this.request(fields, tool, title), selection };
  }

  #keep() {
    const { overlay } = this.marking.selection;
    if (overlay) this.editor.keepSelection(this.fields(), overlay);
  }

  problem() {
    return this.marking.problem();
  }

  fields() {
    return { ...this.controls.fields(), ...this.marking.fields() };
  }

  example() {
    return this.#cutOut();
  }

  #cutOut() {
    return this.request({ ...this.fields(), output: "cutout" }, this.name, "Cut out");
  }

  /** @returns {Fields} */
  overlayFields() {
    const fields = Object.entries(this.controls.fields());
    const refinements = fields.filter(([name]) => REFINEMENTS.includes(name));
    return { ...Object.fromEntries(refinements), ...this.marking.strokeFields() };
  }

  /** @param {string} name */
  onChange(name) {
    super.onChange(name);
    if (REFINEMENTS.includes(name) && !this.marking.isEmpty) this.marking.selection.loadOverlay();
  }

  onStep() {
    this.clear();
    this.marking.strokes.onStep();
    this.editor.panel.rebuild();
    this.photo = null;
  }

  async onShown() {
    const { cutout } = this.step;
    const photo = cutout && (await loadImage(cutout.photoUrl).catch(() => null));
    if (this.model.step?.cutout !== cutout) return;
    this.photo = photo;
    this.stage.invalidate();
  }

  leave() {
    this.clear();
  }

  get hasDrawn() {
    return !this.marking.isEmpty;
  }

  undo() {
    return this.marking.undo();
  }

  clear() {
    this.marking.clear();
    this.#refresh();
  }

  get cursor() {
    return this.marking.cursor;
  }

  handlesPointer() {
    return true;
  }

  /**
   * @param {Point} point
   * @param {PointerEvent} event
   */
  pointerDown(point, event) {
    this.marking.down(point, event);
  }

  /** @param {Point} point */
  pointerMove(point) {
    this.marking.move(point);
  }

  /** @param {Point} point */
  pointerUp(point) {
    this.marking.up(point);
  }

  cancelPointer() {
    this.marking.cancel();
  }

  /** @param {Hover | null} hover */
  hover(hover) {
    this.marking.hover(hover);
  }

  /** @param {-1 | 1} direction */
  resizeBrush(direction) {
    this.marking.strokes.resizeBrush(direction);
  }

  workArea() {
    return this.marking.bounds;
  }

  pendingPoint() {
    return this.marking.selection.pendingPoint;
  }

  /**
   * What a cut-out lacks is shown faintly, so that it can be selected.
   * @param {CanvasRenderingContext2D} context
   * @param {Picture} image
   * @param {Frame} box
   */
  drawPicture(context, image, box) {
    const photo = this.step.cutout && this.photo;
    if (!photo) return false;
    context.drawImage(image, box.x, box.y, box.width, box.height);
    drawGhost(context, photo, box);
    return true;
  }

  /** @param {Context} context */
  drawOverlay(context) {
    this.marking.draw(context);
  }

  #refresh() {
    this.#showMessage();
    this.stage.invalidate();
    this.editor.panel.refresh();
  }

  #showMessage() {
    const { isLoading, message, overlay, confidence } = this.marking.selection;
    const selected = overlay && confidence !== null ? withConfidence("Selected", confidence) : "";
    this.message.textContent = isLoading ? "Selecting …" : message || selected;
  }
}
