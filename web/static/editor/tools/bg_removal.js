// Remove background: the cut-out costs a credit once; its appearance can then be changed for free.

import { withConfidence } from "../confidence.js";
import { checkbox, el, newId, segments, slider } from "../elements.js";
import * as history from "../history.js";
import { ACCEPTED_TYPES } from "../start_screen.js";
import { note, Tool } from "./tool.js";

/** @import { Editor } from "../editor.js" */
/** @import { Action, Fields, Frame, Step } from "../types.js" */

/** @typedef {"none" | "color" | "picture" | "blur"} Background */

/** Parameters that decide what is cut out. They are fixed once the cut-out is paid. */
const CUT_OUT_PARAMETERS = ["model", "channels", "roi"];
const RESTYLE_DELAY_MS = 300; // several changes in a row become one request
const COLORS = ["#ffffff", "#000000", "#f4f1ea", "#dbe7f3", "#f6d8d0", "#cfe8d5", "#ffd84d", "#1f3a5f"];
const DEFAULT_BLUR = "30";
const HIDDEN = [
  "model",
  "bg_color",
  "bg_blur",
  "preset",
  "shadow",
  "shadow_opacity",
  "feather",
  "shift_edge",
  "decontaminate",
  "format",
  "quality",
  "channels",
];

export class BgRemoval extends Tool {
  /** @param {Editor} editor */
  constructor(editor) {
    super(editor, "bg-removal");
    /** @type {Background} */
    this.background = "none";
    /** @type {{ imageId: string, thumbnailUrl?: string } | null} */
    this.backgroundImage = null;
    /**
     * Waits for further changes before the cut-out is restyled.
     * @type {ReturnType<typeof setTimeout> | undefined}
     */
    this.timer = undefined;
    /**
     * The id of the cut-out that the panel shows.
     * @type {string | null}
     */
    this.cutoutId = null;
    /**
     * The id of the cut-out whose settings the controls have. Loading them again would lose changes.
     * @type {string | null}
     */
    this.loadedId = null;
    /**
     * The last transparent preview of a cut-out: it is shown on a new background until the server has made it.
     * @type {{ step: Step, image: HTMLImageElement } | null}
     */
    this.transparent = null;
  }

  /** The current step if it is a cut-out whose appearance can be changed. */
  get cutout() {
    const { step, steps } = this.model;
    if (!step || step.tool !== this.name || !step.parentId) return null;
    return history.findStep(steps, step.parentId)?.isAvailable ? step : null;
  }

  build() {
    this.#loadSettings();
    const isCutout = this.cutout !== null;
    return [
      isCutout && note(`${this.#describeCutout()} Changing background, shadow, edge and frame is free.`),
      isCutout ? null : this.#buildDetail(),
      this.#buildBackground(),
      this.#buildShadow(),
      this.#buildEdge(),
      this.#buildPreset(),
      this.controls.advanced(isCutout ? [...HIDDEN, ...CUT_OUT_PARAMETERS] : HIDDEN),
    ];
  }

  /** @returns {Action[]} */
  actions() {
    return this.cutout ? [] : super.actions();
  }

  /** @returns {Fields} */
  fields() {
    const fields = this.controls.fields();
    if (this.background === "picture" && this.backgroundImage) {
      fields.bg_image_id = this.backgroundImage.imageId;
    }
    if (fields.shadow !== "drop" && fields.shadow !== "contact") {
      for (const name of ["shadow_opacity", "shadow_color", "shadow_blur"]) delete fields[name];
    }
    if (fields.shadow !== "drop") {
      for (const name of ["shadow_x", "shadow_y"]) delete fields[name];
    }
    if (!fields.outline_width) delete fields.outline_color;
    return fields;
  }

  example() {
    const { cutout } = this;
    const request = this.request(this.fields());
    return cutout?.parentId ? { ...request, stepId: cutout.parentId } : request;
  }

