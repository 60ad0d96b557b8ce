// What people usually do next with a result, in a row below the picture: nothing that is pressed in it is covered.

import { el, iconButton, keepFocus } from "./elements.js";
import { hintScrolling } from "./scroll_hint.js";
import { BgRemoval } from "./tools/bg_removal.js";
import { credits } from "./words.js";

/** @import { Editor } from "./editor.js" */
/** @import { Fields, RunRequest, Step } from "./types.js" */

const CUTTING_TOOLS = ["bg-removal", "magic-select"];
const FILLING_TOOLS = ["generative-fill", "generative-expand"];
/** What says where a filling tool works. A step whose marks were too long to be kept has none of it. */
const PLACES = ["strokes", "points", "box", "mask_id"];
const CROP_MARGIN = "5%";

export class NextSteps {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.model = editor.model;
    /**
     * The runs that made steps in this page, by the step's id.
     * @type {Map<string, RunRequest & { stepId: string }>}
     */
    this.requests = new Map();
    /**
     * The step that the buttons belong to.
     * @type {string | null}
     */
    this.stepId = null;
    this.row = el("div", { class: "row" });
    this.element = el(
      "div",
      { class: "next-steps", role: "group", "aria-label": "Next steps", hidden: true },
      this.row,
      iconButton("Close the next steps", "close", () => this.hide()),
    );
    hintScrolling(this.row);
    this.model.on("run", () => this.model.run && this.hide());
  }

  /**
   * @param {Step | null} made
   * @param {RunRequest & { stepId: string }} request
   */
  remember(made, request) {
    if (made) this.requests.set(made.id, request);
  }

  get isShown() {
    return !this.element.hidden;
  }

  /** @param {Step} step */
  isOf(step) {
    return this.stepId === step.id;
  }

  hide() {
    const hadFocus = this.element.contains(document.activeElement);
    this.element.hidden = true;
    if (hadFocus) this.editor.stage.element.focus({ preventScroll: true });
  }

  /**
   * Shows what can follow a step that a run has just made; nothing for small edits.
   * @param {Step} made
   */
  show(made) {
    const buttons = this.#buttonsFor(made);
    if (!buttons.length) return;
    this.stepId = made.id;
    const following = [
      ...buttons,
      this.#button("Same for many", () => void this.editor.batch.open("batch"), "A batch with these steps"),
      this.#button("Download", () => this.editor.topbar.download.show()),
    ];
    keepFocus(this.row, () => this.row.replaceChildren(...following), this.editor.stage.element);
    this.element.hidden = false;
  }

  /** @param {Step} made */
  #buttonsFor(made) {
    if (made.cutout && CUTTING_TOOLS.includes(made.tool ?? "")) {
      return [
        this.#button("White", () =>
          this.#changeLook({ bg_color: "#ffffff", bg_gradient: "", bg_scene: "", bg_blur: "0" }, "color"),
        ),
        this.#button("Shadow", () => this.#changeLook({ shadow: "drop" })),
        this.#button("Crop to subject", () => this.#changeLook({ crop: "true", crop_margin: CROP_MARGIN })),
      ];
    }
    if (FILLING_TOOLS.includes(made.tool ?? "")) {
      const another = made.isPreview ? null : this.#anotherVersion(made);
      const cost = this.model.isGuest ? "free" : credits(this.model.limits.creditsPerRun);
      const button =
        another &&
        this.#button(`Another version (${cost})`, () => this.editor.apply(another), "Another random result");
      return [button, this.#compareButton()].filter((one) => one !== null);
    }
    return made.tool === "upscale" ? [this.#compareButton()] : [];
  }

  #compareButton() {
    return this.#button("Compare", () => this.editor.compare(!this.editor.isComparing));
  }

  /**
   * @param {string} label
   * @param {() => void} onclick
   * @param {string} [title]
   */
  #button(label, onclick, title) {
    return el("button", { type: "button", title, onclick }, label);
  }

  /**
   * Changes how the cut-out looks, as its panel does.
   * @param {Fields} values
   * @param {"color"} [background]
   */
  #changeLook(values, background) {
    if (!(this.editor.tool instanceof BgRemoval)) this.editor.choose("bg-removal");
    const { tool } = this.editor;
    if (!(tool instanceof BgRemoval)) return;
    Object.assign(tool.controls.values, values);
    if (background) tool.background = background;
    tool.onChange("look");
    this.editor.panel.rebuild();
  }

  /**
   * The run that made the step, with the next seed; null if it is not known any more.
   * @param {Step} made
   * @returns {RunRequest | null}
   */
  #anotherVersion(made) {
    const source = made.parentId;
    if (!source || !made.tool) return null;
    const known = this.requests.get(made.id);
    const isComplete = made.tool === "generative-expand" || PLACES.some((name) => name in made.params);
    if (!known && !isComplete) return null;
    const params = known?.params ?? made.params;
    const seed = Number(made.answer.seed ?? params.seed ?? 0) + 1;
    const title = known?.title ?? made.title;
    const another = { tool: made.tool, title, stepId: source, params: { ...params, seed: `${seed}` } };
    return known?.selection ? { ...another, selection: known.selection } : another;
  }
}
