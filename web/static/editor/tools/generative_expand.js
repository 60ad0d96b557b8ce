// Generative expand: a larger frame around the picture, chosen before a credit is spent.

import { drawFrame } from "../canvas.js";
import { el } from "../elements.js";
import * as frames from "../frames.js";
import { FrameInput } from "./frame_input.js";
import { hiddenPromptSettings, promptField } from "./prompt.js";
import { flatteningNote, note, Tool } from "./tool.js";

/** @import { Context } from "../canvas.js" */
/** @import { Editor } from "../editor.js" */
/** @import { Action, Frame, Point } from "../types.js" */
/** @import { Hover } from "./tool.js" */

const INITIAL_FACTOR = 1.25;
const FACTORS = [1.25, 1.5, 2];
const HATCH_PIXELS = 14;
const HIDDEN = [
  "prompt",
  "model",
  "left",
  "right",
  "top",
  "bottom",
  "aspect_ratio",
  "width",
  "height",
  "anchor",
  "format",
  "quality",
];

const EXAMPLES = ["a sandy beach", "a wooden table", "a plain studio wall", "a cloudy evening sky"];

export class GenerativeExpand extends Tool {
  /** @param {Editor} editor */
  constructor(editor) {
    super(editor, "generative-expand");
    /**
     * null until the panel is built for the current step.
     * @type {Frame | null}
     */
    this.chosenFrame = null;
    this.sizes = el("p", { class: "sizes" });
    /** @type {FrameInput} */
    this.input = new FrameInput(
      this,
      () => this.frame,
      (frame) => this.#setFrame(frame),
      (frame, handle, delta) => frames.dragExpandFrame(frame, handle, delta, this.step),
    );
  }

  get frame() {
    return this.chosenFrame ?? frames.wholePicture(this.step);
  }

  build() {
    // After an extension no further one is proposed, which a click would pay for.
    const isExtended = this.step.tool === this.name;
    this.chosenFrame ??= isExtended
      ? frames.wholePicture(this.step)
      : frames.scaledAround(this.step, INITIAL_FACTOR);
    this.stage.fit();
    this.#showSizes();
    const ratios = frames.ASPECT_RATIOS.map((ratio) =>
      this.#chip(ratio, () => frames.smallestAround(this.step, frames.parseRatio(ratio) ?? 1)),
    );
    const factors = FACTORS.map((factor) =>
      this.#chip(`${factor}×`, () => frames.scaledAround(this.step, factor)),
    );
    return [
      flatteningNote(this),
      note("Drag the frame outwards, or choose one."),
      el("div", { class: "chips", role: "group", "aria-label": "Shape" }, ratios),
      el("div", { class: "chips", role: "group", "aria-label": "Times larger" }, factors),
      this.sizes,
      promptField(this, { placeholder: "Empty: the surroundings continue", examples: EXAMPLES }),
      this.controls.advanced([...HIDDEN, ...hiddenPromptSettings(this)]),
    ];
  }

  /**
   * @param {string} label
   * @param {() => Frame} frameOf
   */
  #chip(label, frameOf) {
    const onclick = () => {
      this.#setFrame(frameOf());
      this.stage.fit();
    };
    return el("button", { type: "button", class: "chip", onclick }, label);
  }

  fields() {
    return { ...this.controls.fields(), ...frames.expandFields(this.frame, this.step) };
  }

  get usesWords() {
    return Boolean(this.controls.get("prompt").trim());
  }

  /** @returns {Action[]} */
  actions() {
    return [{ label: this.title, problem: this.problem(), request: () => this.request(this.fields()) }];
  }

  problem() {
    if (!Object.keys(frames.expandFields(this.frame, this.step)).length)
      return "Choose a larger frame first.";
    return frames.sizeProblem(this.frame, this.model.limits.outputPixels);
  }

  visibleFrame() {
    return this.frame;
  }

  workArea() {
    return this.frame;
  }

  onStep() {
    this.chosenFrame = null;
    this.editor.panel.rebuild();
    this.stage.fit();
  }

  leave() {
    this.chosenFrame = null;
  }

  /** @param {Frame} frame */
  #setFrame(frame) {
    this.chosenFrame = frame;
    this.#showSizes();
    this.editor.panel.refresh();
    this.stage.invalidate();
  }

  #showSizes() {
    const { width, height } = this.step;
    this.sizes.replaceChildren(
      `${width} × ${height} → `,
      el("strong", {}, `${this.frame.width} × ${this.frame.height}`),
    );
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
  }

  cancelPointer() {
    this.input.cancel();
  }

  /** @param {Hover | null} hover */
  hover(hover) {
    this.input.hover(hover);
  }

  /**
   * Hatches the area that will be generated.
   * @param {Context} context
   */
  drawOverlay(context) {
    const outer = this.stage.boxOf(this.frame);
    const inner = this.stage.boxOf(frames.wholePicture(this.step));
    const color = this.editor.selectionColor();
    context.save();
    context.beginPath();
    context.rect(outer.x, outer.y, outer.width, outer.height);
    context.rect(inner.x, inner.y, inner.width, inner.height);
    context.clip("evenodd");
    context.fillStyle = color;
    context.globalAlpha = 0.14;
    context.fillRect(outer.x, outer.y, outer.width, outer.height);
    context.globalAlpha = 0.35;
    context.strokeStyle = color;
    context.beginPath();
    for (let x = outer.x - outer.height; x < outer.x + outer.width; x += HATCH_PIXELS) {
      context.moveTo(x, outer.y + outer.height);
      context.lineTo(x + outer.height, outer.y);
    }
    context.stroke();
    context.restore();
    drawFrame(context, outer);
  }
}
