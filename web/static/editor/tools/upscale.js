// Upscale: shows the size of the result before a credit is spent.

import { el, segments } from "../elements.js";
import { sizeProblem } from "../frames.js";
import { flatteningNote, note, Tool } from "./tool.js";

/** @import { Editor } from "../editor.js" */

const SCALES = { 2: "2×", 3: "3×", 4: "4×", 8: "8×" };

export class Upscale extends Tool {
  /** @param {Editor} editor */
  constructor(editor) {
    super(editor, "upscale");
    this.sizes = el("p", { class: "sizes" });
  }

  build() {
    const { controls } = this;
    const chosen = this.#hasTarget() ? "" : controls.get("scale");
    const group = segments(
      "Times larger",
      /** @type {Record<string, string>} */ (SCALES),
      chosen,
      (scale) => {
        Object.assign(controls.values, { target_width: "", target_height: "" });
        controls.set("scale", scale);
        this.editor.panel.rebuild();
      },
    );
    this.#showSizes();
    return [
      flatteningNote(this),
      el("div", { class: "field" }, el("span", { class: "label" }, "Times larger"), group),
      this.sizes,
      ...controls.build(["mode"]),
      note("Fast keeps to what the picture shows. Quality invents fine detail and takes much longer."),
      controls.advanced(["scale", "mode", "format", "quality"]),
    ];
  }

  fields() {
    const fields = this.controls.fields();
    if (this.#hasTarget()) delete fields.scale;
    return fields;
  }

  problem() {
    return sizeProblem(this.#resultSize(), this.model.limits.outputPixels);
  }

  /** @param {string} name */
  onChange(name) {
    super.onChange(name);
    this.#showSizes();
  }

  onStep() {
    this.#showSizes();
  }

  /** Whether a size in pixels was entered, which counts instead of the scale. */
  #hasTarget() {
    const { target_width: width, target_height: height } = this.controls.values;
    return Number(width) > 0 || Number(height) > 0;
  }

  #resultSize() {
    const { width, height } = this.step;
    const { target_width: targetWidth, target_height: targetHeight } = this.controls.values;
    const factors = [Number(targetWidth) / width, Number(targetHeight) / height].filter(
      (factor) => factor > 0,
    );
    const factor = factors.length ? Math.min(...factors) : Number(this.controls.get("scale"));
    return { width: Math.round(width * factor), height: Math.round(height * factor) };
  }

  #showSizes() {
    const { width, height } = this.step;
    const result = this.#resultSize();
    this.sizes.replaceChildren(
      `${width} × ${height}`,
      el("span", { "aria-label": "becomes" }, " → "),
      el("strong", {}, `${result.width} × ${result.height}`),
      ` · ${((result.width * result.height) / 1e6).toFixed(1)} MP`,
    );
  }
}
