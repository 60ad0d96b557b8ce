// Planes of alpha: where an object is, and the shapes of its shadows, as the server computes them. Pure functions without
// a canvas. A plane holds one byte a pixel, row by row.

/** @import { Frame, Size } from "./types.js" */

/** @typedef {Uint8Array | Uint8ClampedArray} Plane */

const FAINT = 13; // less alpha does not count as part of the object
/** An outline is around what is more opaque. */
export const INSIDE = 127;
/** A photo's background is seen where less of it than this is hidden; previews round at soft edges. */
const SEEN = 64;
const FOOT = 0.08;
const FLATNESS = 0.1;

/**
 * The nearest integer, of two the even one, as the server rounds.
 * @param {number} value
 */
export function rounded(value) {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 ? below + 1 : below;
}

/**
 * The smallest box around what is visible, or null.
 * @param {Plane} alpha
 * @param {Size} size
 * @param {number} least alpha that counts
 * @returns {Frame | null}
 */
export function objectBox(alpha, { width, height }, least = FAINT) {
  let left = width;
  let right = -1;
  let top = height;
  let bottom = -1;
  for (let y = 0; y < height; y += 1) {
    const row = y * width;
    for (let x = 0; x < width; x += 1) {
      if (alpha[row + x] < least) continue;
      if (x < left) left = x;
      if (x > right) right = x;
      if (y < top) top = y;
      bottom = y;
    }
  }
  return right < 0 ? null : { x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
}

/**
 * Whether anything of a photo is seen beside its subject. Of a finished cut-out nothing is: its background is
 * transparent.
 * @param {Plane} alpha of the subject
 * @param {Plane} photoPixels of the same size, four bytes a pixel
 */
export function isBackgroundSeen(alpha, photoPixels) {
  for (let at = 0; at < alpha.length; at += 1)
    if (alpha[at] < SEEN && 255 - photoPixels[at * 4 + 3] < SEEN) return true;
  return false;
}

/**
 * The object moved by whole pixels. One that the border cuts off continues beyond it.
 * @param {Plane} alpha
 * @param {Size} size
 * @param {number} across
 * @param {number} down
 */
export function moved(alpha, { width, height }, across, down) {
  const answer = new Uint8ClampedArray(alpha.length);
  for (let y = 0; y < height; y += 1) {
    const from = Math.min(height - 1, Math.max(0, y - down)) * width;
    const to = y * width;
    const first = Math.min(width, Math.max(0, across));
    const last = Math.max(0, Math.min(width, width + across));
    answer.fill(alpha[from], to, to + first);
    if (last > first) answer.set(alpha.subarray(from + first - across, from + last - across), to + first);
    answer.fill(alpha[from + width - 1], to + last, to + width);
  }
  return answer;
}

/**
 * A flat ellipse where the object stands, before it is blurred.
 * @param {Plane} alpha
 * @param {Size} size
 * @param {Frame} box of the object
 */
export function foot(alpha, { width, height }, box) {
  const bottom = box.y + box.height;
  const top = bottom - Math.max(1, rounded(FOOT * box.height));
  let left = -1;
  let right = -1;
  for (let x = 0; x < width; x += 1) {
    for (let y = top; y < bottom; y += 1) {
      if (alpha[y * width + x] <= INSIDE) continue;
      if (left < 0) left = x;
      right = x;
      break;
    }
  }
  if (left < 0) [left, right] = [box.x, box.x + box.width - 1];
  const halfWidth = (right - left + 1) / 2;
  const halfHeight = Math.max(1, FLATNESS * halfWidth);
  const middle = { x: rounded((left + right) / 2), y: rounded(bottom - halfHeight / 2) };
  const radii = { x: Math.max(1, rounded(halfWidth)), y: rounded(halfHeight) };
  const answer = new Uint8ClampedArray(alpha.length);
  for (let y = Math.max(0, middle.y - radii.y); y <= Math.min(height - 1, middle.y + radii.y); y += 1) {
    // A row is as wide as the ellipse where the row begins, not at its middle.
    const away = Math.max(0, Math.abs(y - middle.y) - 0.5);
    const reach = radii.x * Math.sqrt(Math.max(0, 1 - (away / radii.y) ** 2));
    const first = Math.max(0, Math.round(middle.x - reach));
    const last = Math.min(width - 1, Math.round(middle.x + reach));
    if (last >= first) answer.fill(255, y * width + first, y * width + last + 1);
  }
  return answer;
}
