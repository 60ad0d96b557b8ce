// Brush strokes in the picture's pixel coordinates, exactly as the API takes them.

/** @import { Brush, Frame, Limits, Point, Size, Stroke } from "./types.js" */

const SMALLEST_LARGE_BRUSH = 40; // even a tiny picture gets a brush of up to this size

const round = (/** @type {number} */ value) => Math.round(value * 10) / 10;

/**
 * @param {Point} point
 * @param {Brush} brush
 * @returns {Stroke}
 */
export function startStroke(point, brush) {
  return {
    points: [[round(point.x), round(point.y)]],
    size: Math.max(0.5, round(brush.size)),
    hardness: Math.round(brush.hardness * 100) / 100,
    opacity: Math.round(brush.opacity * 100) / 100,
  };
}

/**
 * Adds a point unless it is too near to the last one to matter. Returns whether it was added.
 * @param {Stroke} stroke
 * @param {Point} point
 */
export function extendStroke(stroke, point) {
  const [lastX, lastY] = stroke.points[stroke.points.length - 1];
  const x = round(point.x);
  const y = round(point.y);
  if (Math.hypot(x - lastX, y - lastY) < Math.max(0.5, stroke.size / 20)) return false;
  stroke.points.push([x, y]);
  return true;
}

/**
 * The point, moved to within half a brush of the picture: the API refuses strokes far outside of it.
 * @param {Point} point
 * @param {Size} picture
 * @param {number} size the brush's diameter
 * @returns {Point}
 */
export function clampToPicture(point, picture, size) {
  const clamp = (/** @type {number} */ value, /** @type {number} */ max) =>
    Math.min(max + size / 2, Math.max(-size / 2, value));
  return { x: clamp(point.x, picture.width), y: clamp(point.y, picture.height) };
}

/**
 * The form field `strokes`.
 * @param {Stroke[]} strokes
 */
export function toField(strokes) {
  return JSON.stringify(strokes);
}

/**
 * Why these strokes cannot be sent, or "".
 * @param {Stroke[]} strokes
 * @param {Pick<Limits, "strokes" | "strokePoints">} limits
 */
export function problemOf(strokes, limits) {
  if (!strokes.length) return "Draw on the picture first.";
  if (strokes.length > limits.strokes) return `At most ${limits.strokes} strokes at a time.`;
  const points = strokes.reduce((sum, stroke) => sum + stroke.points.length, 0);
  return points > limits.strokePoints ? "These strokes are too long. Apply them in several parts." : "";
}

/**
 * A brush size that suits the picture: a sixteenth of its shorter side.
 * @param {Size} picture
 */
export function defaultSize(picture) {
  return Math.max(4, Math.round(Math.min(picture.width, picture.height) / 16));
}

/**
 * The largest brush that the slider offers: half the longer side, within the server's limit.
 * @param {Size} picture
 * @param {Pick<Limits, "brushSizePixels">} limits
 */
export function maxSize(picture, limits) {
  const half = Math.round(Math.max(picture.width, picture.height) / 2);
  return Math.min(limits.brushSizePixels, Math.max(SMALLEST_LARGE_BRUSH, half));
}

/**
 * The next brush size with [ or ]: a sixth smaller or larger, at least one pixel.
 * @param {number} size
 * @param {-1 | 1} direction
 * @param {number} max
 */
export function nextSize(size, direction, max) {
  const next = direction > 0 ? Math.max(size + 1, size * 1.2) : Math.min(size - 1, size / 1.2);
  return Math.round(Math.min(max, Math.max(1, next)));
}

/**
 * The box around strokes; null if there are none.
 * @param {Stroke[]} strokes
 * @returns {Frame | null}
 */
export function boundsOf(strokes) {
  if (!strokes.length) return null;
  const half = Math.max(...strokes.map((stroke) => stroke.size)) / 2;
  const points = strokes.flatMap((stroke) => stroke.points);
  const smallest = (/** @type {0 | 1} */ axis) =>
    points.reduce((least, point) => Math.min(least, point[axis]), Infinity) - half;
  const largest = (/** @type {0 | 1} */ axis) =>
    points.reduce((most, point) => Math.max(most, point[axis]), -Infinity) + half;
  const [x, y] = [smallest(0), smallest(1)];
  return { x, y, width: largest(0) - x, height: largest(1) - y };
}
