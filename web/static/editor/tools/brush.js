// Brush: erase, restore, paint, blur or heal by hand. Strokes are previewed at once and applied together.

import { drawGhost, drawStrokes, scratchLayer } from "../canvas.js";
import { checkbox, el, newId, segments } from "../elements.js";
import * as history from "../history.js";
import { loadImage } from "../images.js";
import { StrokeInput } from "./stroke_input.js";
import { note, placeNote, quietButton, Tool } from "./tool.js";

/** @import { Context } from "../canvas.js" */
/** @import { Editor } from "../editor.js" */
/** @import { Picture } from "../images.js" */
/** @import { Action, Cutout, Fields, Frame, Point } from "../types.js" */
/** @import { Hover } from "./tool.js" */

/** @typedef {"erase" | "restore" | "paint" | "blur" | "heal"} Operation */

/** @type {Record<Operation, string>} */
const OPERATIONS = { erase: "Erase", restore: "Restore", paint: "Paint", blur: "Blur", heal: "Heal" };
const BLUR_SHARE = 0.01; // of the longer side, the same as on the server
const BACKGROUNDS = ["bg_color", "bg_gradient", "bg_scene", "bg_blur", "bg_image_id"];
const HEAL_MARK = "#ff5fa2";

export class Brush extends Tool {
  /** @param {Editor} editor */
  constructor(editor) {
    super(editor, "brush");
    /** @type {StrokeInput} */
    this.strokes = new StrokeInput(this, () => this.#refresh());
    /** @type {Operation} */
    this.operation = "erase";
    this.color = "#d23b2f";
    /** Whether the operation applies to the kept selection instead of strokes. */
    this.usesMask = false;
    /**
     * The picture that "Restore" draws from, once it is loaded.
     * @type {HTMLImageElement | null}
     */
    this.restoreImage = null;
  }

  get retouches() {
    return true;
  }

  get #selection() {
    return this.editor.keptSelection;
  }

