// Generative fill: brush over an object or click on it to remove it, or describe what should replace it.

import { drawStrokes, scratchLayer } from "../canvas.js";
import { el, segments } from "../elements.js";
import { hiddenPromptSettings, promptField } from "./prompt.js";
import { SelectionInput } from "./selection_input.js";
import { StrokeInput } from "./stroke_input.js";
import { note, quietButton, Tool } from "./tool.js";

/** @import { Context } from "../canvas.js" */
/** @import { Editor } from "../editor.js" */
/** @import { Action, Fields, Point, Step } from "../types.js" */
/** @import { Hover } from "./tool.js" */

/** @typedef {"brush" | "click" | "mask"} Method how the area is marked */

// The best installed model is used, and masks are drawn here, never files.
const HIDDEN = [
  "prompt",
  "negative_prompt",
  "model",
  "strokes",
  "points",
  "box",
  "mask_mode",
  "format",
  "quality",
];
const MARK_OPACITY = 0.5;

export class GenerativeFill extends Tool {
  /** @param {Editor} editor */
  constructor(editor) {
    super(editor, "generative-fill");
    this.message = el("p", { class: "note", role: "status" });
    /** @type {Method} */
    this.method = "brush";
    /** @type {StrokeInput} */
    this.strokes = new StrokeInput(this, () => this.#refresh());
    this.strokes.brush.hardness = 1;
    /** @type {SelectionInput} */
    this.selection = new SelectionInput(this, () => this.#refresh());
  }

  get #kept() {
    return this.editor.keptSelection;
  }

  build() {
    if (!this.#kept && this.method === "mask") this.method = "brush";
    /** @type {Partial<Record<Method, string>>} */
    const methods = { brush: "Brush", click: "Click", ...(this.#kept ? { mask: "Kept selection" } : {}) };
    return [
      segments("Mark by", methods, this.method, (method) => this.#chooseMethod(method)),
      this.method === "brush" && note("Brush over what to remove."),
      this.method === "click" && note("Click on what to remove. Alt+click subtracts."),
      ...(this.method === "brush" ? this.strokes.build(["size"]) : []),
      this.method !== "mask" &&
        el(
          "div",
          { class: "row" },
          quietButton("Clear", () => this.clear()),
        ),
      this.message,
      promptField(this),
      this.controls.advanced([...HIDDEN, ...hiddenPromptSettings(this)]),
    ];
  }

  /** @returns {Action[]} */
  actions() {
    const label = this.controls.get("prompt").trim() ? "Fill" : "Remove object";
    const selection = this.method === "mask" ? (this.#kept ?? undefined) : undefined;
    const request = () => ({ ...this.request(this.fields(), this.name, label), selection });
    return [{ label, problem: this.problem(), request }];
  }

  problem() {
    if (this.method === "brush") return this.strokes.problem();
    if (this.method === "click") return this.selection.isUsable ? "" : "Click on something first.";
    return "";
  }

  /** @returns {Fields} */
  fields() {
    const fields = this.controls.fields();
    if (this.method === "brush") return { ...fields, strokes: this.strokes.field() };
    if (this.method === "click") return { ...fields, ...this.selection.fields() };
    return fields;
  }

  /** @param {Step | null} made */
  onStep(made) {
    if (made && this.method === "mask") this.method = "brush"; // What the mask marked is gone.
    this.clear();
    this.strokes.onStep();
    this.editor.panel.rebuild();
  }

  leave() {
    this.clear();
  }

  get hasDrawn() {
    return this.strokes.strokes.length > 0 || !this.selection.isEmpty;
  }

  undo() {
    if (this.method === "mask") return false;
    return this.method === "brush" ? this.strokes.undo() : this.selection.undo();
  }

  clear() {
    this.strokes.clear();
    this.selection.clear();
    this.#refresh();
  }

  /** @param {-1 | 1} direction */
  resizeBrush(direction) {
    this.strokes.resizeBrush(direction);
  }

  get cursor() {
    return this.method === "brush" ? "none" : "crosshair";
  }

  handlesPointer() {
    return this.method !== "mask";
  }

  /**
   * @param {Point} point
   * @param {PointerEvent} event
   */
  pointerDown(point, event) {
    if (this.method === "brush") this.strokes.down(point);
    else this.selection.down(point, event);
  }

  /** @param {Point} point */
  pointerMove(point) {
    if (this.method === "brush") this.strokes.move(point);
    else this.selection.move(point);
  }

  /** @param {Point} point */
  pointerUp(point) {
    if (this.method === "brush") this.strokes.up();
    else this.selection.up(point);
  }

  cancelPointer() {
    this.strokes.cancel();
    this.selection.cancelDrag();
  }

  /** @param {Hover | null} hover */
  hover(hover) {
    this.strokes.hover(this.method === "brush" ? hover : null);
  }

  /** @param {Context} context */
  drawOverlay(context) {
    if (this.method === "click") this.selection.draw(context);
    if (this.method === "mask") this.editor.drawKeptSelection(context);
    if (this.method !== "brush") return;
    const { view, viewport } = this.stage;
    const layer = scratchLayer(this.stage);
    drawStrokes(layer.context, this.strokes.all, view, this.editor.selectionColor());
    context.globalAlpha = MARK_OPACITY;
    context.drawImage(layer.canvas, 0, 0, viewport.width, viewport.height);
    context.globalAlpha = 1;
    this.strokes.drawCursor(context);
  }

  /** @param {Method} method */
  #chooseMethod(method) {
    this.clear();
    this.method = method;
    this.editor.panel.rebuild();
    this.editor.setCursor(this.cursor);
    this.stage.invalidate();
  }

  #refresh() {
    this.message.textContent = this.selection.isLoading ? "Selecting …" : this.selection.message;
    this.editor.panel.refresh();
    this.stage.invalidate();
  }
}
