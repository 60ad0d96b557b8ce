// The steps as thumbnails: where the picture came from, and a way back to each.

import { el } from "./elements.js";
import * as history from "./history.js";

export class Filmstrip {
  constructor(model) {
    this.model = model;
    this.list = el("ol", {});
    this.element = el("nav", { class: "filmstrip", "aria-label": "Steps" }, this.list);
    model.on("project", () => this.#build());
    model.on("step", () => this.#build());
  }

  #build() {
    const { model } = this;
    const steps = history.pictures(model.steps);
    const way = new Set(model.step ? history.path(model.steps, model.step.id).map((step) => step.id) : []);
    this.list.replaceChildren(...steps.map((step, at) => this.#frame(step, at, way, steps)));
    this.list.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  #frame(step, at, way, steps) {
    const { model } = this;
    const parent = steps.findIndex((one) => one.id === step.parentId);
    const branches = parent >= 0 && parent !== at - 1;
    const name = `${at + 1}. ${step.title}${branches ? `, from step ${parent + 1}` : ""}`;
    const image = step.lives
      ? el("img", { src: step.thumbnailUrl, alt: "", loading: "lazy", draggable: "false" })
      : el("span", { class: "gone" }, "past");
    return el(
      "li",
      { class: way.has(step.id) ? "" : "aside" },
      el(
        "button",
        {
          type: "button",
          title: `${name}, ${step.width} × ${step.height}`,
          "aria-label": name,
          "aria-current": step.id === model.step?.id ? "step" : null,
          onclick: () => !model.run && model.goTo(step.id),
        },
        image,
        branches ? el("span", { class: "branch", "aria-hidden": "true" }, `↰${parent + 1}`) : null,
      ),
    );
  }
}
