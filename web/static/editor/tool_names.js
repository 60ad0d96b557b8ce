// What the editor calls its tools: by what they achieve. The API's names say what they do.

/** @import { Step } from "./types.js" */

/** @type {Record<string, string>} */
export const TOOL_NAMES = {
  "bg-removal": "Remove background",
  "generative-fill": "Remove object",
  "generative-expand": "Extend",
  upscale: "Enlarge",
  "magic-select": "Select",
  crop: "Crop & rotate",
  brush: "Retouch",
};

/**
 * The name of a tool, which may do more where a model follows prompts.
 * @param {string} name as the server names it
 * @param {{ prompts: { isInstalled: boolean } }} session
 */
export function toolName(name, { prompts }) {
  return name === "generative-fill" && prompts.isInstalled ? "Remove\u00a0or generate" : TOOL_NAMES[name];
}

/** @type {Record<string, string>} */
const OPERATION_NAMES = { erase: "Erase", restore: "Restore", paint: "Paint", blur: "Blur", heal: "Heal" };

/**
 * What was done in a step.
 * @param {Pick<Step, "tool" | "title" | "params" | "answer">} step
 */
export function stepTitle({ tool, title, params, answer }) {
  if (!tool) return title;
  if (tool === "bg-removal" && answer?.confidence === undefined) return "Look"; // nothing was cut out anew
  if (tool === "brush") return OPERATION_NAMES[params?.op] ?? TOOL_NAMES.brush;
  if (tool === "generative-fill" && params?.prompt) return "Generate";
  if (tool === "magic-select" && params?.output === "cutout") return "Cut out";
  return TOOL_NAMES[tool] ?? title;
}
