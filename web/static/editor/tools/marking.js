// Marking a part of the picture with clicks, a box and a brush, all mixed. Select and "Remove object" share it.

import { drawStrokes, scratchLayer } from "../canvas.js";
import { el, segments } from "../elements.js";
import { boundsOf } from "../strokes.js";
import { SelectionInput } from "./selection_input.js";
import { StrokeInput } from "./stroke_input.js";
import { note } from "./tool.js";

/** @import { Context } from "../canvas.js" */
/** @import { Child } from "../elements.js" */
/** @import { Fields, Frame, Point } from "../types.js" */
/** @import { Hover, Tool } from "./tool.js" */

/** @typedef {"click" | "brush"} Way */

/** @type {Record<Way, string>} */
export const WAYS = { click: "Click or box", brush: "Brush" };
const MARK_OPACITY = 0.5;

export class Marking {
  /**
   * @param {Tool} tool
   * @param {object} options
   * @param {Way} options.way how marking begins
   * @param {boolean} options.overlaysStrokes whether the server's overlay contains the strokes: settings change them
   * @param {() => void} options.onChange called when the marks or their overlay changed
   */
  constructor(tool, { way, overlaysStrokes, onChange }) {
    this.tool = tool;
    this.way = way;
    this.overlaysStrokes = overlaysStrokes;
    this.onChange = onChange;
    /** @type {SelectionInput} */
    this.selection = new SelectionInput(tool, onChange);
    /** @type {StrokeInput} */
    this.strokes = new StrokeInput(tool, () => this.#onStrokes());
    this.strokes.brush.hardness = 1;
    /**
     * What was marked with, oldest first.
     * @type {Way[]}
     */
    this.order = [];
  }

  get hasStrokes() {
    return this.strokes.strokes.length > 0;
  }

  get isEmpty() {
    return this.selection.isEmpty && !this.hasStrokes;
  }

  /** Why what is marked cannot be used yet, or "". */
  problem() {
    const { selection } = this;
    if (this.isEmpty) return "Mark something first.";
    if (selection.isLoading) return "Selecting …";
    if (!selection.isEmpty && !selection.isUsable) return selection.message || "Click on the object first.";
    if (this.hasStrokes && this.overlaysStrokes && !selection.overlay) return "Select something first.";
    return this.hasStrokes ? this.strokes.problem() : "";
  }

  /** @returns {Fields} */
  fields() {
    return { ...this.selection.fields(), ...this.strokeFields() };
  }

  /** @returns {Fields} */
  strokeFields() {
    return this.hasStrokes ? { strokes: this.strokes.field() } : {};
  }

  /**
   * The controls of the way that was chosen.
   * @param {(way: Way) => void} onChoose
   * @returns {Child[]}
   */
  build(onChoose) {
    this.selection.prepare();
    const choice = segments("Mark with", WAYS, this.way, onChoose);
    return [choice, ...this.buildWay()];
  }

  /** @returns {Child[]} */
  buildWay() {
    if (this.way === "brush") return [note("Brush over it."), ...this.strokes.build(["size"])];
    const { selection } = this;
    const signs = { add: "+ Add", subtract: "− Subtract" };
    return [
      note("Click on it, or draw a box around it. Alt+click subtracts."),
      el(
        "div",
        { class: "field" },
        segments("Each click", signs, selection.subtracts ? "subtract" : "add", (sign) => {
          selection.subtracts = sign === "subtract";
        }),
      ),
    ];
  }

  get cursor() {
    return this.way === "brush" ? "none" : "crosshair";
  }

  /** The area that is marked, as far as it is known. */
  get bounds() {
    const boxes = [this.selection.bounds, boundsOf(this.strokes.strokes)].filter((box) => box !== null);
    return boxes.length ? boxes.reduce(around) : null;
  }

  clear() {
    this.order = [];
    this.selection.clear();
    this.strokes.clear();
  }

  undo() {
    const last = this.order.pop();
    if (last === "brush") return this.strokes.undo();
    if (last !== "click" || !this.selection.undo()) return false;
    if (this.overlaysStrokes && this.hasStrokes && !this.selection.isLoading) this.selection.loadOverlay();
    return true;
  }

  /**
   * @param {Point} point
   * @param {PointerEvent} event
   */
  down(point, event) {
    if (this.way === "brush") this.strokes.down(point);
    else this.selection.down(point, event);
  }

  /** @param {Point} point */
  move(point) {
    if (this.way === "brush") this.strokes.move(point);
    else this.selection.move(point);
  }

  /** @param {Point} point */
  up(point) {
    if (this.way === "brush") {
      if (this.strokes.current) this.order.push("brush");
      this.strokes.up();
      return;
    }
    const before = this.selection.selection;
    this.selection.up(point);
    if (this.selection.selection !== before) this.order.push("click");
  }

  /** Lets the model find the main subject. */
  selectSubject() {
    this.order.push("click");
    this.selection.selectSubject();
  }

  cancel() {
    this.strokes.cancel();
    this.selection.cancelDrag();
  }

  /** @param {Hover | null} hover */
  hover(hover) {
    this.strokes.hover(this.way === "brush" ? hover : null);
  }

  /** @param {Context} context */
  draw(context) {
    const { stage, editor } = this.tool;
    this.selection.draw(context);
    const { current, strokes } = this.strokes;
    const isOverlaid = this.overlaysStrokes && this.selection.overlay && !this.selection.isLoading;
    const drawn = [...(isOverlaid ? [] : strokes), ...(current ? [current] : [])];
    if (drawn.length) {
      const layer = scratchLayer(stage);
      drawStrokes(layer.context, drawn, stage.view, editor.selectionColor());
      context.globalAlpha = MARK_OPACITY;
      context.drawImage(layer.canvas, 0, 0, stage.viewport.width, stage.viewport.height);
      context.globalAlpha = 1;
    }
    if (this.way === "brush") this.strokes.drawCursor(context);
  }

  #onStrokes() {
    if (!this.overlaysStrokes) this.onChange();
    else if (this.isEmpty) {
      this.selection.clear();
      this.onChange();
    } else this.selection.loadOverlay();
  }
}

/**
 * The smallest frame around two.
 * @param {Frame} one
 * @param {Frame} other
 * @returns {Frame}
 */
function around(one, other) {
  const x = Math.min(one.x, other.x);
  const y = Math.min(one.y, other.y);
  return {
    x,
    y,
    width: Math.max(one.x + one.width, other.x + other.width) - x,
    height: Math.max(one.y + one.height, other.y + other.height) - y,
  };
}
