// The steps as thumbnails: where the picture came from, and a way back to each step.

import { el, keepFocus } from "./elements.js";
import * as history from "./history.js";
import { stepTitle } from "./tool_names.js";

/** @import { Model } from "./model.js" */
/** @import { Step } from "./types.js" */

export class Filmstrip {
  /** @param {Model} model */
  constructor(model) {
    this.model = model;
    this.list = el("ol", {});
    this.element = el("nav", { class: "filmstrip", "aria-label": "Steps" }, this.list);
    model.on("project", () => this.#build());
    model.on("step", () => this.#build());
  }

  /**
   * Shows the thumbnail and the size that the step has got.
   * @param {Step} step
   */
  refreshStep(step) {
    const button = this.list.querySelector(`[data-step="${step.id}"]`);
    const image = button?.querySelector("img");
    button?.setAttribute("title", titleOf(button.getAttribute("aria-label") ?? "", step));
    if (image) image.src = step.thumbnailUrl;
  }

  #build() {
    const { model } = this;
    const steps = history.pictureSteps(model.steps);
    const path = model.step ? history.pathTo(model.steps, model.step.id) : [];
    const thumbnails = steps.map((step, at) => this.#thumbnail(step, at, path.includes(step), steps));
    keepFocus(this.list, () => this.list.replaceChildren(...thumbnails));
    this.list.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  /**
   * @param {Step} step
   * @param {number} at its index in `steps`
   * @param {boolean} isOnPath whether the current step was made from it
   * @param {Step[]} steps
   */
  #thumbnail(step, at, isOnPath, steps) {
    const { model } = this;
    const parent = steps.findIndex((one) => one.id === step.parentId);
    const isBranch = parent >= 0 && parent !== at - 1;
    const title = step.isPreview ? `${stepTitle(step)} (preview)` : stepTitle(step);
    const name = `${at + 1}. ${title}${isBranch ? `, from step ${parent + 1}` : ""}`;
    const image = step.isAvailable
      ? el("img", { src: step.thumbnailUrl, alt: "", loading: "lazy", draggable: "false" })
      : el("span", { class: "gone" }, "deleted");
    return el(
      "li",
      { class: isOnPath ? "" : "aside" },
      el(
        "button",
        {
          type: "button",
          "data-step": step.id,
          title: titleOf(name, step),
          "aria-label": name,
          "aria-current": step.id === model.step?.id ? "step" : null,
          onclick: () => !model.run && model.goTo(step.id),
        },
        image,
        isBranch ? el("span", { class: "branch", "aria-hidden": "true" }, `↰${parent + 1}`) : null,
      ),
    );
  }
}

/**
 * @param {string} name
 * @param {Step} step
 */
function titleOf(name, { width, height }) {
  return `${name}, ${width} × ${height}`;
}
