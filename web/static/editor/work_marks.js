// Marks over the picture while something is computed: a shimmer over the area at work, and a spinner where the user
// clicked. They are elements instead of drawings, so that the browser animates them without our scripts.

import { el } from "./elements.js";
import * as frames from "./frames.js";

/** @import { Editor } from "./editor.js" */

export class WorkMarks {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.shimmer = el("div", { class: "shimmer", hidden: true, "aria-hidden": "true" });
    this.spinner = el("div", { class: "spinner", hidden: true, "aria-hidden": "true" });
    editor.stage.element.append(this.shimmer, this.spinner);
    editor.model.on("run", () => this.refresh());
  }

  /** Shows the marks where they belong in the present view. */
  refresh() {
    const { model, stage, tool } = this.editor;
    const { step, run } = model;
    this.shimmer.hidden = !step || !run || run.status !== "running";
    const point = step && tool ? tool.pendingPoint() : null;
    this.spinner.hidden = !point;
    if (step && !this.shimmer.hidden) {
      const box = stage.boxOf(tool?.workArea() ?? frames.wholePicture(step));
      const { style } = this.shimmer;
      [style.left, style.top] = [`${box.x}px`, `${box.y}px`];
      [style.width, style.height] = [`${box.width}px`, `${box.height}px`];
    }
    if (point) {
      const place = stage.boxOf({ ...point, width: 0, height: 0 });
      this.spinner.style.translate = `${place.x}px ${place.y}px`;
    }
  }
}
