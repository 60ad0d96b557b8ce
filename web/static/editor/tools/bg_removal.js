// Remove background: the cut-out once, its look as often as one likes.

import * as api from "../api.js";
import { el, newId, segments, slider } from "../elements.js";
import * as history from "../history.js";
import { note, Tool } from "./tool.js";

const CORE = ["model", "channels", "roi"];
const LOOK_DELAY_MS = 300;
const COLORS = ["#ffffff", "#000000", "#f4f1ea", "#dbe7f3", "#f6d8d0", "#cfe8d5", "#ffd84d", "#1f3a5f"];
const SHOWN = [
  "model",
  "bg_color",
  "bg_blur",
  "preset",
  "shadow",
  "shadow_opacity",
  "feather",
  "shift_edge",
  "decontaminate",
];
const HIDDEN = [...SHOWN, "format", "quality", "channels"];

export class BgRemoval extends Tool {
  constructor(editor) {
    super(editor, "bg-removal");
    this.background = "none";
    this.backgroundImage = null; // {imageId, thumbnailUrl}
    this.timer = null;
    this.cutId = null;
    this.plain = null; // the cut-out's last transparent preview
  }

  /** The cut-out that is looked at, if it is one whose look can change. */
  get cutout() {
    const step = this.model.step;
    if (step?.tool !== this.name) return null;
    return history.stepOf(this.model.steps, step.parentId)?.lives ? step : null;
  }

  build() {
    this.#load();
    const isCut = this.cutout !== null;
    return [
      isCut ? note("Cut out. Background, shadow, edge and frame are free to change.") : null,
      isCut ? null : this.#quality(),
      this.#backgrounds(),
      this.#shadow(),
      this.#edge(),
      this.#preset(),
      this.controls.advanced(isCut ? [...HIDDEN, ...CORE] : HIDDEN),
    ];
  }

  actions() {
    return this.cutout ? [] : super.actions();
  }

  params() {
    const fields = this.controls.fields();
    if (this.background === "picture" && this.backgroundImage)
      fields.bg_image_id = this.backgroundImage.imageId;
    if (fields.shadow !== "drop") delete fields.shadow_opacity;
    return fields;
  }

  example() {
    const cut = this.cutout;
    return cut ? { ...this.request(this.params()), stepId: cut.parentId } : super.example();
  }

  changed() {
    super.changed();
    if (!this.cutout) return;
    clearTimeout(this.timer);
    const cut = this.cutout;
    this.timer = setTimeout(() => {
      this.timer = null;
      this.model.changeLook(cut, this.request(this.params()).params);
    }, LOOK_DELAY_MS);
  }

  /** The cut-out's last transparent preview, on the color just chosen: seen until the server has laid it. */
  drawPicture(context, stage, box) {
    const cut = this.cutout;
    if (!cut || !this.isWaiting || this.plain?.id !== cut.id || !["none", "color"].includes(this.background))
      return false;
    if (
      this.plain.width !== cut.width ||
      this.plain.height !== cut.height ||
      this.controls.get("shadow") === "drop"
    )
      return false;
    if (this.background === "color") {
      context.fillStyle = this.controls.get("bg_color");
      context.fillRect(box.x, box.y, box.width, box.height);
    }
    context.drawImage(this.plain.image, box.x, box.y, box.width, box.height);
    return true;
  }

  get isWaiting() {
    return this.timer !== null || this.model.lookRun !== null;
  }

  onShown(image) {
    const cut = this.cutout;
    if (cut && this.stage.hasTransparency && cut.params.shadow !== "drop") {
      this.plain = { id: cut.id, width: cut.width, height: cut.height, image };
    }
  }

  onStep(made) {
    if (made?.tool === this.name && made.id !== this.cutId) this.editor.compare(true);
    if (this.model.step?.id === this.cutId) return;
    this.cutId = this.cutout?.id ?? null;
    this.editor.panel.rebuild();
  }

  leave() {
    clearTimeout(this.timer);
    this.timer = null;
    this.cutId = null;
  }

