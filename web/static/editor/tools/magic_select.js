// Magic select: click on an object, then cut it out, remove it, or keep the selection for other tools. Of a cut-out it
// edits the foreground. Only what is done with the selection costs a credit.

import { withConfidence } from "../confidence.js";
import { drawGhost } from "../canvas.js";
import { el, segments } from "../elements.js";
import { loadImage } from "../images.js";
import { SelectionInput } from "./selection_input.js";
import { note, quietButton, Tool } from "./tool.js";

/** @import { Context } from "../canvas.js" */
/** @import { Editor } from "../editor.js" */
/** @import { Picture } from "../images.js" */
/** @import { Action, Fields, Frame, Point } from "../types.js" */

const HIDDEN = ["points", "box", "auto", "output", "multimask", "model", "format", "quality"];
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
    /** @type {SelectionInput} */
    this.input = new SelectionInput(this, () => this.#refresh());
  }

  build() {
    const { input } = this;
    this.#showMessage();
    const signs = { add: "+ Add", subtract: "− Subtract" };
    return [
      note("Click on an object, or draw a box around it. Clicking is free."),
      segments("Each click", signs, input.subtracts ? "subtract" : "add", (sign) => {
        input.subtracts = sign === "subtract";
      }),
      el(
        "div",
        { class: "row" },
        quietButton("Find the subject", () => input.selectSubject()),
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
    if (this.input.overlay) this.editor.keepSelection(this.fields(), this.input.overlay);
  }

  problem() {
    if (this.input.isUsable) return "";
    return this.input.isLoading ? "Selecting …" : "Select something first.";
  }

  fields() {
    return { ...this.controls.fields(), ...this.input.fields() };
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
    return Object.fromEntries(fields.filter(([name]) => REFINEMENTS.includes(name)));
  }

  /** @param {string} name */
  onChange(name) {
    super.onChange(name);
    if (REFINEMENTS.includes(name) && !this.input.isEmpty) this.input.loadOverlay();
  }

  onStep() {
    this.clear();
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
    return !this.input.isEmpty;
  }

  undo() {
    return this.input.undo();
  }

  clear() {
    this.input.clear();
    this.#refresh();
  }

  get cursor() {
    return "crosshair";
  }

  handlesPointer() {
    return true;
  }

  /**
   * @param {Point} point
   * @param {PointerEvent} event
   */
  pointerDown(point, event) {
    this.input.down(point, event);
  }

  /** @param {Point} point */
  pointerMove(point) {
    this.input.move(point);
  }

  /** @param {Point} point */
  pointerUp(point) {
    this.input.up(point);
  }

  cancelPointer() {
    this.input.cancelDrag();
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
    this.input.draw(context);
  }

  #refresh() {
    this.#showMessage();
    this.stage.invalidate();
    this.editor.panel.refresh();
  }

  #showMessage() {
    const { isLoading, message, overlay, confidence } = this.input;
    const selected = overlay && confidence !== null ? withConfidence("Selected", confidence) : "";
    this.message.textContent = isLoading ? "Selecting …" : message || selected;
  }
}
