// The panel's sections for the look of a cut-out: background, shadow, outline, edge and the subject's place.

import { checkbox, el, segments, setPressed, slider } from "../elements.js";
import { ACCEPTED_TYPES } from "../start_screen.js";
import { buildColors } from "./color_swatches.js";
import { presetChooser, withPreset } from "./preset_chooser.js";
import { note, quietButton } from "./tool.js";

/** @import { BgRemoval } from "./bg_removal.js" */

/** @typedef {"none" | "color" | "gradient" | "scene" | "picture" | "blur"} Background */

const COLORS = ["#ffffff", "#000000", "#f4f1ea", "#dbe7f3", "#f6d8d0", "#cfe8d5", "#ffd84d", "#1f3a5f"];
/** @type {Record<string, string>} */
const GRADIENTS = {
  "#ffffff #d9dee5 180": "White to grey",
  "#dbe7f3 #7da2cc 180": "Sky",
  "#fff3e0 #f2a65a 135": "Sand",
  "#fde2ea #c9a7eb 135": "Rose to violet",
  "#d7f2e3 #4fae8a 160": "Mint",
  "#3b4252 #15181e 180": "Charcoal",
};
const DEFAULT_BLUR = "30";
/** @type {Record<Background, string>} */
const BACKGROUNDS = {
  none: "None",
  color: "Color",
  gradient: "Gradient",
  scene: "Scene",
  picture: "Picture",
  blur: "Blur",
};
const NOTHING_TO_BLUR = "There is nothing to blur: this cut-out has no background of its own.";
const SHADOWS = { none: "None", drop: "Drop", contact: "Contact" };

export class LookPanel {
  /** @param {BgRemoval} tool */
  constructor(tool) {
    this.tool = tool;
  }

  get controls() {
    return this.tool.controls;
  }

  build() {
    return [this.#buildBackground(), this.#buildShadow(), this.#buildOutline(), this.#buildEdge()];
  }

  #buildBackground() {
    const details = el("div", { class: "details" });
    const showDetails = () => details.replaceChildren(...this.#buildBackgroundDetails());
    this.#dropIdleBlur();
    showDetails();
    const choice = segments("Background", BACKGROUNDS, this.tool.background, (background) => {
      this.#chooseBackground(background);
      showDetails();
    });
    const isIdle = this.#isBlurIdle;
    const blur = choice.querySelector("[data-value=blur]");
    if (blur instanceof HTMLButtonElement) blur.disabled = isIdle;
    return el(
      "div",
      { class: "field" },
      el("span", { class: "label" }, "Background"),
      choice,
      isIdle && note(NOTHING_TO_BLUR),
      details,
    );
  }

  /** Whether it is known that the picture has no background that could be blurred. */
  get #isBlurIdle() {
    const { cutout, editor } = this.tool;
    return cutout !== null && editor.composer.hasBackground(cutout) === false;
  }

  /** Leaves out a blur that the look has without any effect, in the controls alone: the picture looks the same. */
  #dropIdleBlur() {
    if (this.tool.background !== "blur" || !this.#isBlurIdle) return;
    this.tool.background = "none";
    this.fillBackground("none");
  }

  /** Builds the panel again if its blur turned out to be idle, once the cut-out's layers are loaded. */
  onLoaded() {
    if (this.#isBlurIdle) this.tool.editor.panel.rebuild();
  }

  /** @param {Background} background */
  #chooseBackground(background) {
    this.tool.background = background;
    // A finished cut-out keeps its background until a picture is chosen.
    if (background === "picture" && this.tool.cutout && !this.tool.backgroundImage) return;
    this.fillBackground(background);
    this.tool.onChange("background");
  }

  /**
   * Gives the fields of this background their values, and those of the others none.
   * @param {Background} background
   */
  fillBackground(background) {
    Object.assign(this.controls.values, {
      bg_color: background === "color" ? this.controls.get("bg_color") || COLORS[0] : "",
      bg_gradient:
        background === "gradient" ? this.controls.get("bg_gradient") || Object.keys(GRADIENTS)[0] : "",
      bg_scene:
        background === "scene" ? this.controls.get("bg_scene") || this.tool.model.session.scenes[0].name : "",
      bg_blur: background === "blur" ? this.#blur : "0",
    });
  }

