// The prompt of generative fill and generative expand.

import { el, newId } from "../elements.js";
/** @import { Tool } from "./tool.js" */

/** Parameters that only have an effect together with a prompt. */
const PROMPT_SETTINGS = ["steps", "guidance_scale", "strength"];

/**
 * The field for the prompt; null if the server has no model that follows prompts.
 * @param {Tool} tool
 */
export function promptField(tool) {
  if (!tool.model.session.prompts.isInstalled) return null;
  const id = newId("prompt");
  const input = el("textarea", {
    id,
    rows: 2,
    maxlength: tool.info.parameters.properties.prompt?.maxLength,
    placeholder: "Empty: the surroundings continue",
    oninput: () => tool.controls.set("prompt", input.value),
  });
  input.value = tool.controls.get("prompt");
  return el("div", { class: "field" }, el("label", { for: id }, "What should be there"), input);
}

/**
 * The parameters that are not offered because the server cannot follow prompts.
 * @param {Tool} tool
 */
export function hiddenPromptSettings(tool) {
  return tool.model.session.prompts.isInstalled ? [] : PROMPT_SETTINGS;
}
