// The steps of a batch in their order, each with its settings.

import { el, icon, iconButton } from "../elements.js";
import { TOOL_NAMES } from "../tool_names.js";
import { note } from "../tools/tool.js";
import { BATCH_TOOLS, recipeOf } from "./recipe.js";
import { INITIAL, StepSettings } from "./step_settings.js";

/** @import { Model } from "../model.js" */
/** @import { BatchStep } from "../types.js" */

const FORMATS = { "": "As it fits", jpg: "JPEG", png: "PNG", webp: "WebP" };

export class StepList {
  /**
   * @param {Model} model
   * @param {() => void} onChange
   */
  constructor(model, onChange) {
    this.model = model;
    this.onChange = onChange;
    /** @type {BatchStep[]} */
    this.steps = [{ tool: "bg-removal", params: {} }];
    this.format = "";
    /** The step whose settings are open. */
    this.openAt = 0;
    this.element = el("div", { class: "steps" });
    this.isShown = false;
  }

  /** Builds the steps, with those of the picture that is open now. While they are hidden there are none. */
  show() {
    this.isShown = true;
    this.build();
  }

  hide() {
    this.isShown = false;
    this.element.replaceChildren();
  }

  get #infos() {
    return this.model.session.tools.filter((tool) => BATCH_TOOLS.includes(tool.name));
  }

  /** @param {BatchStep[]} steps */
  replace(steps) {
    this.steps = steps;
    this.openAt = steps.length === 1 ? 0 : -1;
    this.build();
    this.onChange();
  }

  build() {
    if (!this.isShown) return;
    this.element.replaceChildren(
      el("h2", {}, "What is done to each picture"),
      el(
        "ol",
        {},
        this.steps.map((step, at) => this.#buildStep(step, at)),
      ),
      this.#buildAdding(),
    );
    const recipe = this.#buildRecipe();
    if (recipe) this.element.append(recipe);
    this.element.append(this.#buildFormat());
  }

  /**
   * @param {BatchStep} step
   * @param {number} at
   */
  #buildStep(step, at) {
    const info = this.#infos.find((one) => one.name === step.tool);
    if (!info) return el("li", {}, `${step.tool} is not installed on this server.`);
    const title = TOOL_NAMES[step.tool];
    const settings = new StepSettings(step, info, this.model.session, this.onChange);
    const details = el(
      "details",
      { open: at === this.openAt },
      el("summary", {}, `${at + 1}. ${title}`),
      settings.element,
    );
    details.addEventListener("toggle", () => {
      if (details.open) this.openAt = at;
      else if (this.openAt === at) this.openAt = -1;
    });
    const number = `step ${at + 1}`;
    const many = this.steps.length > 1;
    return el(
      "li",
      { class: "step" },
      details,
      many &&
        el(
          "div",
          { class: "step-buttons" },
          iconButton(`Move ${number} up`, "up", () => this.#move(at, -1), { disabled: at === 0 }),
          iconButton(`Move ${number} down`, "down", () => this.#move(at, 1), {
            disabled: at === this.steps.length - 1,
          }),
          iconButton(`Remove ${number}`, "trash", () => this.#remove(at)),
        ),
    );
  }

  #buildAdding() {
    if (this.steps.length >= this.model.limits.batchSteps)
      return note("A batch has no more steps than these.");
    const buttons = this.#infos.map((info) =>
      el(
        "button",
        { type: "button", class: "chip", "data-add": info.name, onclick: () => this.#add(info.name) },
        icon("plus"),
        TOOL_NAMES[info.name],
      ),
    );
    return el(
      "div",
      { class: "field" },
      el("span", { class: "label" }, "Add a step"),
      el("div", { class: "chips", role: "group", "aria-label": "Add a step" }, buttons),
    );
  }

  /** Offers the steps of the picture that is open. */
  #buildRecipe() {
    const { project, steps } = this.model;
    if (!project) return null;
    const recipe = recipeOf(steps, project.currentStepId);
    if (!recipe.steps.length) return null;
    const names = recipe.steps.map((step) => TOOL_NAMES[step.tool]).join(", ");
    const missing = recipe.leftOut.length
      ? note(`Without ${recipe.leftOut.join(", ")}: that was marked in this one picture.`)
      : null;
    return el(
      "div",
      { class: "field recipe" },
      el(
        "button",
        { type: "button", class: "quiet", onclick: () => this.replace(structuredClone(recipe.steps)) },
        `Do the same as to ${project.name}`,
      ),
      note(names),
      missing,
    );
  }

  #buildFormat() {
    const select = el(
      "select",
      {
        id: "batch-format",
        onchange: () => {
          this.format = select.value;
          this.onChange();
        },
      },
      Object.entries(FORMATS).map(([value, text]) => el("option", { value }, text)),
    );
    select.value = this.format;
    return el("div", { class: "field" }, el("label", { for: "batch-format" }, "File type"), select);
  }

  /** @param {string} tool */
  #add(tool) {
    this.steps.push({ tool, params: { ...INITIAL[tool] } });
    this.openAt = this.steps.length - 1;
    this.#changed(`li.step:nth-child(${this.steps.length}) summary`);
  }

  /**
   * @param {number} at
   * @param {-1 | 1} direction
   */
  #move(at, direction) {
    const [step] = this.steps.splice(at, 1);
    this.steps.splice(at + direction, 0, step);
    this.openAt = -1;
    this.#changed(`li.step:nth-child(${at + direction + 1}) summary`);
  }

  /** @param {number} at */
  #remove(at) {
    this.steps.splice(at, 1);
    this.openAt = this.steps.length === 1 ? 0 : -1;
    this.#changed(`li.step:nth-child(${Math.max(1, at)}) summary`);
  }

  /** @param {string} focused a keyboard's user goes on here */
  #changed(focused) {
    this.build();
    const element = this.element.querySelector(focused);
    if (element instanceof HTMLElement) element.focus();
    this.onChange();
  }
}
