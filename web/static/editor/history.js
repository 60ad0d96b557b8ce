// The tree of steps: where undo and redo lead, what the filmstrip shows, what is compared with a step.

/** @import { Size, Step } from "./types.js" */

/**
 * @param {Step[]} steps
 * @param {string} id
 */
export function findStep(steps, id) {
  return steps.find((step) => step.id === id) ?? null;
}

/**
 * Whether two lists have the same steps with the same pictures.
 * @param {Step[]} known
 * @param {Step[]} current
 */
export function isSame(known, current) {
  const isKnown = (/** @type {Step} */ one) => {
    const same = findStep(known, one.id);
    return same?.imageId === one.imageId && same.isAvailable === one.isAvailable;
  };
  return current.length === known.length && current.every(isKnown);
}

/**
 * The steps that can be the current one, oldest first. Masks cannot.
 * @param {Step[]} steps
 */
export function pictureSteps(steps) {
  return steps.filter((step) => !step.isMask);
}

/** @param {Step[]} steps */
export function originalOf(steps) {
  return steps.find((step) => step.parentId === null) ?? null;
}

/**
 * Where undo leads from a step, or null.
 * @param {Step[]} steps
 * @param {string} id
 */
export function parentOf(steps, id) {
  const parentId = findStep(steps, id)?.parentId;
  return parentId ? findStep(steps, parentId) : null;
}

/**
 * Where redo leads: to the child that was current most recently, else to the newest one.
 * @param {Step[]} steps
 * @param {string} id
 * @param {string[]} visited ids of the steps that were current, oldest first
 */
export function redoStep(steps, id, visited = []) {
  const children = pictureSteps(steps).filter((step) => step.parentId === id && step.isAvailable);
  for (const visitedId of [...visited].reverse()) {
    const child = findStep(children, visitedId);
    if (child) return child;
  }
  return children.at(-1) ?? null;
}

/**
 * The steps from the original to this one.
 * @param {Step[]} steps
 * @param {string} id
 */
export function pathTo(steps, id) {
  const path = [];
  for (let step = findStep(steps, id); step; step = parentOf(steps, step.id)) path.unshift(step);
  return path;
}

/**
 * The oldest ancestor of a step that has its size: what the brush restores from.
 * @param {Step[]} steps
 * @param {Step | null} step
 */
export function restoreSource(steps, step) {
  if (!step) return null;
  const fits = (/** @type {Step} */ one) => one.id !== step.id && one.isAvailable && hasSameSize(one, step);
  return pathTo(steps, step.id).find(fits) ?? null;
}

/**
 * @param {Size} one
 * @param {Size} other
 */
export function hasSameSize(one, other) {
  return one.width === other.width && one.height === other.height;
}

/**
 * @param {Size} one
 * @param {Size} other
 */
export function hasSameRatio(one, other) {
  return Math.abs(one.width / one.height - other.width / other.height) < 0.01;
}

/**
 * The picture to compare a step with: the photo of a cut-out, the step before if everything in it is at the same place,
 * else the original.
 * @param {Step[]} steps
 * @param {Step} step
 * @returns {{ previewUrl: string } | null}
 */
export function comparable(steps, step) {
  if (!step.parentId) return null;
  // A cut-out in another frame shows things elsewhere, even at the same aspect ratio. Upscaling does not.
  const fits = (/** @type {Step | null} */ one) =>
    one?.isAvailable &&
    one.isRendered &&
    (hasSameSize(one, step) || (step.tool === "upscale" && hasSameRatio(one, step)));
  const { cutout } = step;
  const photo = steps.find((one) => one.imageId === cutout?.photoId) ?? null;
  // The photo of a crop is a picture of its own, which no step shows.
  if (cutout && !photo && hasSameSize(cutout, step)) return { previewUrl: cutout.photoUrl };
  return [photo, parentOf(steps, step.id), originalOf(steps)].find(fits) ?? null;
}

/**
 * Whether a step only changes the look of a cut-out.
 * @param {Step} step
 */
export function isLook(step) {
  return step.tool === "bg-removal" && step.answer.confidence === undefined;
}
