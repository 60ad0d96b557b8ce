// The settings of a batch's step: those of the tool that make sense for any picture.

import { Controls } from "../controls.js";
import { checkbox, el, newId, segments } from "../elements.js";
import { ASPECT_RATIOS } from "../frames.js";
import { effective } from "../looks.js";
import { presetChooser, withPreset } from "../tools/preset_chooser.js";
import { note } from "../tools/tool.js";

/** @import { Child } from "../elements.js" */
/** @import { BatchStep, Fields, Session, ToolInfo } from "../types.js" */

const OUTPUT = ["format", "quality"];
/** Settings that are chosen otherwise here, or refer to one picture. @type {Record<string, string[]>} */
const HIDDEN = {
  "bg-removal": [
    ...["model", "channels", "bg_color", "bg_gradient", "bg_scene", "bg_blur", "preset", "shadow"],
    ...["subject_x", "subject_y", "subject_scale", "subject_rotate"],
  ],
  crop: ["x", "y", "width", "height", "aspect_ratio", "gravity", "mode", "tolerance", "rotate", "flip"],
  upscale: ["scale", "mode"],
  "generative-expand": [
    ...["left", "right", "top", "bottom", "aspect_ratio", "width", "height", "anchor", "model"],
    ...["prompt", "negative_prompt", "steps", "guidance_scale", "seed"],
  ],
};
const FRAME = ["x", "y", "width", "height"];
const MARGINS = ["left", "right", "top", "bottom"];
const BACKGROUND = ["bg_color", "bg_gradient", "bg_scene", "bg_blur"];
const BACKGROUNDS = { none: "None", color: "Color", scene: "Scene", blur: "Blur" };
const DEFAULT_BLUR = "30";
const WHITE = "#ffffff";

/** What a new step does unless it is told otherwise. @type {Record<string, Fields>} */
export const INITIAL = {
  crop: { aspect_ratio: "1:1", gravity: "subject" },
  "generative-expand": { aspect_ratio: "1:1" },
};

export class StepSettings {
  /**
   * @param {BatchStep} step whose parameters are kept up to date
   * @param {ToolInfo} info
   * @param {Session} session
   * @param {() => void} onChange
   */
  constructor(step, info, session, onChange) {
    this.step = step;
    this.session = session;
    this.onChange = onChange;
    this.controls = new Controls(info.parameters, () => this.#changed());
    const known = this.controls.specs.map((spec) => spec.name);
    const entries = Object.entries(step.params);
    this.controls.values = Object.fromEntries(entries.filter(([name]) => known.includes(name)));
    /** Such as the id of a background picture. */
    this.others = Object.fromEntries(entries.filter(([name]) => !known.includes(name)));
    this.element = el("div", { class: "step-settings" });
    this.#build();
  }

  #build() {
    /** @type {Record<string, () => Child[]>} */
    const parts = {
      "bg-removal": () => this.#cutoutParts(),
      crop: () => this.#cropParts(),
      upscale: () => this.#upscaleParts(),
      "generative-expand": () => this.#expandParts(),
    };
    const { tool } = this.step;
    const advanced = this.controls.advanced([...OUTPUT, ...HIDDEN[tool]]);
    this.element.replaceChildren();
    for (const part of [...parts[tool](), advanced]) if (part) this.element.append(part);
  }

