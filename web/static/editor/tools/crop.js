// Crop: a frame with handles, aspect ratios, rotating and flipping.

import { darkenOutside, drawFrame } from "../canvas.js";
import { checkbox, el, iconButton, setPressed, slider } from "../elements.js";
import * as frames from "../frames.js";
import * as looks from "../looks.js";
import { FrameInput } from "./frame_input.js";
import { note, Tool } from "./tool.js";

/** @import { Context } from "../canvas.js" */
/** @import { Editor } from "../editor.js" */
/** @import { Cutout, Frame, Point } from "../types.js" */
/** @import { Hover } from "./tool.js" */

/** @typedef {"frame" | "subject" | "trim"} Mode by the frame, around the subject, or trimming the border */
/** @typedef {"h" | "v"} FlipAxis as the API names it */

const HIDDEN = [
  "x",
  "y",
  "width",
  "height",
  "aspect_ratio",
  "gravity",
  "mode",
  "tolerance",
  "rotate",
  "flip",
  "format",
  "quality",
];
const FULL_TURN = 360;

export class Crop extends Tool {
  /** @param {Editor} editor */
  constructor(editor) {
    super(editor, "crop");
    this.sizes = el("p", { class: "sizes" });
    /**
     * null until one was chosen: the whole picture.
     * @type {Frame | null}
     */
    this.chosenFrame = null;
    /** "" for a free shape. */
    this.ratio = "";
    /** @type {Mode} */
    this.mode = "frame";
    this.quarterTurns = 0;
    this.tiltDegrees = 0;
    /** @type {FlipAxis | ""} */
    this.flip = "";
    /**
     * The buttons that flip, by axis.
     * @type {Map<FlipAxis, HTMLButtonElement>}
     */
    this.flipButtons = new Map();
    /** @type {FrameInput} */
    this.input = new FrameInput(
      this,
      () => (this.#usesFrame ? this.frame : null),
      (frame) => this.#setFrame(frame),
      (frame, handle, delta) =>
        frames.dragCropFrame(frame, handle, delta, this.step, frames.parseRatio(this.ratio)),
    );
  }

  #reset() {
    this.chosenFrame = null;
    this.ratio = "";
    this.mode = "frame";
    this.quarterTurns = 0;
    this.tiltDegrees = 0;
    this.flip = "";
    this.input.up();
  }

  get isFree() {
    return true;
  }

  get frame() {
    return this.chosenFrame ?? frames.wholePicture(this.step);
  }

  build() {
    this.#showSize();
    void this.#loadLayers();
    return [
      this.step.cutout &&
        note(
          "This stays a cut-out, whose look can be changed afterwards. The background fills the new frame, and is not straightened.",
        ),
      this.#buildShapes(),
      this.sizes,
      this.#buildOrientation(),
      slider({
        label: "Straighten",
        min: -45,
        max: 45,
        step: 0.5,
        unit: "°",
        value: this.tiltDegrees,
        onChange: (degrees) => {
          this.tiltDegrees = degrees;
          this.#onOrientation();
        },
      }).element,
      this.#buildTrim(),
      this.controls.advanced(HIDDEN),
    ];
  }

