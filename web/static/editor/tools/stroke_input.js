// Drawing strokes with the pointer. Brush and generative fill share it.

import { drawBrushCursor } from "../canvas.js";
import { slider } from "../elements.js";
import * as strokes from "../strokes.js";

/** @import { Context } from "../canvas.js" */
/** @import { Brush, Point, Stroke } from "../types.js" */
/** @import { Hover, Tool } from "./tool.js" */

const MIN_OPACITY_PERCENT = 5;

export class StrokeInput {
  /**
   * @param {Tool} tool
   * @param {() => void} onChange called when a stroke was finished or removed
   */
  constructor(tool, onChange) {
    this.tool = tool;
    this.onChange = onChange;
    /** @type {Stroke[]} */
    this.strokes = [];
    /**
     * The stroke that is being drawn.
     * @type {Stroke | null}
     */
    this.current = null;
    /** @type {Brush} */
    this.brush = { size: 40, hardness: 0.8, opacity: 1 };
    /** Whether the brush's size suits the picture. */
    this.isSized = false;
    /**
     * Where the brush's cursor is on the screen.
     * @type {Point | null}
     */
    this.cursorPoint = null;
    this.setSizeSlider = (/** @type {number} */ _size) => {};
  }

  /** All strokes, with the one that is being drawn. */
  get all() {
    return this.current ? [...this.strokes, this.current] : this.strokes;
  }

  get #maxSize() {
    return strokes.maxSize(this.tool.size, this.tool.model.limits);
  }

  /** Whether the strokes can be sent: the problem, or "". */
  problem() {
    return strokes.problemOf(this.strokes, this.tool.model.limits);
  }

  /** The form field `strokes`. */
  field() {
    return strokes.toField(this.strokes);
  }

  /**
   * Sliders for these properties of the brush.
   * @param {(keyof Brush)[]} names
   */
  build(names) {
    if (!this.isSized) {
      this.brush.size = strokes.defaultSize(this.tool.size);
      this.isSized = true;
    }
    return names.map((name) => {
      if (name === "size") return this.#buildSizeSlider();
      return name === "hardness"
        ? this.#buildPercentSlider("hardness", "Hardness", 0)
        : this.#buildPercentSlider("opacity", "Opacity", MIN_OPACITY_PERCENT);
    });
  }

  #buildSizeSlider() {
    const { element, set } = slider({
      label: "Size",
      min: 1,
      max: this.#maxSize,
      unit: " px",
      value: this.brush.size,
      onChange: (size) => this.#setSize(size),
    });
    this.setSizeSlider = set;
    return element;
  }

  /**
   * @param {"hardness" | "opacity"} name
   * @param {string} label
   * @param {number} min
   */
  #buildPercentSlider(name, label, min) {
    return slider({
      label,
      min,
      max: 100,
      unit: " %",
      value: Math.round(this.brush[name] * 100),
      onChange: (percent) => (this.brush[name] = percent / 100),
    }).element;
  }

  /** @param {-1 | 1} direction */
  resizeBrush(direction) {
    this.#setSize(strokes.nextSize(this.brush.size, direction, this.#maxSize));
    this.setSizeSlider(this.brush.size);
  }

  /** @param {number} size */
  #setSize(size) {
    this.brush.size = size;
    this.tool.stage.invalidate();
  }

  /** Another picture is shown: a brush that is too large for it gets its default size again. */
  onStep() {
    this.isSized = this.isSized && this.brush.size <= this.#maxSize;
  }

  clear() {
    this.strokes = [];
    this.current = null;
    this.onChange();
  }

  undo() {
    if (!this.strokes.length) return false;
    this.strokes = this.strokes.slice(0, -1);
    this.onChange();
    return true;
  }

  /** @param {Point} point */
  down(point) {
    this.current = strokes.startStroke(this.#clamp(point), this.brush);
    this.tool.stage.invalidate();
  }

  /** @param {Point} point */
  move(point) {
    if (this.current && strokes.extendStroke(this.current, this.#clamp(point))) this.tool.stage.invalidate();
  }

  /** @param {Point} point */
  #clamp(point) {
    return strokes.clampToPicture(point, this.tool.size, this.brush.size);
  }

  up() {
    if (!this.current) return;
    this.strokes = [...this.strokes, this.current];
    this.current = null;
    this.onChange();
  }

  cancel() {
    this.current = null;
    this.tool.stage.invalidate();
  }

  /** @param {Hover | null} hover */
  hover(hover) {
    const point = hover && !hover.isTouch ? hover.onScreen : null;
    if (point || this.cursorPoint) this.tool.stage.invalidate();
    this.cursorPoint = point;
  }

  /** @param {Context} context */
  drawCursor(context) {
    const { view } = this.tool.stage;
    if (this.cursorPoint) drawBrushCursor(context, this.cursorPoint, this.brush.size * view.scale);
  }
}