  /** Builds the settings again, with the focus where it was. */
  #rebuild() {
    const label = document.activeElement?.textContent;
    const isInside = this.element.contains(document.activeElement);
    const open = this.element.querySelector("details.advanced")?.hasAttribute("open");
    this.#build();
    if (open) this.element.querySelector("details.advanced")?.setAttribute("open", "");
    const same = [...this.element.querySelectorAll("button")].find((one) => one.textContent === label);
    if (isInside) same?.focus();
  }

  #changed() {
    const fields = this.controls.fields();
    if (this.step.tool === "crop") {
      if (!fields.aspect_ratio && fields.fit !== "cover" && fields.fit !== "pad") delete fields.gravity;
      if (fields.mode !== "trim") delete fields.tolerance;
    }
    this.step.params = { ...effective(fields), ...this.others };
    this.onChange();
  }

  /**
   * @param {Partial<Fields>} values
   */
  #set(values) {
    Object.assign(this.controls.values, values);
    this.#changed();
    this.#rebuild();
  }

  /**
   * @param {string} label
   * @param {Record<string, string>} options
   * @param {string} chosen
   * @param {(value: string) => void} onChoose
   */
  #choice(label, options, chosen, onChoose) {
    return el(
      "div",
      { class: "field" },
      el("span", { class: "label" }, label),
      segments(label, options, chosen, onChoose),
    );
  }

  // Remove background

  #cutoutParts() {
    const { controls } = this;
    const set = (/** @type {string} */ name) => (/** @type {string} */ value) => controls.set(name, value);
    const model = controls.get("model");
    const details = { auto: "Automatic", fast: "Fast", quality: "Fine" };
    const shadows = { none: "None", drop: "Drop", contact: "Contact" };
    return [
      this.#choice("Detail", details, model, set("model")),
      this.#buildBackground(),
      this.#choice("Shadow", shadows, controls.get("shadow") || "none", (shadow) => this.#set({ shadow })),
      presetChooser(this.session.presets, controls.get("preset"), (preset) =>
        this.#set(withPreset(controls.values, preset)),
      ),
    ];
  }

  get #background() {
    const { values } = this.controls;
    if (this.others.bg_image_id || values.bg_gradient) return "kept";
    if (values.bg_scene) return "scene";
    if (values.bg_blur && values.bg_blur !== "0") return "blur";
    return values.bg_color && values.bg_color !== "transparent" ? "color" : "none";
  }

  #buildBackground() {
    const { controls } = this;
    const background = this.#background;
    const scenes = this.session.scenes;
    const choose = (/** @type {string} */ chosen) => {
      delete this.others.bg_image_id;
      /** @type {Partial<Fields>} */
      const values = Object.fromEntries(BACKGROUND.map((name) => [name, ""]));
      if (chosen === "color") values.bg_color = WHITE;
      if (chosen === "scene") values.bg_scene = scenes[0].name;
      if (chosen === "blur") values.bg_blur = DEFAULT_BLUR;
      this.#set(values);
    };
    /** @type {Record<string, () => Child[]>} */
    const details = {
      none: () => [],
      kept: () => [note("As in the picture that is open.")],
      color: () => {
        const id = newId("color");
        const value = controls.get("bg_color");
        const input = el("input", {
          id,
          type: "color",
          value: /^#[0-9a-f]{6}$/i.test(value) ? value : WHITE,
          oninput: () => controls.set("bg_color", input.value),
        });
        return [el("div", { class: "field inline" }, el("label", { for: id }, "Background color"), input)];
      },
      scene: () => {
        const id = newId("scene");
        const options = scenes.map((one) => el("option", { value: one.name }, one.title));
        const select = el("select", { id, onchange: () => controls.set("bg_scene", select.value) }, options);
        select.value = controls.get("bg_scene");
        return [el("div", { class: "field" }, el("label", { for: id }, "Scene"), select)];
      },
      blur: () => controls.build(["bg_blur"]),
    };
    return el(
      "div",
      {},
      this.#choice("Background", BACKGROUNDS, background, choose),
      el("div", { class: "details" }, details[background]()),
    );
  }

  // Crop

  #cropParts() {
    const { controls } = this;
    const { values } = controls;
    const isTrimming = values.mode === "trim";
    const hasFrame = FRAME.some((name) => values[name]);
    const shape = hasFrame || isTrimming ? "" : (values.aspect_ratio ?? "");
    const none = Object.fromEntries([...FRAME, "mode", "aspect_ratio", "gravity"].map((name) => [name, ""]));
    const isAround = values.gravity === "subject";
    const gravity = isAround ? "subject" : "";
    return [
      hasFrame && note("The same part of each picture as of the one that is open."),
      this.#shapes(["", ...ASPECT_RATIOS], shape, (ratio) =>
        this.#set({ ...none, aspect_ratio: ratio, gravity: ratio ? gravity : "" }),
      ),
      shape
        ? checkbox("Around the subject", isAround, (isChecked) =>
            this.#set({ gravity: isChecked ? "subject" : "" }),
          )
        : null,
      checkbox("Trim a uniform border", isTrimming, (isChecked) =>
        this.#set({ ...none, mode: isChecked ? "trim" : "" }),
      ),
      isTrimming ? el("div", {}, controls.build(["tolerance"])) : null,
      values.rotate || values.flip ? note("Turned and mirrored as the picture that is open.") : null,
      ...controls.build(["resize", "fit"]),
    ];
  }

  /**
   * @param {string[]} ratios
   * @param {string} chosen
   * @param {(ratio: string) => void} onChoose
   */
  #shapes(ratios, chosen, onChoose) {
    const chips = ratios.map((ratio) =>
      el(
        "button",
        {
          type: "button",
          class: "chip",
          "aria-pressed": `${ratio === chosen}`,
          onclick: () => onChoose(ratio),
        },
        ratio || "As it is",
      ),
    );
    return el(
      "div",
      { class: "field" },
      el("span", { class: "label" }, "Shape"),
      el("div", { class: "chips", role: "group", "aria-label": "Shape" }, chips),
    );
  }

  // Enlarge

  #upscaleParts() {
    const { controls } = this;
    const isSized = Boolean(controls.values.target_width || controls.values.target_height);
    const scales = { 2: "2×", 3: "3×", 4: "4×", 8: "8×" };
    return [
      this.#choice("Times larger", scales, isSized ? "" : controls.get("scale"), (scale) =>
        this.#set({ scale, target_width: "", target_height: "" }),
      ),
      ...controls.build(["mode"]),
    ];
  }

  // Extend

  #expandParts() {
    const { values } = this.controls;
    const hasMargins = MARGINS.some((name) => values[name]);
    const none = Object.fromEntries(MARGINS.map((name) => [name, ""]));
    return [
      hasMargins && note("By the same share of each side as the picture that is open."),
      this.#shapes(ASPECT_RATIOS, hasMargins ? "" : (values.aspect_ratio ?? ""), (ratio) =>
        this.#set({ ...none, aspect_ratio: ratio }),
      ),
      this.session.prompts.isInstalled ? el("div", {}, this.controls.build(["prompt"])) : null,
    ];
  }
}