  get #blur() {
    const blur = this.controls.get("bg_blur");
    return blur && blur !== "0" ? blur : DEFAULT_BLUR;
  }

  /** @returns {HTMLElement[]} */
  #buildBackgroundDetails() {
    const { background } = this.tool;
    if (background === "color") return [buildColors(this.tool, "bg_color", "Background", COLORS)];
    if (background === "gradient") return [this.#buildGradients()];
    if (background === "scene") return [this.#buildScenes()];
    if (background === "picture") return [this.#buildPictureChooser()];
    if (background === "none") return [];
    return [
      slider({
        label: "Strength",
        min: 1,
        max: 100,
        value: this.#blur,
        onChange: (blur) => this.controls.set("bg_blur", `${blur}`),
      }).element,
    ];
  }

  #buildScenes() {
    const buttons = this.tool.model.session.scenes.map((scene) =>
      el(
        "button",
        {
          type: "button",
          class: "scene",
          title: scene.title,
          "aria-label": `Scene ${scene.title}`,
          "aria-pressed": `${this.controls.get("bg_scene") === scene.name}`,
          onclick: (/** @type {MouseEvent} */ event) => {
            for (const one of buttons) setPressed(one, one === event.currentTarget);
            this.controls.set("bg_scene", scene.name);
          },
        },
        el("img", { src: scene.thumbnailUrl, alt: "", loading: "lazy" }),
      ),
    );
    return el("div", { class: "scenes", role: "group", "aria-label": "Scenes" }, buttons);
  }

  #buildGradients() {
    const chosen = this.controls.get("bg_gradient") || Object.keys(GRADIENTS)[0];
    const [first, last, angle = "180"] = chosen.split(" ");
    const picker = (/** @type {string} */ label, /** @type {string} */ value) =>
      el("input", { type: "color", "aria-label": label, value, oninput: () => setOwn() });
    const from = picker("First color", first);
    const to = picker("Second color", last);
    const direction = slider({
      label: "Direction",
      min: 0,
      max: 360,
      unit: "°",
      value: angle,
      onChange: (degrees) => setOwn(degrees),
    });
    let degrees = Number(angle);
    const setOwn = (next = degrees) => {
      degrees = next;
      this.controls.set("bg_gradient", `${from.value} ${to.value} ${degrees}`);
    };
    const swatches = Object.entries(GRADIENTS).map(([gradient, name]) => {
      const [start, end, turn] = gradient.split(" ");
      return el("button", {
        type: "button",
        class: "swatch",
        "aria-label": `Gradient ${name}`,
        title: name,
        style: `--swatch: linear-gradient(${turn}deg, ${start}, ${end})`,
        onclick: () => {
          [from.value, to.value] = [start, end];
          degrees = Number(turn);
          direction.set(degrees);
          this.controls.set("bg_gradient", gradient);
        },
      });
    });
    return el("div", {}, el("div", { class: "swatches" }, swatches, from, to), direction.element);
  }

  #buildPictureChooser() {
    const { tool } = this;
    if (tool.model.isGuest) {
      return note(el("a", { href: tool.editor.signUpUrl() }, "Sign up"), " to use a picture of your own.");
    }
    const input = el("input", { type: "file", accept: ACCEPTED_TYPES, hidden: true });
    input.addEventListener("change", async () => {
      const file = input.files?.[0];
      input.value = ""; // the same file can be chosen again if it fails
      if (!file) return;
      [choose.disabled, choose.textContent] = [true, "Uploading …"];
      await tool.storeBackground(file);
      [choose.disabled, choose.textContent] = [false, label];
    });
    const { backgroundImage } = tool;
    const thumbnail = backgroundImage?.thumbnailUrl
      ? el("img", { src: backgroundImage.thumbnailUrl, alt: "The background", class: "thumbnail" })
      : null;
    const label = backgroundImage ? "Choose another" : "Choose a picture";
    const choose = quietButton(label, () => input.click());
    return el("div", { class: "chooser" }, thumbnail, choose, input, this.#buildRecentPictures());
  }

  /** The pictures that were used as backgrounds before, as soon as the server has listed them. */
  #buildRecentPictures() {
    const { tool } = this;
    const list = el("div", { class: "scenes", role: "group", "aria-label": "Recent backgrounds" });
    tool.model.client.backgrounds().then(
      (pictures) =>
        list.replaceChildren(
          ...pictures.map((picture, at) =>
            el(
              "button",
              {
                type: "button",
                class: "scene",
                "aria-label": `Recent background ${at + 1}`,
                onclick: () => tool.useBackground(picture),
              },
              el("img", { src: picture.thumbnailUrl, alt: "", loading: "lazy" }),
            ),
          ),
        ),
      () => {}, // without them, a picture can still be chosen
    );
    return list;
  }

  #buildShadow() {
    const details = el("div", { class: "details" });
    const showDetails = (/** @type {string} */ kind) =>
      details.replaceChildren(...(kind === "none" ? [] : this.#buildShadowDetails(kind)));
    const kind = /** @type {keyof typeof SHADOWS} */ (this.controls.get("shadow") || "none");
    showDetails(kind);
    return el(
      "div",
      { class: "field" },
      el("span", { class: "label" }, "Shadow"),
      segments("Shadow", SHADOWS, kind, (chosen) => {
        showDetails(chosen);
        this.controls.set("shadow", chosen);
      }),
      details,
    );
  }

  /** @param {string} kind */
  #buildShadowDetails(kind) {
    const isDrop = kind === "drop";
    return [
      this.#buildSlider("shadow_opacity", "Darkness", 0, 100, "50", ""),
      this.#buildSlider("shadow_blur", "Softness", 0, 30, isDrop ? "5%" : "3%", "%", 0.5),
      ...(isDrop
        ? [
            this.#buildSlider("shadow_x", "Shadow right", -30, 30, "1.5%", "%", 0.5),
            this.#buildSlider("shadow_y", "Shadow down", -30, 30, "3.5%", "%", 0.5),
          ]
        : []),
      buildColors(this.tool, "shadow_color", "Shadow color", ["#000000", "#1f3a5f", "#5a3a22"]),
    ];
  }

  /**
   * @param {string} name of the parameter
   * @param {string} label
   * @param {number} min
   * @param {number} max
   * @param {string} initial
   * @param {"" | "%"} unit written behind the value
   */
  #buildSlider(name, label, min, max, initial, unit, step = 1) {
    return slider({
      label,
      min,
      max,
      step,
      unit: unit && " %",
      value: parseFloat(this.controls.get(name) || initial),
      onChange: (value) => this.controls.set(name, `${value}${unit}`),
    }).element;
  }

  #buildOutline() {
    const width = this.#buildSlider("outline_width", "Width", 0.5, 10, "2%", "%", 0.5);
    const colors = buildColors(this.tool, "outline_color", "Outline color", [
      "#ffffff",
      "#000000",
      "#ffd84d",
    ]);
    const details = el("div", { class: "details" }, width, colors);
    const isOn = Boolean(this.controls.get("outline_width"));
    details.hidden = !isOn;
    const field = checkbox("Outline", isOn, (isChecked) => {
      details.hidden = !isChecked;
      this.controls.set("outline_width", isChecked ? "2%" : "");
    });
    return el("div", {}, field, details);
  }

  #buildEdge() {
    return el(
      "details",
      { class: "advanced" },
      el("summary", {}, "Edge"),
      this.controls.build(["shift_edge", "feather", "decontaminate"]),
    );
  }

  /** The subject's place: only of a finished cut-out, which can be dragged. */
  buildPlace() {
    const reset = quietButton("Put back", () => {
      for (const name of ["subject_x", "subject_y", "subject_scale", "subject_rotate"])
        this.controls.values[name] = "";
      this.tool.onChange("subject_x");
      this.tool.editor.panel.rebuild();
    });
    return el(
      "details",
      { class: "advanced" },
      el("summary", {}, "Position"),
      note("Drag the subject on the picture, its corners to scale it, the handle above it to turn it."),
      this.#buildSlider("subject_x", "To the right", -100, 100, "0", "%"),
      this.#buildSlider("subject_y", "Down", -100, 100, "0", "%"),
      this.#buildSlider("subject_scale", "Size", 5, 400, "100", ""),
      this.#buildSlider("subject_rotate", "Turn", -180, 180, "0", ""),
      el("div", { class: "row" }, reset),
    );
  }

  buildPreset() {
    const { tool } = this;
    const { presets } = tool.model.session;
    return presetChooser(presets, this.controls.get("preset"), (preset) => {
      this.controls.values = withPreset(this.controls.values, preset);
      if (preset?.background) tool.background = "color";
      tool.onChange("preset");
      tool.editor.panel.rebuild();
    });
  }
}
