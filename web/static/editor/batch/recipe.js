// The steps of a batch: those of the open picture that can be repeated on others, and what is sent. Pure functions.

import { lookFields } from "../looks.js";
import { pathTo } from "../history.js";
import { stepTitle } from "../tool_names.js";

/** @import { BatchStep, Fields, Size, Step } from "../types.js" */

/** Tools that a batch can apply: the others act on what was marked in one picture. */
export const BATCH_TOOLS = ["bg-removal", "crop", "upscale", "generative-expand"];
const OUTPUT_FIELDS = ["format", "quality"];
const HORIZONTAL = ["x", "width", "left", "right"];
const VERTICAL = ["y", "height", "top", "bottom"];

/**
 * What was done to a picture, as steps for others, and the names of what cannot be repeated.
 * @param {Step[]} steps
 * @param {string} id of the picture's current step
 */
export function recipeOf(steps, id) {
  /** @type {BatchStep[]} */
  const recipe = [];
  /** @type {string[]} */
  const leftOut = [];
  const path = pathTo(steps, id);
  for (const [at, step] of path.entries()) {
    if (!step.tool) continue;
    if (!BATCH_TOOLS.includes(step.tool)) leftOut.push(stepTitle(step));
    else add(recipe, step, path[at - 1] ?? step);
  }
  return { steps: recipe, leftOut: [...new Set(leftOut)] };
}

/**
 * @param {BatchStep[]} recipe
 * @param {Step} step
 * @param {Size} source
 */
function add(recipe, step, source) {
  const tool = /** @type {string} */ (step.tool);
  const last = recipe.at(-1);
  if (tool === "bg-removal" && last?.tool === tool) {
    // Another look of the same cut-out replaces the former one.
    const { model } = last.params;
    last.params = { ...(model ? { model } : {}), ...lookFields(step.cutout?.look ?? step.params) };
    return;
  }
  const params = Object.fromEntries(
    Object.entries(step.params).filter(([name, value]) => value && !OUTPUT_FIELDS.includes(name)),
  );
  recipe.push({ tool, params: asShares(params, source) });
}

/**
 * Lengths in pixels of one picture as shares of its sides, which fit pictures of any size.
 * @param {Fields} params
 * @param {Size} source
 * @returns {Fields}
 */
function asShares(params, { width, height }) {
  return Object.fromEntries(
    Object.entries(params).map(([name, value]) => {
      const side = HORIZONTAL.includes(name) ? width : VERTICAL.includes(name) ? height : 0;
      return [name, side && /^\d+(\.\d+)?$/.test(value) ? percent(Number(value) / side) : value];
    }),
  );
}

/** @param {number} share */
function percent(share) {
  return `${Number((100 * share).toFixed(3))}%`;
}

/**
 * The steps as they are sent. Only the last one decides the file type: nothing is to be lost between them.
 * @param {BatchStep[]} steps
 * @param {string} format "" for the file type that fits the picture
 * @returns {BatchStep[]}
 */
export function sentSteps(steps, format) {
  return steps.map(({ tool, params }, at) => {
    const isLast = at === steps.length - 1;
    const output = isLast ? (format ? { format } : {}) : { quality: "100" };
    return { tool, params: { ...params, .../** @type {Fields} */ (output) } };
  });
}
