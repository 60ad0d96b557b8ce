// Upscale: how large it becomes is seen before anything is spent.

import { el, segments } from "../elements.js";
import { isTooLarge } from "../frames.js";
import { note, Tool } from "./tool.js";

export class Upscale extends Tool {
  constructor(editor) {
    super(editor, "upscale");
  }

  build() {
    const { controls } = this;
    const scales = { 2: "2×", 3: "3×", 4: "4×", 8: "8×" };
    this.shown = el("p", { class: "sizes" });
    const chosen = this.#target() ? "" : controls.get("scale");
    const group = segments("Times larger", scales, chosen, (value) => {
      Object.assign(controls.values, { target_width: "", target_height: "" });
      controls.set("scale", value);
      this.editor.panel.rebuild();
    });
    this.#tell();
    return [
      el("div", { class: "field" }, el("span", { class: "label" }, "Times larger"), group),
      this.shown,
      ...controls.build(["mode"]),
      note(
        "Fast keeps to what the picture shows. Quality invents fine detail and takes about 25 times as long.",
      ),
      controls.advanced(["scale", "mode", "format", "quality"]),
    ];
  }

  params() {
    const fields = this.controls.fields();
    if (this.#target()) delete fields.scale;
    return fields;
  }

  problem() {
    return isTooLarge(this.result()) ? "The result would have more than 64 megapixels." : "";
  }

  changed() {
    super.changed();
    this.#tell();
  }

  onStep() {
    this.#tell();
  }

  #target() {
    const { target_width: width, target_height: height } = this.controls.values;
    return Number(width) > 0 || Number(height) > 0;
  }

  /** The size of the result. */
  result() {
    const { width, height } = this.size;
    const { target_width: wide, target_height: high } = this.controls.values;
    const factors = [Number(wide) / width, Number(high) / height].filter((factor) => factor > 0);
    const factor = factors.length ? Math.min(...factors) : Number(this.controls.get("scale"));
    return { width: Math.round(width * factor), height: Math.round(height * factor) };
  }

  #tell() {
    if (!this.shown || !this.size) return;
    const now = this.size;
    const then = this.result();
    this.shown.replaceChildren(
      `${now.width} × ${now.height}`,
      el("span", { "aria-label": "becomes" }, " → "),
      el("strong", {}, `${then.width} × ${then.height}`),
      ` · ${((then.width * then.height) / 1e6).toFixed(1)} MP`,
    );
  }
}
