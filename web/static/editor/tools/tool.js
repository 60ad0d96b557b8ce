// What the seven tools have in common.

import { Controls } from "../controls.js";
import { el } from "../elements.js";

export class Tool {
  constructor(editor, name) {
    this.editor = editor;
    this.model = editor.model;
    this.stage = editor.stage;
    this.name = name;
    this.about = this.model.toolNamed(name);
    this.controls = new Controls(this.about.parameters, (changed) => this.changed(changed));
  }

  /** The picture at full resolution: {width, height}. */
  get size() {
    return this.model.step;
  }

  /** Its part of the panel. */
  build() {
    return [];
  }

  /** What can be applied: [{label, request, problem}], the chief one first. */
  actions() {
    return [{ label: this.about.title, request: () => this.request(this.params()), problem: this.problem() }];
  }

  /** Why nothing can be applied yet, or "". */
  problem() {
    return "";
  }

  params() {
    return this.controls.fields();
  }

  /** A run of this tool; results are kept without loss until they are downloaded. */
  request(params, tool = this.name, title = this.about.title) {
    return { tool, params: { ...params, format: "png" }, title };
  }

  /** What the API's commands show: the chief action's run. */
  example() {
    return this.request(this.params());
  }

  changed() {
    this.editor.panel.refresh();
    this.stage.invalidate();
  }

  /** Another picture is shown; `made` if this tool's run just made it. */
  onStep() {}

  /** Takes back what was drawn last; false if nothing was. */
  undo() {
    return false;
  }

  /** Whether there is something that undo would take back. */
  get hasDrawn() {
    return false;
  }

  /** Takes all of it back. */
  clear() {}

  /** Another tool was chosen. */
  leave() {}
}

/** A line of explanation. */
export function note(...content) {
  return el("p", { class: "note" }, ...content);
}
