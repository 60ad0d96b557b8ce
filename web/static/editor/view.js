// Where the picture is on the screen. Pure functions.

/** @import { Point, Size, View } from "./types.js" */

export const MIN_SCALE = 0.02;
export const MAX_SCALE = 32;
const MAX_FIT_SCALE = 4;

/**
 * The view that shows the whole picture in the middle. Small pictures are enlarged up to four times.
 * @param {Size} picture
 * @param {Size} viewport
 * @returns {View}
 */
export function fitView(picture, viewport, margin = 24) {
  const available = {
    width: Math.max(1, viewport.width - 2 * margin),
    height: Math.max(1, viewport.height - 2 * margin),
  };
  const scale = Math.max(
    MIN_SCALE,
    Math.min(available.width / picture.width, available.height / picture.height, MAX_FIT_SCALE),
  );
  return {
    scale,
    x: (viewport.width - picture.width * scale) / 2,
    y: (viewport.height - picture.height * scale) / 2,
  };
}

/**
 * The view zoomed by `factor`; the pixel under the screen point stays under it.
 * @param {View} view
 * @param {Point} point
 * @param {number} factor
 * @returns {View}
 */
export function zoomView(view, point, factor) {
  const scale = Math.min(MAX_SCALE, Math.max(MIN_SCALE, view.scale * factor));
  const ratio = scale / view.scale;
  return {
    scale,
    x: point.x - (point.x - view.x) * ratio,
    y: point.y - (point.y - view.y) * ratio,
  };
}

/**
 * @param {View} view
 * @param {number} dx
 * @param {number} dy
 * @returns {View}
 */
export function panView(view, dx, dy) {
  return { scale: view.scale, x: view.x + dx, y: view.y + dy };
}

/**
 * A screen point in the picture's pixel coordinates: (0, 0) is its top left corner.
 * @param {View} view
 * @param {Point} point
 * @returns {Point}
 */
export function toPicture(view, point) {
  return { x: (point.x - view.x) / view.scale, y: (point.y - view.y) / view.scale };
}

/**
 * @param {View} view
 * @param {Point} point
 * @returns {Point}
 */
export function toScreen(view, point) {
  return { x: point.x * view.scale + view.x, y: point.y * view.scale + view.y };
}

/**
 * Whether a larger preview is needed because this one would look blurred.
 * @param {View} view
 * @param {number} pictureWidth
 * @param {number} previewWidth
 * @param {number} pixelRatio
 */
export function needsLargerPreview(view, pictureWidth, previewWidth, pixelRatio) {
  return previewWidth < pictureWidth && view.scale * pixelRatio * pictureWidth > previewWidth * 1.25;
}
