// Magic select: click on a thing, then cut it out, remove it, or keep it as a mask.

import { el, segments } from "../elements.js";
import { Selecting } from "./selection_input.js";
import { note, Tool } from "./tool.js";

const HIDDEN = ["points", "box", "auto", "output", "multimask", "model", "format", "quality"];
const OVERLAID = ["grow", "feather", "invert"];

export class MagicSelect extends Tool {
  constructor(editor) {
    super(editor, "magic-select");
    this.selecting = new Selecting(this, () => this.#refreshed());
  }

  build() {
    const { selecting } = this;
    this.message = el("p", { class: "note", role: "status" });
    this.#tell();
    const signs = { add: "+ Add", subtract: "− Take away" };
    const choose = (value) => (selecting.subtracts = value === "subtract");
    return [
      note("Click on what you mean, or draw a box around it. Clicking is free."),
      segments("A click", signs, selecting.subtracts ? "subtract" : "add", choose),
      el(
        "div",
        { class: "row" },
        el("button", { type: "button", class: "quiet", onclick: () => selecting.auto() }, "Find the subject"),
        el("button", { type: "button", class: "quiet", onclick: () => this.clear() }, "Clear"),
      ),
      this.message,
      this.controls.advanced(HIDDEN),
    ];
  }

  actions() {
    const missing = this.selecting.isAsking ? "Looking …" : "Select something first.";
    const problem = this.selecting.isUsable ? "" : missing;
    const selected = () => this.params();
    return [
      { label: "Cut out", problem, request: () => this.#asked("cutout", "Cut out") },
      {
        label: "Remove object",
        problem,
        request: () => this.request(this.selecting.params(), "generative-fill", "Remove object"),
        // What fill picks is the plain selection; refined ones go by way of a mask.
        hidden: "auto" in selected() || OVERLAID.some((name) => name in selected()),
      },
      { label: "Use as mask", problem, request: () => this.#asked("", "Use as mask") },
    ];
  }

  params() {
    return { ...this.controls.fields(), ...this.selecting.params() };
  }

  example() {
    return this.#asked("cutout", "Cut out");
  }

  overlayParams() {
    const fields = this.controls.fields();
    return Object.fromEntries(OVERLAID.filter((name) => name in fields).map((name) => [name, fields[name]]));
  }

  #asked(output, title) {
    return this.request({ ...this.params(), ...(output ? { output } : {}) }, this.name, title);
  }

  changed(name) {
    super.changed();
    if (OVERLAID.includes(name) && !this.selecting.isEmpty) this.selecting.ask();
  }

  onStep(made) {
    if (made?.isMask) {
      this.editor.tellMaskKept();
      return;
    }
    this.clear();
  }

  leave() {
    this.clear();
  }

  get hasDrawn() {
    return !this.selecting.isEmpty;
  }

  undo() {
    return this.selecting.undo();
  }

  down = (point, event) => this.selecting.down(point, event);
  move = (point) => this.selecting.move(point);
  up = (point) => this.selecting.up(point);
  abandon = () => (this.selecting.drag = null);
  draw = (context, stage) => this.selecting.draw(context, stage);
  cursor = "crosshair";

  clear() {
    this.selecting.clear();
    this.#refreshed();
  }

  #refreshed() {
    this.#tell();
    this.stage.invalidate();
    this.editor.panel.refresh();
  }

  #tell() {
    if (!this.message) return;
    const { selecting } = this;
    const sure =
      selecting.overlay && selecting.score !== null
        ? `Selected, ${Math.round(selecting.score * 100)} % sure.`
        : "";
    this.message.textContent = selecting.isAsking ? "Looking …" : selecting.message || sure;
  }
}
