// Crop: a frame with handles, shapes, turning and mirroring.

import { el, iconButton, newId, slider } from "../elements.js";
import * as frames from "../frames.js";
import { paintFrame, paintOutside } from "../canvas.js";
import { cursorOf } from "./generative_expand.js";
import { note, Tool } from "./tool.js";

const RATIOS = ["1:1", "4:3", "3:4", "3:2", "16:9", "9:16"];
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
const HANDLE_REACH = 18; // screen pixels

export class Crop extends Tool {
  constructor(editor) {
    super(editor, "crop");
    this.#reset();
  }

  #reset() {
    this.frame = null;
    this.ratio = "";
    this.way = "frame"; // "frame", "subject" (the shape around the subject), "trim"
    this.turn = 0; // quarter turns
    this.tilt = 0; // degrees
    this.flip = "";
    this.drag = null;
  }

  build() {
    this.frame ??= frames.largestInside(this.size, null);
    this.shown = el("p", { class: "sizes" });
    this.#tell();
    return [
      this.#shapes(),
      this.shown,
      this.#turning(),
      slider({
        label: "Straighten",
        least: -45,
        most: 45,
        step: 0.5,
        unit: "°",
        value: this.tilt,
        change: (value) => this.#turned(() => (this.tilt = value)),
      }),
      this.#trim(),
      this.controls.advanced(HIDDEN),
    ];
  }

  #shapes() {
    const pressed = (ratio, way) => `${this.ratio === ratio && this.way === way}`;
    const choice = (label, ratio, way) =>
      el(
        "button",
        {
          type: "button",
          class: "chip",
          "aria-pressed": pressed(ratio, way),
          onclick: () => this.#shaped(ratio, way),
        },
        label,
      );
    return el(
      "div",
      {},
      el(
        "div",
        { class: "chips", role: "group", "aria-label": "Shape" },
        choice("Free", "", "frame"),
        RATIOS.map((ratio) => choice(ratio, ratio, "frame")),
      ),
      el(
        "details",
        { class: "advanced" },
        el("summary", {}, "Around the subject"),
        el(
          "div",
          { class: "chips", role: "group", "aria-label": "Shape around the subject" },
          RATIOS.map((ratio) => choice(ratio, ratio, "subject")),
        ),
      ),
    );
  }

  #turning() {
    const turn = (by) => () => this.#turned(() => (this.turn = (this.turn + by + 4) % 4));
    const flip = (way) => () => this.#turned(() => (this.flip = this.flip === way ? "" : way));
    return el(
      "div",
      { class: "row icons" },
      iconButton("Turn left", "turnLeft", turn(-1)),
      iconButton("Turn right", "turnRight", turn(1)),
      iconButton("Mirror sideways", "flipH", flip("h"), { "aria-pressed": `${this.flip === "h"}` }),
      iconButton("Mirror upside down", "flipV", flip("v"), { "aria-pressed": `${this.flip === "v"}` }),
    );
  }

  #trim() {
    const id = newId("trim");
    const input = el("input", {
      id,
      type: "checkbox",
      checked: this.way === "trim",
      onchange: () => this.#shaped("", input.checked ? "trim" : "frame"),
    });
    const field = el(
      "div",
      { class: "field switch" },
      input,
      el("label", { for: id }, "Trim an even border"),
    );
    return this.way === "trim"
      ? el(
          "div",
          {},
          field,
          this.controls.build(["tolerance"]),
          note("What to cut away is found when it is applied."),
        )
      : field;
  }

  params() {
    const fields = this.controls.fields();
    if (this.way !== "trim") delete fields.tolerance;
    const degrees = this.#degrees();
    if (degrees) fields.rotate = `${degrees}`;
    if (this.flip) fields.flip = this.flip;
    if (this.way === "trim") fields.mode = "trim";
    else if (this.way === "subject") Object.assign(fields, { aspect_ratio: this.ratio, gravity: "subject" });
    else Object.assign(fields, frames.cropParams(this.frame, this.size));
    return fields;
  }

  #degrees() {
    const degrees = this.turn * 90 + this.tilt;
    return degrees > 180 ? degrees - 360 : degrees;
  }

  problem() {
    return Object.keys(this.params()).length ? "" : "Choose what to keep first.";
  }

  onStep() {
    this.#reset();
    this.editor.panel.rebuild();
  }

  leave() {
    this.#reset();
  }

  #shaped(ratio, way) {
    this.ratio = ratio;
    this.way = way;
    this.frame = frames.largestInside(this.size, frames.ratioOf(ratio));
    this.editor.panel.rebuild();
    this.stage.invalidate();
  }

  #turned(change) {
    change();
    this.#tell();
    this.changed();
    this.editor.panel.markPressed?.();
  }

  #tell() {
    if (!this.shown) return;
    const { width, height } = this.frame;
    this.shown.textContent = this.way === "frame" && !this.#isTurned ? `${width} × ${height}` : "";
  }

  get #hasFrame() {
    return this.way === "frame" && !this.#isTurned;
  }

  get #isTurned() {
    return this.#degrees() !== 0 || this.flip !== "";
  }

  takes(point) {
    return this.#hasFrame && this.#handleAt(point) !== null;
  }

  #handleAt(point) {
    return frames.handleAt(this.frame, point, HANDLE_REACH / this.stage.view.scale);
  }

  down(point) {
    this.drag = { handle: this.#handleAt(point), from: point, frame: this.frame };
  }

  move(point) {
    if (!this.drag) return;
    const { handle, from, frame } = this.drag;
    const delta = { x: point.x - from.x, y: point.y - from.y };
    this.frame = frames.cropDragged(frame, handle, delta, this.size, frames.ratioOf(this.ratio));
    this.#tell();
    this.stage.invalidate();
  }

  up() {
    this.drag = null;
    this.editor.panel.refresh();
  }

  abandon() {
    if (this.drag) this.frame = this.drag.frame;
    this.drag = null;
    this.stage.invalidate();
  }

  hover(point) {
    this.stage.element.style.cursor = cursorOf(point && this.#hasFrame ? this.#handleAt(point) : null);
  }

  /** What is kept, turned and mirrored, where the picture was; false while nothing is turned. */
  drawPicture(context, stage, box) {
    if (!this.#isTurned) return false;
    const frame = stage.boxOf(
      this.way === "frame" ? this.frame : { x: 0, y: 0, width: this.size.width, height: this.size.height },
    );
    context.save();
    context.translate(frame.x + frame.width / 2, frame.y + frame.height / 2);
    context.scale(this.flip === "h" ? -1 : 1, this.flip === "v" ? -1 : 1);
    context.rotate((this.#degrees() * Math.PI) / 180);
    context.translate(-frame.x - frame.width / 2, -frame.y - frame.height / 2);
    context.beginPath();
    context.rect(frame.x, frame.y, frame.width, frame.height);
    context.clip();
    context.drawImage(stage.image, box.x, box.y, box.width, box.height);
    context.restore();
    return true;
  }

  draw(context, stage) {
    if (!this.#hasFrame) return;
    const box = stage.boxOf(this.frame);
    paintOutside(context, stage.boxOf({ x: 0, y: 0, width: this.size.width, height: this.size.height }), box);
    paintFrame(context, box, { thirds: this.drag !== null });
  }
}
