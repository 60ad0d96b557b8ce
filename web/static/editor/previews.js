// Guests' previews among the steps: the photo before one, what can be changed in it, and the run that makes it at full size.

import { hasSameRatio, pathTo } from "./history.js";

/** @import { Fields, RunRequest, Step } from "./types.js" */

/**
 * The photo that a preview was made from; any other step itself.
 * @param {Step[]} steps
 * @param {Step} step
 */
export function photoOf(steps, step) {
  return pathTo(steps, step.id).findLast((one) => !one.isPreview) ?? step;
}

/**
 * What a preview is compared with; null if that does not have its frame.
 * @param {Step[]} steps
 * @param {Step} step
 * @returns {{ previewUrl: string } | null}
 */
export function beforePreview(steps, step) {
  const photo = photoOf(steps, step);
  if (!photo.isAvailable || !hasSameRatio(photo, step)) return null;
  return { previewUrl: step.preview?.beforeUrl ?? photo.previewUrl };
}

/**
 * The look that a preview's cut-out has and that `fullSizeRequest` cannot ask for; null without one. It is free.
 * @param {Step} step
 * @returns {Fields | null}
 */
export function lookToRepeat(step) {
  const look = step.preview?.request?.tool === "bg-removal" ? null : step.cutout?.look;
  return look && Object.values(look).some(Boolean) ? look : null;
}

/**
 * Whether a preview's cut-out was changed by hand, which its run at full size does not repeat.
 * @param {Step[]} steps
 * @param {Step} step
 */
export function isRetouched(steps, step) {
  const { tool } = step.preview?.request ?? {};
  return tool !== "brush" && pathTo(steps, step.id).some((one) => one.isPreview && one.tool === "brush");
}

/**
 * Whether a tool can be applied to a step. Of a preview only the cut-out can be changed.
 * @param {Step} step
 * @param {string} tool
 */
export function worksOn(step, tool) {
  return !step.isPreview || (step.cutout !== null && ["bg-removal", "brush"].includes(tool));
}

/**
 * The run that makes a preview again at full size, with the look that its cut-out has; null if it is not known.
 * @param {Step[]} steps
 * @param {Step} step
 * @returns {RunRequest | null}
 */
export function fullSizeRequest(steps, step) {
  const request = step.preview?.request;
  if (!request) return null;
  const { tool, selection } = request;
  const { model, roi } = request.params;
  const cutout = tool === "bg-removal" ? step.cutout : null;
  const fields = cutout ? { model, roi, ...cutout.look } : request.params;
  const params = Object.fromEntries(Object.entries(fields).filter(([, text]) => text));
  const answer = { tool, title: "Full size", params, stepId: photoOf(steps, step).id };
  return selection ? { ...answer, selection } : answer;
}
