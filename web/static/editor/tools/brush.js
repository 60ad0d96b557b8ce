// Brush: erase, restore, paint, blur or heal by hand. What is drawn is shown at once and applied in one go.

import { el, newId, segments } from "../elements.js";
import * as history from "../history.js";
import { layerOf, paintStrokes } from "../canvas.js";
import * as pictures from "../images.js";
import * as strokes from "../strokes.js";
import { Drawing } from "./stroke_input.js";
import { note, Tool } from "./tool.js";

const OPERATIONS = { erase: "Erase", restore: "Restore", paint: "Paint", blur: "Blur", heal: "Heal" };
const BLUR_SHARE = 0.01; // of the longer side, as the tool blurs

export class Brush extends Tool {
  constructor(editor) {
    super(editor, "brush");
    this.drawing = new Drawing(this, () => this.#refreshed());
    this.operation = "erase";
    this.color = "#d23b2f";
    this.usesMask = false;
    this.source = null; // the image that restore draws from
  }

  build() {
    const mask = history.maskFor(this.model.steps, this.model.step);
    if (!mask) this.usesMask = false;
    return [
      segments("What the brush does", OPERATIONS, this.operation, (value) => this.#chosen(value)),
      note(this.#explained()),
      this.operation === "paint" ? this.#colors() : null,
      mask ? this.#maskSwitch() : null,
      ...(this.usesMask ? [] : this.drawing.build()),
      this.usesMask
        ? null
        : el(
            "div",
            { class: "row" },
            el(
              "button",
              { type: "button", class: "quiet", onclick: () => this.drawing.undo() },
              "Undo stroke",
            ),
            el("button", { type: "button", class: "quiet", onclick: () => this.drawing.clear() }, "Clear"),
          ),
    ];
  }

  #explained() {
    const words = {
      erase: "Makes transparent where you draw.",
      restore: this.original
        ? "Brings the original's pixels back where you draw."
        : "Nothing to restore from: no earlier picture has this size.",
      paint: "Lays a color on.",
      blur: "Softens what you draw over.",
      heal: "Draw over a blemish: its surroundings continue over it.",
    };
    return words[this.operation];
  }

  get original() {
    return history.restorable(this.model.steps, this.model.step);
  }

  get makesTransparent() {
    return this.operation === "erase" && this.drawing.all.length > 0;
  }

  params() {
    const params = { op: this.operation };
    const mask = history.maskFor(this.model.steps, this.model.step);
    if (this.usesMask && mask) params.mask_id = mask.imageId;
    else params.strokes = strokes.toField(this.drawing.strokes);
    if (this.operation === "paint") params.color = this.color;
    if (this.operation === "restore" && this.original) params.original_id = this.original.imageId;
    return params;
  }

  actions() {
    const problem = this.problem();
    const label = this.usesMask ? "Apply to selection" : "Apply strokes";
    const title = OPERATIONS[this.operation];
    return [{ label, problem, request: () => this.request(this.params(), this.name, title) }];
  }

  problem() {
    if (this.operation === "restore" && !this.original) return "There is nothing to restore from.";
    return this.usesMask ? "" : strokes.problemOf(this.drawing.strokes);
  }

  onStep() {
    this.drawing.strokes = [];
    this.drawing.isSized = this.drawing.isSized && this.drawing.brush.size <= this.drawing.most;
    this.editor.panel.rebuild();
    this.#loadSource();
  }

  leave() {
    this.drawing.clear();
  }

  undo() {
    return this.drawing.undo();
  }

  clear() {
    this.drawing.clear();
  }

  get hasDrawn() {
    return this.drawing.strokes.length > 0;
  }

  resize = (direction) => this.drawing.step(direction);
  takes = () => !this.usesMask;
  down = (point) => this.drawing.down(point);
  move = (point) => this.drawing.move(point);
  up = () => this.drawing.up();
  abandon = () => this.drawing.abandon();
  hover = (point, event, onScreen) => this.drawing.hover(this.usesMask ? null : point, event, onScreen);
  cursor = "none";

  draw(context, stage) {
    if (this.operation === "heal") {
      const layer = layerOf(stage);
      paintStrokes(layer.context, this.drawing.all, stage.view, "#ff5fa2");
      context.globalAlpha = 0.5;
      context.drawImage(layer.canvas, 0, 0, stage.viewport.width, stage.viewport.height);
      context.globalAlpha = 1;
    }
    this.drawing.drawBrush(context, stage);
  }

  /** The picture with what was drawn on it, instead of the picture; false if that is the same. */
  drawPicture(context, stage, box) {
    const { all } = this.drawing;
    if (!all.length || this.operation === "heal") return false;
    const place = [box.x, box.y, box.width, box.height];
    const whole = [0, 0, stage.viewport.width, stage.viewport.height];
    const layer = layerOf(stage);
    if (this.operation === "erase") {
      layer.context.drawImage(stage.image, ...place);
      layer.context.globalCompositeOperation = "destination-out";
      paintStrokes(layer.context, all, stage.view, "black");
      context.drawImage(layer.canvas, ...whole);
      return true;
    }
    paintStrokes(layer.context, all, stage.view, this.operation === "paint" ? this.color : "black");
    layer.context.globalCompositeOperation = "source-in";
    if (this.operation === "blur") {
      layer.context.filter = `blur(${Math.max(box.width, box.height) * BLUR_SHARE}px)`;
      layer.context.drawImage(stage.image, ...place);
    } else if (this.operation === "restore" && this.source) {
      layer.context.drawImage(this.source, ...place);
    }
    context.save();
    context.drawImage(stage.image, ...place);
    context.beginPath();
    context.rect(...place);
    context.clip();
    context.drawImage(layer.canvas, ...whole);
    context.restore();
    return true;
  }

  #chosen(operation) {
    this.operation = operation;
    this.editor.panel.rebuild();
    this.#loadSource();
    this.stage.invalidate();
  }

  async #loadSource() {
    this.source = null;
    if (this.operation !== "restore" || !this.original) return;
    this.source = await pictures.load(this.original.previewUrl);
    this.stage.invalidate();
  }

  #colors() {
    const id = newId("color");
    const input = el("input", {
      id,
      type: "color",
      value: this.color,
      oninput: () => {
        this.color = input.value;
        this.stage.invalidate();
      },
    });
    return el("div", { class: "field inline" }, el("label", { for: id }, "Color"), input);
  }

  #maskSwitch() {
    const id = newId("mask");
    const input = el("input", {
      id,
      type: "checkbox",
      checked: this.usesMask,
      onchange: () => {
        this.usesMask = input.checked;
        this.editor.panel.rebuild();
      },
    });
    return el("div", { class: "field switch" }, input, el("label", { for: id }, "Act on the kept selection"));
  }

  #refreshed() {
    this.editor.panel.refresh();
    this.stage.invalidate();
  }
}
