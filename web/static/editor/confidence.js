// How far a cut-out or selection can be trusted, in words.

/** @import { Step } from "./types.js" */

const UNCERTAIN = 0.6;
/** Tools that change what is cut out by hand. */
const RETOUCHING_TOOLS = ["brush", "magic-select"];

/**
 * @param {string} title what the server has found or made
 * @param {number} confidence 0..1
 */
export function withConfidence(title, confidence) {
  const percent = `${title}, ${Math.round(confidence * 100)} % sure.`;
  return confidence < UNCERTAIN ? `${percent} Please check it.` : percent;
}

/**
 * What is known of a cut-out. The network's confidence says nothing about what was changed by hand since.
 * @param {Step[]} path the steps from the original to the cut-out
 */
export function describeCutout(path) {
  const found = path.findLastIndex((step) => typeof step.answer.confidence === "number");
  if (path.slice(found + 1).some((step) => step.cutout && RETOUCHING_TOOLS.includes(step.tool ?? "")))
    return found < 0 ? "Cut out." : "Cut out, retouched by hand.";
  return found < 0 ? "Cut out." : withConfidence("Cut out", Number(path[found].answer.confidence));
}