  #buildShapes() {
    const chip = (/** @type {string} */ label, /** @type {string} */ ratio, /** @type {Mode} */ mode) =>
      el(
        "button",
        {
          type: "button",
          class: "chip",
          "aria-pressed": `${this.ratio === ratio && this.mode === mode}`,
          onclick: () => this.#chooseShape(ratio, mode),
        },
        label,
      );
    return el(
      "div",
      {},
      el(
        "div",
        { class: "chips", role: "group", "aria-label": "Shape" },
        chip("Free", "", "frame"),
        frames.ASPECT_RATIOS.map((ratio) => chip(ratio, ratio, "frame")),
      ),
      el(
        "details",
        { class: "advanced" },
        el("summary", {}, "Around the subject"),
        el(
          "div",
          { class: "chips", role: "group", "aria-label": "Shape around the subject" },
          frames.ASPECT_RATIOS.map((ratio) => chip(ratio, ratio, "subject")),
        ),
      ),
    );
  }

  #buildOrientation() {
    const rotate = (/** @type {number} */ turns) => () => {
      this.quarterTurns = (this.quarterTurns + turns + 4) % 4;
      this.#onOrientation();
    };
    const flip = (/** @type {FlipAxis} */ axis) => () => {
      this.flip = this.flip === axis ? "" : axis;
      this.#onOrientation();
    };
    this.flipButtons.set("h", iconButton("Flip horizontally", "flipH", flip("h")));
    this.flipButtons.set("v", iconButton("Flip vertically", "flipV", flip("v")));
    this.#showFlip();
    return el(
      "div",
      { class: "row icons" },
      iconButton("Rotate left", "turnLeft", rotate(-1)),
      iconButton("Rotate right", "turnRight", rotate(1)),
      ...this.flipButtons.values(),
    );
  }

  #showFlip() {
    for (const [axis, button] of this.flipButtons) setPressed(button, this.flip === axis);
  }

  #buildTrim() {
    const isTrimming = this.mode === "trim";
    const field = checkbox("Trim a uniform border", isTrimming, (isChecked) =>
      this.#chooseShape("", isChecked ? "trim" : "frame"),
    );
    if (!isTrimming) return field;
    const tolerance = this.controls.build(["tolerance"]);
    return el("div", {}, field, tolerance, note("The border is detected when the crop is applied."));
  }

  fields() {
    const fields = this.controls.fields();
    if (this.mode !== "trim") delete fields.tolerance;
    if (this.#degrees) fields.rotate = `${this.#degrees}`;
    if (this.flip) fields.flip = this.flip;
    if (this.mode === "trim") return { ...fields, mode: "trim" };
    if (this.mode === "subject") return { ...fields, aspect_ratio: this.ratio, gravity: "subject" };
    return { ...fields, ...frames.cropFields(this.frame, this.step) };
  }

  /** The rotation, clockwise, from -180 to 180. */
  get #degrees() {
    const degrees = this.quarterTurns * 90 + this.tiltDegrees;
    return degrees > FULL_TURN / 2 ? degrees - FULL_TURN : degrees;
  }

  problem() {
    return Object.keys(this.fields()).length ? "" : "Choose what to keep first.";
  }

  onStep() {
    this.#reset();
    this.editor.panel.rebuild();
  }

  leave() {
    this.#reset();
  }

  /**
   * @param {string} ratio
   * @param {Mode} mode
   */
  #chooseShape(ratio, mode) {
    this.ratio = ratio;
    this.mode = mode;
    this.chosenFrame = frames.largestInside(this.step, frames.parseRatio(ratio));
    this.editor.panel.rebuild();
    this.stage.invalidate();
  }

  #onOrientation() {
    this.#showSize();
    this.#showFlip();
    this.editor.panel.refresh();
    this.stage.invalidate();
  }

  #showSize() {
    this.sizes.textContent = this.#usesFrame ? `${this.frame.width} × ${this.frame.height}` : "";
  }

  /** Whether the frame is shown and can be dragged, which it is while the picture is upright. */
  get #usesFrame() {
    return this.mode === "frame" && !this.#isTransformed;
  }

  get #isTransformed() {
    return this.#degrees !== 0 || this.flip !== "";
  }

  /** @param {Frame} frame */
  #setFrame(frame) {
    this.chosenFrame = frame;
    this.#showSize();
    this.stage.invalidate();
  }

  /** @param {Point} point */
  handlesPointer(point) {
    return this.input.handleAt(point) !== null;
  }

  /** @param {Point} point */
  pointerDown(point) {
    this.input.down(point);
  }

  /** @param {Point} point */
  pointerMove(point) {
    this.input.move(point);
  }

  pointerUp() {
    this.input.up();
    this.editor.panel.refresh();
  }

  cancelPointer() {
    this.input.cancel();
  }

  /** @param {Hover | null} hover */
  hover(hover) {
    this.input.hover(hover);
  }

  /**
   * What is drawn apart while a cut-out is straightened: its background, which stays level, and the rest.
   * @type {{ cutout: Cutout, background: OffscreenCanvas, subject: OffscreenCanvas } | null}
   */
  #layers = null;

  async #loadLayers() {
    const { cutout } = this.step;
    if (!cutout || this.#layers?.cutout === cutout) return;
    this.#layers = null;
    const { composer } = this.editor;
    try {
      await composer.load(cutout);
    } catch {
      return; // the picture is then shown as a whole
    }
    const background = composer.background(cutout, cutout.look);
    const subject = composer.compose(cutout, { ...cutout.look, ...looks.NO_BACKGROUND });
    if (!background || !subject || this.model.step?.cutout !== cutout) return;
    this.#layers = { cutout, background, subject };
    this.stage.invalidate();
  }

  /**
   * The background of a cut-out that is straightened: level, and as large as the new frame.
   * @param {CanvasRenderingContext2D} context whose origin is the middle of the frame
   * @param {Frame} kept
   * @param {Frame} box
   * @param {OffscreenCanvas} background
   */
  #drawLevel(context, kept, box, background) {
    const tilt = Math.abs((this.tiltDegrees * Math.PI) / 180);
    const width = kept.width * Math.cos(tilt) + kept.height * Math.sin(tilt);
    const height = kept.width * Math.sin(tilt) + kept.height * Math.cos(tilt);
    const scale = Math.max(width / kept.width, height / kept.height);
    context.save();
    context.rotate((this.quarterTurns * Math.PI) / 2);
    context.beginPath();
    context.rect(-width / 2, -height / 2, width, height);
    context.clip();
    context.scale(scale, scale);
    context.translate(-kept.x - kept.width / 2, -kept.y - kept.height / 2);
    context.drawImage(background, box.x, box.y, box.width, box.height);
    context.restore();
  }

  /**
   * The part that is kept, rotated and flipped in place.
   * @param {CanvasRenderingContext2D} context
   * @param {HTMLImageElement} image
   * @param {Frame} box
   */
  drawPicture(context, image, box) {
    if (!this.#isTransformed) return false;
    const kept = this.mode === "frame" ? this.stage.boxOf(this.frame) : this.stage.pictureBox();
    context.save();
    context.translate(kept.x + kept.width / 2, kept.y + kept.height / 2);
    context.scale(this.flip === "h" ? -1 : 1, this.flip === "v" ? -1 : 1);
    const layers = this.tiltDegrees && this.#layers?.cutout === this.step.cutout ? this.#layers : null;
    if (layers) this.#drawLevel(context, kept, box, layers.background);
    context.rotate((this.#degrees * Math.PI) / 180);
    context.translate(-kept.x - kept.width / 2, -kept.y - kept.height / 2);
    context.beginPath();
    context.rect(kept.x, kept.y, kept.width, kept.height);
    context.clip();
    context.drawImage(layers?.subject ?? image, box.x, box.y, box.width, box.height);
    context.restore();
    return true;
  }

  /** @param {Context} context */
  drawOverlay(context) {
    if (!this.#usesFrame) return;
    const box = this.stage.boxOf(this.frame);
    darkenOutside(context, this.stage.pictureBox(), box);
    drawFrame(context, box, { thirds: this.input.active !== null });
  }
}
