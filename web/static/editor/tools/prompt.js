// The prompt of generative fill and generative expand.

import { el, newId } from "../elements.js";

/** @import { Fields } from "../types.js" */
/** @import { Tool } from "./tool.js" */

/** Parameters that only have an effect together with a prompt. */
export const PROMPT_SETTINGS = ["negative_prompt", "steps", "guidance_scale", "strength"];

/**
 * Whether the server has a model that follows prompts.
 * @param {Tool} tool
 */
export function followsPrompts(tool) {
  return tool.model.session.prompts.isInstalled;
}

/**
 * The field for the prompt, with examples that fill it in; null if the server has no model that follows prompts.
 * @param {Tool} tool
 * @param {object} texts
 * @param {string} texts.placeholder what an empty field means
 * @param {string[]} texts.examples
 */
export function promptField(tool, { placeholder, examples }) {
  if (!followsPrompts(tool)) return null;
  const id = newId("prompt");
  const input = el("textarea", {
    id,
    rows: 2,
    maxlength: tool.info.parameters.properties.prompt?.maxLength,
    placeholder,
    oninput: () => tool.controls.set("prompt", input.value),
  });
  input.value = tool.controls.get("prompt");
  const chips = examples.map((example) =>
    el("button", { type: "button", class: "chip", onclick: () => fillIn(example) }, example),
  );
  return el(
    "div",
    { class: "field" },
    el("label", { for: id }, "What should be there"),
    input,
    el("div", { class: "chips", role: "group", "aria-label": "Examples" }, chips),
  );

  /** @param {string} example */
  function fillIn(example) {
    input.value = example;
    tool.controls.set("prompt", example);
    input.focus();
  }
}

/**
 * The same fields without those that only have an effect together with a prompt.
 * @param {Fields} fields
 * @returns {Fields}
 */
export function withoutPrompt(fields) {
  const only = ["prompt", ...PROMPT_SETTINGS];
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !only.includes(name)));
}

/**
 * The parameters that are not offered because the server cannot follow prompts.
 * @param {Tool} tool
 */
export function hiddenPromptSettings(tool) {
  return followsPrompts(tool) ? [] : PROMPT_SETTINGS;
}