  /** @param {string} name */
  onChange(name) {
    super.onChange(name);
    const { cutout } = this;
    if (!cutout) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.#restyle(cutout);
    }, RESTYLE_DELAY_MS);
  }

  /** @param {Step} cutout */
  async #restyle(cutout) {
    const hasFailed = (await this.model.restyle(cutout, this.request(this.fields()).params)) === false;
    if (!hasFailed || this.#isRestyling || this.cutout?.id !== cutout.id) return;
    this.loadedId = null; // the panel shows again what the stored picture is
    this.editor.panel.rebuild();
  }

  /** Whether a change of the appearance has not arrived yet. */
  get #isRestyling() {
    return this.timer !== undefined || this.model.restyleRun !== null;
  }

  /**
   * The last transparent preview on the color that was just chosen, until the server's result arrives.
   * @param {CanvasRenderingContext2D} context
   * @param {HTMLImageElement} _image
   * @param {Frame} box
   */
  drawPicture(context, _image, box) {
    const { cutout, transparent } = this;
    if (!cutout || !this.#isRestyling || transparent?.step.id !== cutout.id) return false;
    if (!history.hasSameSize(transparent.step, cutout)) return false;
    if (this.background !== "none" && this.background !== "color") return false;
    const shadow = this.controls.get("shadow");
    if (shadow === "drop" || shadow === "contact") return false;
    if (this.controls.get("outline_width")) return false;
    if (this.background === "color") {
      context.fillStyle = this.controls.get("bg_color");
      context.fillRect(box.x, box.y, box.width, box.height);
    }
    context.drawImage(transparent.image, box.x, box.y, box.width, box.height);
    return true;
  }

  /** @param {HTMLImageElement} image */
  onShown(image) {
    const { cutout } = this;
    if (cutout && this.stage.hasTransparency && cutout.params.shadow !== "drop") {
      this.transparent = { step: cutout, image };
    }
  }

  onStep() {
    if (this.model.step?.id === this.cutoutId) return;
    this.cutoutId = this.cutout?.id ?? null;
    this.editor.panel.rebuild();
  }

  leave() {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.cutoutId = null;
    this.loadedId = null;
  }

  /** Shows the settings that the current cut-out was made with. */
  #loadSettings() {
    const { cutout } = this;
    this.cutoutId = cutout?.id ?? null;
    if (cutout?.id === this.loadedId) return;
    this.loadedId = this.cutoutId;
    if (!cutout) return;
    const { bg_image_id: imageId, format: _, ...values } = cutout.params;
    this.controls.values = values;
    this.background = imageId ? "picture" : values.bg_blur ? "blur" : values.bg_color ? "color" : "none";
    if (imageId && this.backgroundImage?.imageId !== imageId) this.backgroundImage = { imageId };
  }

  #describeCutout() {
    const confidence = this.cutout?.answer.confidence;
    // Cut-outs that were made by earlier versions have none.
    return typeof confidence === "number" ? withConfidence("Cut out", confidence) : "Cut out.";
  }

  #buildDetail() {
    const options = { auto: "Automatic", fast: "Fast", quality: "Fine" };
    const chosen = /** @type {keyof typeof options} */ (this.controls.get("model"));
    return el(
      "div",
      { class: "field" },
      el("span", { class: "label" }, "Detail"),
      segments("Detail", options, chosen, (model) => this.controls.set("model", model)),
    );
  }

  #buildBackground() {
    const details = el("div", { class: "details" });
    const showDetails = () => details.replaceChildren(...this.#buildBackgroundDetails());
    /** @type {Record<Background, string>} */
    const options = { none: "None", color: "Color", picture: "Picture", blur: "Blur" };
    showDetails();
    return el(
      "div",
      { class: "field" },
      el("span", { class: "label" }, "Background"),
      segments("Background", options, this.background, (background) => {
        this.#chooseBackground(background);
        showDetails();
      }),
      details,
    );
  }

  /** @param {Background} background */
  #chooseBackground(background) {
    this.background = background;
    Object.assign(this.controls.values, {
      bg_color: background === "color" ? this.controls.get("bg_color") || COLORS[0] : "",
      bg_blur: background === "blur" ? this.#blur : "0",
    });
    this.onChange("background");
  }

  get #blur() {
    const blur = this.controls.get("bg_blur");
    return blur && blur !== "0" ? blur : DEFAULT_BLUR;
  }

  /** @returns {HTMLElement[]} */
  #buildBackgroundDetails() {
    if (this.background === "color") return [this.#buildColors()];
    if (this.background === "picture") return [this.#buildPictureChooser()];
    if (this.background === "none") return [];
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

  #buildColors() {
    const color = this.controls.get("bg_color");
    const custom = el("input", {
      id: newId("color"),
      type: "color",
      "aria-label": "Another color",
      value: /^#[0-9a-f]{6}$/i.test(color) ? color : COLORS[0],
      oninput: () => this.controls.set("bg_color", custom.value),
    });
    const swatches = COLORS.map((swatch) =>
      el("button", {
        type: "button",
        class: "swatch",
        "aria-label": `Background ${swatch}`,
        title: swatch,
        style: `--swatch: ${swatch}`,
        onclick: () => {
          custom.value = swatch;
          this.controls.set("bg_color", swatch);
        },
      }),
    );
    return el("div", { class: "swatches" }, swatches, custom);
  }

  #buildPictureChooser() {
    if (this.model.isGuest) {
      return note(el("a", { href: this.editor.signUpUrl() }, "Sign up"), " to use a picture of your own.");
    }
    const input = el("input", { type: "file", accept: ACCEPTED_TYPES, hidden: true });
    input.addEventListener("change", () => {
      const file = input.files?.[0];
      if (file) this.#storeBackground(file);
    });
    const { backgroundImage } = this;
    const thumbnail = backgroundImage?.thumbnailUrl
      ? el("img", { src: backgroundImage.thumbnailUrl, alt: "The background", class: "thumbnail" })
      : null;
    const label = backgroundImage ? "Choose another" : "Choose a picture";
    return el(
      "div",
      { class: "chooser" },
      thumbnail,
      el("button", { type: "button", class: "quiet", onclick: () => input.click() }, label),
      input,
    );
  }

  /** @param {File} file */
  async #storeBackground(file) {
    try {
      this.backgroundImage = await this.model.client.storeBackground(file);
      this.onChange("background");
      this.editor.panel.rebuild();
    } catch (error) {
      this.model.reportError(error);
    }
  }

  #buildShadow() {
    const opacity = slider({
      label: "Darkness",
      min: 0,
      max: 100,
      value: this.controls.get("shadow_opacity"),
      onChange: (value) => this.controls.set("shadow_opacity", `${value}`),
    }).element;
    opacity.hidden = this.controls.get("shadow") !== "drop";
    const field = checkbox("Shadow", !opacity.hidden, (isChecked) => {
      opacity.hidden = !isChecked;
      this.controls.set("shadow", isChecked ? "drop" : "none");
    });
    return el("div", {}, field, opacity);
  }

  #buildEdge() {
    return el(
      "details",
      { class: "advanced" },
      el("summary", {}, "Edge"),
      this.controls.build(["shift_edge", "feather", "decontaminate"]),
    );
  }

  #buildPreset() {
    const isChosen = this.controls.get("preset") === "marketplace";
    return checkbox(
      "Marketplace picture",
      isChosen,
      (isChecked) => this.controls.set("preset", isChecked ? "marketplace" : ""),
      { title: "White background, 2000 × 2000, the object centred and filling 85 %." },
    );
  }
}
