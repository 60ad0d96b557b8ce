// Drawing strokes with the pointer. Brush and generative fill share it.

import { slider } from "../elements.js";
import { paintBrush } from "../canvas.js";
import * as strokes from "../strokes.js";

export class Drawing {
  /** `changed` is called when a stroke was drawn or taken back. */
  constructor(tool, changed) {
    this.tool = tool;
    this.changed = changed;
    this.strokes = [];
    this.current = null;
    this.brush = { size: 40, hardness: 0.8, opacity: 1 };
    this.isSized = false;
    this.pointer = null;
  }

  get all() {
    return this.current ? [...this.strokes, this.current] : this.strokes;
  }

  get most() {
    return Math.min(
      4000,
      Math.max(40, Math.round(Math.max(this.tool.size.width, this.tool.size.height) / 2)),
    );
  }

  /** Sliders for the brush; `names` says which. */
  build(names = ["size", "hardness", "opacity"]) {
    if (!this.isSized) {
      this.brush.size = strokes.fittingSize(this.tool.size);
      this.isSized = true;
    }
    const { brush } = this;
    const percent = (name, label) =>
      slider({
        label,
        least: name === "opacity" ? 5 : 0,
        most: 100,
        unit: " %",
        value: Math.round(brush[name] * 100),
        change: (value) => (brush[name] = value / 100),
      });
    const made = {
      size: () =>
        slider({
          label: "Size",
          least: 1,
          most: this.most,
          unit: " px",
          value: brush.size,
          change: (value) => this.#resized(value),
        }),
      hardness: () => percent("hardness", "Hardness"),
      opacity: () => percent("opacity", "Opacity"),
    };
    const rows = names.map((name) => made[name]());
    this.sizeRow = rows[names.indexOf("size")];
    return rows;
  }

  step(direction) {
    this.#resized(strokes.steppedSize(this.brush.size, direction, this.most));
    this.sizeRow?.set(this.brush.size);
  }

  #resized(size) {
    this.brush.size = size;
    this.tool.stage.invalidate();
  }

  clear() {
    this.strokes = [];
    this.current = null;
    this.changed();
  }

  undo() {
    if (!this.strokes.length) return false;
    this.strokes = this.strokes.slice(0, -1);
    this.changed();
    return true;
  }

  down(point) {
    const { size } = this.tool;
    this.current = strokes.begun(strokes.within(point, size, this.brush.size), this.brush);
    this.tool.stage.invalidate();
  }

  move(point) {
    if (!this.current) return;
    const near = strokes.within(point, this.tool.size, this.brush.size);
    if (strokes.extend(this.current, near)) this.tool.stage.invalidate();
  }

  up() {
    if (!this.current) return;
    this.strokes = [...this.strokes, this.current];
    this.current = null;
    this.changed();
  }

  abandon() {
    this.current = null;
    this.tool.stage.invalidate();
  }

  hover(point, event, onScreen) {
    const shown = point && event?.pointerType !== "touch" ? onScreen : null;
    if (shown || this.pointer) this.tool.stage.invalidate();
    this.pointer = shown;
  }

  drawBrush(context, stage) {
    if (this.pointer) paintBrush(context, this.pointer, this.brush.size * stage.view.scale);
  }
}