  /**
   * The picture that "Restore" draws from: of a cut-out, its photo.
   * @returns {{ imageId: string, previewUrl: string } | null}
   */
  get #restoreSource() {
    const { cutout } = this.step;
    if (cutout) return { imageId: cutout.photoId, previewUrl: cutout.photoUrl };
    return history.restoreSource(this.model.steps, this.step);
  }

  build() {
    const hasMask = this.#selection !== null;
    if (!hasMask) this.usesMask = false;
    return [
      segments("Operation", OPERATIONS, this.operation, (operation) => this.#chooseOperation(operation)),
      note(this.#explanation()),
      placeNote(this),
      this.operation === "paint" && this.#buildColor(),
      hasMask &&
        checkbox("Apply to the kept selection", this.usesMask, (isChecked) => this.#useMask(isChecked)),
      ...(this.usesMask ? [] : this.#buildStrokes()),
    ];
  }

  #buildStrokes() {
    return [
      ...this.strokes.build(["size", "hardness", "opacity"]),
      el(
        "div",
        { class: "row" },
        quietButton("Undo stroke", () => this.strokes.undo()),
        quietButton("Clear", () => this.clear()),
      ),
    ];
  }

  #buildColor() {
    const id = newId("color");
    const input = el("input", {
      id,
      type: "color",
      value: this.color,
      oninput: () => {
        this.color = input.value;
        this.stage.invalidate();
      },
    });
    return el("div", { class: "field inline" }, el("label", { for: id }, "Color"), input);
  }

  #explanation() {
    return {
      erase: this.step.cutout
        ? "Removes from the cut-out where you draw. The background stays."
        : "Makes the picture transparent where you draw.",
      restore: this.#restoreSource
        ? "Brings back the original's pixels where you draw."
        : "There is nothing to restore from: no earlier picture has this size.",
      paint: "Paints with a color.",
      blur: "Blurs what you draw over.",
      heal: "Draw over a blemish to replace it with its surroundings.",
    }[this.operation];
  }

  /** Healing and selecting are done by networks and cost a credit. */
  get isFree() {
    return this.operation !== "heal" && !this.usesMask;
  }

  /** @returns {Fields} */
  fields() {
    /** @type {Fields} */
    const fields = { op: this.operation };
    if (!this.usesMask) fields.strokes = this.strokes.field();
    if (this.operation === "paint") fields.color = this.color;
    const source = this.#restoreSource;
    if (this.operation === "restore" && source) fields.original_id = source.imageId;
    return fields;
  }

  /** @returns {Action[]} */
  actions() {
    const label = this.usesMask ? "Apply to selection" : "Apply strokes";
    const selection = this.usesMask ? (this.#selection ?? undefined) : undefined;
    const request = () => ({
      ...this.request(this.fields(), this.name, OPERATIONS[this.operation]),
      selection,
    });
    return [{ label, problem: this.problem(), request }];
  }

  problem() {
    if (this.operation === "restore" && !this.#restoreSource) return "There is nothing to restore from.";
    return this.usesMask ? "" : this.strokes.problem();
  }

  onStep() {
    this.strokes.strokes = [];
    this.strokes.onStep();
    this.editor.panel.rebuild();
    this.#loadRestoreImage();
  }

  leave() {
    this.clear();
  }

  get hasDrawn() {
    return this.strokes.strokes.length > 0;
  }

  undo() {
    return this.strokes.undo();
  }

  clear() {
    this.strokes.clear();
  }

  /** @param {-1 | 1} direction */
  resizeBrush(direction) {
    this.strokes.resizeBrush(direction);
  }

  get cursor() {
    return "none";
  }

  handlesPointer() {
    return !this.usesMask;
  }

  /** @param {Point} point */
  pointerDown(point) {
    this.strokes.down(point);
  }

  /** @param {Point} point */
  pointerMove(point) {
    this.strokes.move(point);
  }

  pointerUp() {
    this.strokes.up();
  }

  cancelPointer() {
    this.strokes.cancel();
  }

  /** @param {Hover | null} hover */
  hover(hover) {
    this.strokes.hover(this.usesMask ? null : hover);
  }

  get makesTransparent() {
    return this.operation === "erase" && !this.#background && this.strokes.all.length > 0;
  }

  /** @param {Context} context */
  drawOverlay(context) {
    if (this.usesMask) this.editor.drawKeptSelection(context);
    if (this.operation === "heal") {
      const { view, viewport } = this.stage;
      const layer = scratchLayer(this.stage);
      drawStrokes(layer.context, this.strokes.all, view, HEAL_MARK);
      context.globalAlpha = 0.5;
      context.drawImage(layer.canvas, 0, 0, viewport.width, viewport.height);
      context.globalAlpha = 1;
    }
    this.strokes.drawCursor(context);
  }

  /**
   * The picture with the strokes applied. Healing cannot be previewed.
   * @param {CanvasRenderingContext2D} context
   * @param {Picture} image
   * @param {Frame} box
   */
  drawPicture(context, image, box) {
    const { all } = this.strokes;
    const ghost = this.operation === "restore" && this.step.cutout ? this.restoreImage : null;
    if (!all.length && ghost) {
      context.drawImage(image, box.x, box.y, box.width, box.height);
      drawGhost(context, ghost, box);
      return true;
    }
    if (!all.length || this.operation === "heal") return false;
    const { view, viewport } = this.stage;
    const layer = scratchLayer(this.stage);
    if (this.operation === "erase" && !this.#background) {
      layer.context.drawImage(image, box.x, box.y, box.width, box.height);
      layer.context.globalCompositeOperation = "destination-out";
      drawStrokes(layer.context, all, view, "black");
      context.drawImage(layer.canvas, 0, 0, viewport.width, viewport.height);
      return true;
    }
    drawStrokes(layer.context, all, view, this.operation === "paint" ? this.color : "black");
    layer.context.globalCompositeOperation = "source-in";
    if (this.operation === "blur") {
      layer.context.filter = `blur(${Math.max(box.width, box.height) * BLUR_SHARE}px)`;
      layer.context.drawImage(image, box.x, box.y, box.width, box.height);
    } else if (this.operation === "erase" && this.#background) {
      layer.context.drawImage(this.#background, box.x, box.y, box.width, box.height);
    } else if (this.operation === "restore" && this.restoreImage) {
      layer.context.drawImage(this.restoreImage, box.x, box.y, box.width, box.height);
    }
    context.save();
    context.drawImage(image, box.x, box.y, box.width, box.height);
    if (ghost) drawGhost(context, ghost, box);
    context.beginPath();
    context.rect(box.x, box.y, box.width, box.height);
    context.clip();
    context.drawImage(layer.canvas, 0, 0, viewport.width, viewport.height);
    context.restore();
    return true;
  }

  /** What erasing a cut-out shows; null if that is nothing. */
  get #background() {
    const { cutout } = this.step;
    if (!cutout || !BACKGROUNDS.some((name) => this.editor.composer.unplaced(cutout.look)[name])) return null;
    if (this.#shownBackground?.cutout !== cutout) {
      this.#shownBackground = { cutout, canvas: this.editor.composer.background(cutout) };
    }
    return this.#shownBackground.canvas;
  }

  /** @type {{ cutout: Cutout, canvas: OffscreenCanvas | null } | null} */
  #shownBackground = null;

  /** @param {Operation} operation */
  #chooseOperation(operation) {
    this.operation = operation;
    this.editor.panel.rebuild();
    this.#loadRestoreImage();
    this.stage.invalidate();
  }

  /** @param {boolean} usesMask */
  #useMask(usesMask) {
    this.usesMask = usesMask;
    this.editor.panel.rebuild();
  }

  async #loadRestoreImage() {
    this.restoreImage = null;
    const source = this.#restoreSource;
    if (this.operation !== "restore" || !source) return;
    const image = await loadImage(source.previewUrl).catch(() => null);
    if (this.operation === "restore" && this.model.step && this.#restoreSource?.imageId === source.imageId) {
      this.restoreImage = image;
      this.stage.invalidate();
    }
  }

  #refresh() {
    this.editor.panel.refresh();
    this.stage.invalidate();
  }
}
