// Generative fill: brush over a thing, or click on it, and it is gone; or words say what comes there.

import { el, newId, segments } from "../elements.js";
import * as history from "../history.js";
import { layerOf, paintStrokes } from "../canvas.js";
import * as strokes from "../strokes.js";
import { Drawing } from "./stroke_input.js";
import { Selecting } from "./selection_input.js";
import { note, Tool } from "./tool.js";

const HIDDEN = ["prompt", "negative_prompt", "strokes", "points", "box", "format", "quality"];
const OF_WORDS = ["steps", "guidance_scale", "strength"];

/** The prompt, where a checkpoint follows words; else how to install one. Fill and expand share it. */
export function promptField(tool) {
  const { isInstalled, command } = tool.model.session.prompts;
  if (!isInstalled) {
    return note("To say in words what should appear, install an inpainting model: ", el("code", {}, command));
  }
  const id = newId("prompt");
  const input = el("textarea", {
    id,
    rows: 2,
    maxlength: 2000,
    placeholder: "Empty: the surroundings continue",
    oninput: () => tool.controls.set("prompt", input.value),
  });
  input.value = tool.controls.get("prompt");
  return el("div", { class: "field" }, el("label", { for: id }, "What should be there"), input);
}

/** Parameters that only words need, while none can be followed. */
export function withoutWords(tool) {
  return tool.model.session.prompts.isInstalled ? [] : OF_WORDS;
}

export class GenerativeFill extends Tool {
  constructor(editor) {
    super(editor, "generative-fill");
    this.drawing = new Drawing(this, () => this.#refreshed());
    this.drawing.brush.hardness = 1;
    this.selecting = new Selecting(this, () => this.#refreshed());
    this.way = "brush";
  }

  build() {
    const mask = history.maskFor(this.model.steps, this.model.step);
    if (!mask && this.way === "mask") this.way = "brush";
    const ways = { brush: "Brush", click: "Click", ...(mask ? { mask: "Kept selection" } : {}) };
    return [
      segments("Mark by", ways, this.way, (value) => this.#chosen(value)),
      this.way === "brush" ? note("Brush over what should go.") : null,
      this.way === "click" ? note("Click on what should go. Alt-click takes away.") : null,
      ...(this.way === "brush" ? this.drawing.build(["size"]) : []),
      this.way === "mask"
        ? null
        : el(
            "div",
            { class: "row" },
            el("button", { type: "button", class: "quiet", onclick: () => this.clear() }, "Clear"),
          ),
      (this.message = el("p", { class: "note", role: "status" })),
      promptField(this),
      this.controls.advanced([...HIDDEN, ...withoutWords(this)]),
    ];
  }

  actions() {
    const label = this.controls.get("prompt").trim() ? "Fill" : "Remove object";
    return [{ label, problem: this.problem(), request: () => this.request(this.params(), this.name, label) }];
  }

  problem() {
    if (this.way === "brush") return strokes.problemOf(this.drawing.strokes);
    if (this.way === "click") return this.selecting.isUsable ? "" : "Click on something first.";
    return "";
  }

  params() {
    const fields = this.controls.fields();
    const mask = history.maskFor(this.model.steps, this.model.step);
    if (this.way === "brush") return { ...fields, strokes: strokes.toField(this.drawing.strokes) };
    if (this.way === "click") return { ...fields, ...this.selecting.params() };
    return { ...fields, mask_id: mask.imageId };
  }

  onStep(made) {
    if (made) this.way = this.way === "mask" ? "brush" : this.way; // what it marked is gone
    this.clear();
    this.drawing.isSized = this.drawing.isSized && this.drawing.brush.size <= this.drawing.most;
    this.editor.panel.rebuild();
  }

  leave() {
    this.clear();
  }

  undo() {
    return this.#hand?.undo() ?? false;
  }

  get hasDrawn() {
    return this.drawing.strokes.length > 0 || !this.selecting.isEmpty;
  }

  get #hand() {
    return { brush: this.drawing, click: this.selecting }[this.way];
  }

  get cursor() {
    return this.way === "brush" ? "none" : "crosshair";
  }

  resize = (direction) => this.drawing.step(direction);
  takes = () => this.way !== "mask";
  down = (point, event) => this.#hand?.down(point, event);
  move = (point) => this.#hand?.move(point);
  up = (point) => this.#hand?.up(point);
  abandon = () => (this.way === "brush" ? this.drawing.abandon() : (this.selecting.drag = null));
  hover = (point, event, onScreen) =>
    this.drawing.hover(this.way === "brush" ? point : null, event, onScreen);

  draw(context, stage) {
    if (this.way === "click") this.selecting.draw(context, stage);
    if (this.way === "mask") this.editor.drawMask(context);
    if (this.way !== "brush") return;
    const color = getComputedStyle(stage.element).getPropertyValue("--selection");
    const layer = layerOf(stage);
    paintStrokes(layer.context, this.drawing.all, stage.view, color);
    context.globalAlpha = 0.5;
    context.drawImage(layer.canvas, 0, 0, stage.viewport.width, stage.viewport.height);
    context.globalAlpha = 1;
    this.drawing.drawBrush(context, stage);
  }

  #chosen(way) {
    this.clear();
    this.way = way;
    this.editor.panel.rebuild();
    this.editor.setCursor();
    this.stage.invalidate();
  }

  clear() {
    this.drawing.clear();
    this.selecting.clear();
    this.#refreshed();
  }

  #refreshed() {
    if (this.message)
      this.message.textContent = this.selecting.isAsking ? "Looking …" : this.selecting.message;
    this.editor.panel.refresh();
    this.stage.invalidate();
  }
}
