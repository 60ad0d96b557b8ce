// Generative fill: mark an object to remove it or, where a model follows prompts, describe what should be there.

import { el, segments } from "../elements.js";
import { Marking, WAYS } from "./marking.js";
import { followsPrompts, PROMPT_SETTINGS, promptField, withoutPrompt } from "./prompt.js";
import { flatteningNote, quietButton, Tool } from "./tool.js";

/** @import { Context } from "../canvas.js" */
/** @import { Editor } from "../editor.js" */
/** @import { Action, Fields, KeptSelection, Point, Step } from "../types.js" */
/** @import { Hover } from "./tool.js" */

/** @import { Way } from "./marking.js" */

// The best installed model is used, and masks are drawn here, never files.
const HIDDEN = ["prompt", "model", "strokes", "points", "box", "mask_mode", "format", "quality"];

/** @typedef {"remove" | "generate"} Mode */

/** @type {Record<Mode, string>} */
const MODES = { remove: "Remove", generate: "Generate" };
const EXAMPLES = ["a vase of white tulips", "a sleeping cat", "a wooden table", "green grass"];

export class GenerativeFill extends Tool {
  /** @param {Editor} editor */
  constructor(editor) {
    super(editor, "generative-fill");
    this.message = el("p", { class: "note", role: "status" });
    /** @type {Marking} */
    this.marking = new Marking(this, {
      way: "brush",
      overlaysStrokes: false,
      onChange: () => this.#refresh(),
    });
    /** @type {Mode} */
    this.mode = "remove";
    /** Whether the kept selection says what to replace, instead of marks. */
    this.usesMask = false;
    /**
     * The kept selection that was offered last. A new one is used without being chosen again.
     * @type {KeptSelection | null}
     */
    this.offered = null;
  }

  get #kept() {
    return this.editor.keptSelection;
  }

  build() {
    this.#offer();
    const { marking } = this;
    /** @type {Partial<Record<Way | "mask", string>>} */
    const ways = { ...WAYS, ...(this.#kept ? { mask: "Kept selection" } : {}) };
    marking.selection.prepare();
    return [
      flatteningNote(this),
      followsPrompts(this)
        ? segments("What to do", MODES, this.mode, (mode) => this.#chooseMode(mode))
        : null,
      this.#generates
        ? promptField(this, { placeholder: "Describe it in a few words", examples: EXAMPLES })
        : null,
      segments("Mark with", ways, this.usesMask ? "mask" : marking.way, (way) => this.#chooseWay(way)),
      ...(this.usesMask ? [] : marking.buildWay()),
      !this.usesMask &&
        el(
          "div",
          { class: "row" },
          quietButton("Clear", () => this.clear()),
        ),
      this.message,
      this.controls.advanced([...HIDDEN, ...(this.#generates ? [] : PROMPT_SETTINGS)]),
    ];
  }

  #offer() {
    const kept = this.#kept;
    if (!kept) this.usesMask = false;
    else if (kept !== this.offered) this.usesMask = this.marking.isEmpty;
    this.offered = kept;
  }

  get #generates() {
    return this.mode === "generate";
  }

  get usesWords() {
    return this.#generates;
  }

  /** @returns {Action[]} */
  actions() {
    const label = this.#generates ? "Generate" : "Remove object";
    const selection = this.usesMask ? (this.#kept ?? undefined) : undefined;
    const request = () => ({ ...this.request(this.fields(), this.name, label), selection });
    return [{ label, problem: this.problem(), request }];
  }

  problem() {
    if (this.#generates && !this.controls.get("prompt").trim()) return "Describe what should be there.";
    return this.usesMask ? "" : this.marking.problem();
  }

  /** @returns {Fields} */
  fields() {
    const settings = this.controls.fields();
    const fields = this.#generates ? settings : withoutPrompt(settings);
    return this.usesMask ? fields : { ...fields, ...this.marking.fields() };
  }

  /** @param {Step | null} made */
  onStep(made) {
    if (made) this.usesMask = false; // What the mask marked is gone.
    this.clear();
    this.marking.strokes.onStep();
    this.editor.panel.rebuild();
  }

  leave() {
    this.clear();
  }

  get hasDrawn() {
    return !this.marking.isEmpty;
  }

  undo() {
    return !this.usesMask && this.marking.undo();
  }

  clear() {
    this.marking.clear();
    this.#refresh();
  }

  /** @param {-1 | 1} direction */
  resizeBrush(direction) {
    this.marking.strokes.resizeBrush(direction);
  }

  get cursor() {
    return this.marking.cursor;
  }

  handlesPointer() {
    return !this.usesMask;
  }

  /**
   * @param {Point} point
   * @param {PointerEvent} event
   */
  pointerDown(point, event) {
    this.marking.down(point, event);
  }

  /** @param {Point} point */
  pointerMove(point) {
    this.marking.move(point);
  }

  /** @param {Point} point */
  pointerUp(point) {
    this.marking.up(point);
  }

  cancelPointer() {
    this.marking.cancel();
  }

  /** @param {Hover | null} hover */
  hover(hover) {
    this.marking.hover(this.usesMask ? null : hover);
  }

  workArea() {
    return this.usesMask ? null : this.marking.bounds;
  }

  pendingPoint() {
    return this.marking.selection.pendingPoint;
  }

  /** @param {Context} context */
  drawOverlay(context) {
    if (this.usesMask) this.editor.drawKeptSelection(context);
    else this.marking.draw(context);
  }

  /** @param {Mode} mode */
  #chooseMode(mode) {
    this.mode = mode;
    this.editor.panel.rebuild();
  }

  /** @param {Way | "mask"} way */
  #chooseWay(way) {
    this.usesMask = way === "mask";
    if (way !== "mask") this.marking.way = way;
    this.editor.panel.rebuild();
    this.editor.setCursor(this.cursor);
    this.stage.invalidate();
  }

  #refresh() {
    const { selection } = this.marking;
    this.message.textContent = selection.isLoading ? "Selecting …" : selection.message;
    this.editor.panel.refresh();
    this.stage.invalidate();
  }
}
