// What points out an object: clicks on it or on the background, and a box. Pure functions.

/** @import { Fields, Point, Selection, Size } from "./types.js" */

const MIN_BOX_PIXELS = 3;

/** @returns {Selection} */
export function emptySelection() {
  return { points: [], box: null, auto: false };
}

/** @param {Selection} selection */
export function isEmpty(selection) {
  return !selection.points.length && !selection.box && !selection.auto;
}

/**
 * The selection with one more click. Clicks outside the picture or above the limit change nothing.
 * @param {Selection} selection
 * @param {Point} point
 * @param {boolean} isOnObject
 * @param {Size} picture
 * @param {number} maxPoints
 * @returns {Selection}
 */
export function withClick(selection, point, isOnObject, picture, maxPoints) {
  const isOutside = point.x < 0 || point.y < 0 || point.x >= picture.width || point.y >= picture.height;
  if (isOutside || selection.points.length >= maxPoints) return selection;
  return {
    ...selection,
    auto: false,
    points: [...selection.points, [Math.floor(point.x), Math.floor(point.y), isOnObject ? 1 : 0]],
  };
}

/**
 * The selection with a box between two corners. A box that is too small changes nothing.
 * @param {Selection} selection
 * @param {Point} from
 * @param {Point} to
 * @param {Size} picture
 * @returns {Selection}
 */
export function withBox(selection, from, to, picture) {
  const clamp = (/** @type {number} */ value, /** @type {number} */ max) =>
    Math.round(Math.min(max, Math.max(0, value)));
  const left = clamp(Math.min(from.x, to.x), picture.width);
  const right = clamp(Math.max(from.x, to.x), picture.width);
  const top = clamp(Math.min(from.y, to.y), picture.height);
  const bottom = clamp(Math.max(from.y, to.y), picture.height);
  if (right - left < MIN_BOX_PIXELS || bottom - top < MIN_BOX_PIXELS) return selection;
  return { ...selection, auto: false, box: [left, top, right, bottom] };
}

/**
 * The selection without what was added last: first the clicks, then the box.
 * @param {Selection} selection
 * @returns {Selection}
 */
export function withoutLast(selection) {
  if (selection.points.length) return { ...selection, points: selection.points.slice(0, -1) };
  return emptySelection();
}

/**
 * Whether the selection can be sent. Clicks on the background alone do not point out an object.
 * @param {Selection} selection
 */
export function isUsable(selection) {
  return selection.auto || selection.box !== null || selection.points.some((point) => point[2] === 1);
}

/**
 * The form fields.
 * @param {Selection} selection
 * @returns {Fields}
 */
export function toFields(selection) {
  if (selection.auto) return { auto: "true" };
  /** @type {Fields} */
  const fields = {};
  if (selection.points.length) fields.points = JSON.stringify(selection.points);
  if (selection.box) fields.box = JSON.stringify(selection.box);
  return fields;
}
