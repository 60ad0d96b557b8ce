// Generative expand: a larger frame around the picture, drawn before anything is spent.

import { el } from "../elements.js";
import * as frames from "../frames.js";
import { paintFrame } from "../canvas.js";
import { promptField, withoutWords } from "./generative_fill.js";
import { note, Tool } from "./tool.js";

const RATIOS = ["1:1", "4:3", "3:4", "3:2", "16:9", "9:16"];
const FACTORS = [1.25, 1.5, 2];
const HIDDEN = [
  "prompt",
  "negative_prompt",
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
const HANDLE_REACH = 16; // screen pixels

export class GenerativeExpand extends Tool {
  constructor(editor) {
    super(editor, "generative-expand");
    this.frame = null;
    this.drag = null;
  }

  build() {
    this.#start();
    this.shown = el("p", { class: "sizes" });
    this.#tell();
    const choice = (label, frame) =>
      el("button", { type: "button", class: "chip", onclick: () => this.#set(frame(), true) }, label);
    return [
      note("Drag the frame outwards, or choose one."),
      el(
        "div",
        { class: "chips", role: "group", "aria-label": "Shape" },
        RATIOS.map((ratio) => choice(ratio, () => frames.smallestAround(this.size, frames.ratioOf(ratio)))),
      ),
      el(
        "div",
        { class: "chips", role: "group", "aria-label": "Times larger" },
        FACTORS.map((factor) => choice(`${factor}×`, () => frames.timesLarger(this.size, factor))),
      ),
      this.shown,
      promptField(this),
      this.controls.advanced([...HIDDEN, ...withoutWords(this)]),
    ];
  }

  params() {
    return { ...this.controls.fields(), ...frames.expandParams(this.frame, this.size) };
  }

  actions() {
    return [{ label: "Expand", problem: this.problem(), request: () => this.request(this.params()) }];
  }

  problem() {
    if (!Object.keys(frames.expandParams(this.frame, this.size)).length) return "Draw a larger frame first.";
    return frames.isTooLarge(this.frame) ? "The result would have more than 64 megapixels." : "";
  }

  /** The place on the screen that the frame needs, for the view that shows all of it. */
  room() {
    return this.frame ?? { x: 0, y: 0, ...sizeOf(this.size) };
  }

  onStep() {
    this.frame = null;
    this.editor.panel.rebuild();
    this.stage.fit();
  }

  leave() {
    this.frame = null;
  }

  #start() {
    this.frame ??= frames.timesLarger(this.size, 1.25);
    this.stage.fit();
  }

  #set(frame, fits = false) {
    this.frame = frame;
    this.#tell();
    this.editor.panel.refresh();
    if (fits) this.stage.fit();
    this.stage.invalidate();
  }

  #tell() {
    if (!this.shown) return;
    const { width, height } = this.frame;
    this.shown.replaceChildren(
      `${this.size.width} × ${this.size.height} → `,
      el("strong", {}, `${width} × ${height}`),
    );
  }

  takes(point) {
    return frames.handleAt(this.frame, point, HANDLE_REACH / this.stage.view.scale) !== null;
  }

  down(point) {
    const handle = frames.handleAt(this.frame, point, HANDLE_REACH / this.stage.view.scale);
    this.drag = { handle, from: point, frame: this.frame };
  }

  move(point) {
    if (!this.drag) return;
    const { handle, from, frame } = this.drag;
    const delta = { x: point.x - from.x, y: point.y - from.y };
    this.#set(frames.expandDragged(frame, handle, delta, this.size));
  }

  up() {
    this.drag = null;
  }

  abandon() {
    if (this.drag) this.#set(this.drag.frame);
    this.drag = null;
  }

  hover(point) {
    const handle = point && frames.handleAt(this.frame, point, HANDLE_REACH / this.stage.view.scale);
    this.stage.element.style.cursor = cursorOf(handle);
  }

  draw(context, stage) {
    const outer = stage.boxOf(this.frame);
    const inner = stage.boxOf({ x: 0, y: 0, ...sizeOf(this.size) });
    context.save();
    context.beginPath();
    context.rect(outer.x, outer.y, outer.width, outer.height);
    context.rect(inner.x, inner.y, inner.width, inner.height);
    context.clip("evenodd");
    context.fillStyle = getComputedStyle(stage.element).getPropertyValue("--selection");
    context.globalAlpha = 0.14;
    context.fillRect(outer.x, outer.y, outer.width, outer.height);
    context.globalAlpha = 0.35;
    context.strokeStyle = context.fillStyle;
    context.beginPath();
    for (let at = outer.x - outer.height; at < outer.x + outer.width; at += 14) {
      context.moveTo(at, outer.y + outer.height);
      context.lineTo(at + outer.height, outer.y);
    }
    context.stroke();
    context.restore();
    paintFrame(context, outer);
  }
}

function sizeOf(step) {
  return { width: step.width, height: step.height };
}

/** The cursor over a handle. */
export function cursorOf(handle) {
  return { move: "move", null: "grab", undefined: "grab" }[handle] ?? `${handle}-resize`;
}