  /** The settings of the cut-out that is shown. */
  #load() {
    const cut = this.cutout;
    this.cutId = cut?.id ?? null;
    if (!cut) return;
    const { bg_image_id: image, format: _, ...params } = cut.params;
    this.controls.values = params;
    this.background = image ? "picture" : params.bg_blur ? "blur" : params.bg_color ? "color" : "none";
    if (image && this.backgroundImage?.imageId !== image) this.backgroundImage = { imageId: image };
  }

  #quality() {
    const options = { auto: "Automatic", fast: "Fast", quality: "Fine" };
    const choose = (value) => this.controls.set("model", value);
    return el(
      "div",
      { class: "field" },
      el("span", { class: "label" }, "Detail"),
      segments("Detail", options, this.controls.get("model"), choose),
    );
  }

  #backgrounds() {
    const details = el("div", { class: "details" });
    const show = () => details.replaceChildren(...this.#backgroundDetails());
    const options = { none: "None", color: "Color", picture: "Picture", blur: "Blur" };
    const choose = (value) => {
      this.background = value;
      this.#setBackground({
        bg_color: value === "color" ? this.controls.get("bg_color") || COLORS[0] : "",
        bg_blur: value === "blur" ? this.#blur : "0",
      });
      show();
    };
    show();
    const group = segments("Background", options, this.background, choose);
    return el("div", { class: "field" }, el("span", { class: "label" }, "Background"), group, details);
  }

  get #blur() {
    const set = this.controls.get("bg_blur");
    return set && set !== "0" ? set : "30";
  }

  #setBackground(values) {
    Object.assign(this.controls.values, values);
    this.changed("background");
  }

  #backgroundDetails() {
    if (this.background === "color") return [this.#colors()];
    if (this.background === "blur") {
      const change = (value) => this.controls.set("bg_blur", `${value}`);
      return [slider({ label: "Strength", least: 1, most: 100, value: Number(this.#blur), change })];
    }
    if (this.background === "picture") return [this.#pictureChooser()];
    return [];
  }

  #colors() {
    const id = newId("color");
    const own = el("input", {
      id,
      type: "color",
      "aria-label": "Another color",
      value: /^#[0-9a-f]{6}$/i.test(this.controls.get("bg_color"))
        ? this.controls.get("bg_color")
        : "#ffffff",
      oninput: () => this.controls.set("bg_color", own.value),
    });
    const swatches = COLORS.map((color) =>
      el("button", {
        type: "button",
        class: "swatch",
        "aria-label": `Background ${color}`,
        title: color,
        style: `--swatch: ${color}`,
        onclick: () => {
          own.value = color;
          this.controls.set("bg_color", color);
        },
      }),
    );
    return el("div", { class: "swatches" }, swatches, own);
  }

  #pictureChooser() {
    if (this.model.isGuest)
      return note(el("a", { href: this.editor.signUpAddress() }, "Sign up"), " to use a picture of yours.");
    const input = el("input", { type: "file", accept: this.editor.ACCEPTED, hidden: true });
    input.addEventListener("change", async () => {
      try {
        this.backgroundImage = await api.storeBackground(input.files[0]);
        this.changed("background");
        this.editor.panel.rebuild();
      } catch (refusal) {
        this.model.problem(refusal);
      }
    });
    const shown = this.backgroundImage?.thumbnailUrl
      ? el("img", { src: this.backgroundImage.thumbnailUrl, alt: "The background", class: "thumbnail" })
      : null;
    const label = this.backgroundImage ? "Choose another" : "Choose a picture";
    return el(
      "div",
      { class: "chooser" },
      shown,
      el("button", { type: "button", class: "quiet", onclick: () => input.click() }, label),
      input,
    );
  }

  #shadow() {
    const id = newId("shadow");
    const opacity = slider({
      label: "Darkness",
      least: 0,
      most: 100,
      value: Number(this.controls.get("shadow_opacity")),
      change: (value) => this.controls.set("shadow_opacity", `${value}`),
    });
    opacity.hidden = this.controls.get("shadow") !== "drop";
    const input = el("input", {
      id,
      type: "checkbox",
      checked: !opacity.hidden,
      onchange: () => {
        opacity.hidden = !input.checked;
        this.controls.set("shadow", input.checked ? "drop" : "none");
      },
    });
    return el(
      "div",
      {},
      el("div", { class: "field switch" }, input, el("label", { for: id }, "Shadow")),
      opacity,
    );
  }

  #edge() {
    return el(
      "details",
      { class: "advanced" },
      el("summary", {}, "Edge"),
      this.controls.build(["shift_edge", "feather", "decontaminate"]),
    );
  }

  #preset() {
    const id = newId("preset");
    const input = el("input", {
      id,
      type: "checkbox",
      checked: this.controls.get("preset") === "marketplace",
      onchange: () => this.controls.set("preset", input.checked ? "marketplace" : ""),
    });
    const help = "On white, 2000 × 2000, the object fills 85 % in the middle.";
    return el(
      "div",
      { class: "field switch", title: help },
      input,
      el("label", { for: id }, "Marketplace picture"),
    );
  }
}
