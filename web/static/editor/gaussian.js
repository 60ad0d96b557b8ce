// Planes blurred by a Gaussian, as the server blurs them. Pure functions.

import { enlarged, reduced } from "./plane_sizes.js";
import { rounded } from "./planes.js";

/** @import { Steps } from "./steps.js" */
/** @import { Size } from "./types.js" */

/** Wider blurs are computed on a reduced plane. It looks the same and takes a fraction of the time. */
export const WIDEST_SIGMA = 4;
/** How far the server blurs bytes, in sigmas. */
const REACH = 3;
/** Rows that are computed in one step. */
const ROWS_A_STEP = 64;

/**
 * A plane of floats blurred by a Gaussian. The border is mirrored.
 * @param {Float32Array} plane
 * @param {Size} size
 * @param {number} sigma in pixels
 * @returns {Steps<Float32Array>}
 */
export function* blurred(plane, size, sigma) {
  if (sigma <= 0) return plane;
  const soft = yield* blurredSmall(plane, size, sigma);
  yield;
  return soft.size === size ? soft.plane : enlarged(soft.plane, soft.size, size);
}

/**
 * A plane blurred by a Gaussian, at the size that shows it without loss: a wide blur needs fewer pixels.
 * @param {ArrayLike<number>} plane
 * @param {Size} size
 * @param {number} sigma in pixels
 * @returns {Steps<{ plane: Float32Array, size: Size }>}
 */
export function* blurredSmall(plane, size, sigma) {
  if (sigma <= 0) return { plane: new Float32Array(plane), size };
  if (sigma <= WIDEST_SIGMA)
    return { plane: roundedPlane(yield* convolved(plane, size, sigma, REACH)), size };
  const small = reducedSize(size, sigma);
  const sharp = roundedPlane(reduced(plane, size, small));
  yield;
  const soft = yield* convolved(sharp, small, WIDEST_SIGMA, REACH);
  return { plane: roundedPlane(soft), size: small };
}

/**
 * Rounds in place, as the server does between its steps.
 * @param {Float32Array} plane
 */
function roundedPlane(plane) {
  for (let at = 0; at < plane.length; at += 1) plane[at] = Math.round(plane[at]);
  return plane;
}

/**
 * The size at which a blur is one of the widest that is computed.
 * @param {Size} size
 * @param {number} sigma
 * @returns {Size}
 */
export function reducedSize(size, sigma) {
  const reduction = Math.max(1, sigma / WIDEST_SIGMA);
  return {
    width: Math.max(1, rounded(size.width / reduction)),
    height: Math.max(1, rounded(size.height / reduction)),
  };
}

/**
 * @param {ArrayLike<number>} plane
 * @param {Size} size
 * @param {number} sigma
 * @param {number} reach of the kernel in sigmas
 * @returns {Steps<Float32Array>}
 */
export function* convolved(plane, { width, height }, sigma, reach) {
  // As OpenCV: a kernel of an odd number of pixels.
  const radius = Math.max(1, Math.floor(rounded(2 * sigma * reach + 1) / 2));
  const kernel = new Float32Array(2 * radius + 1);
  let sum = 0;
  for (let at = -radius; at <= radius; at += 1)
    sum += kernel[at + radius] = Math.exp(-(at ** 2) / (2 * sigma ** 2));
  for (let at = 0; at < kernel.length; at += 1) kernel[at] /= sum;
  const across = new Float32Array(plane.length);
  const line = new Float32Array(Math.max(width, height) + 2 * radius);
  for (let y = 0; y < height; y += 1) {
    if (y % ROWS_A_STEP === 0) yield;
    const row = y * width;
    let isEmpty = true;
    for (let at = 0; at < width + 2 * radius; at += 1) {
      const value = plane[row + mirrored(at - radius, width)];
      line[at] = value;
      if (value) isEmpty = false;
    }
    if (isEmpty) continue;
    for (let x = 0; x < width; x += 1) {
      let total = 0;
      for (let at = 0; at < kernel.length; at += 1) total += kernel[at] * line[x + at];
      across[row + x] = total;
    }
  }
  const answer = new Float32Array(plane.length);
  for (let y = 0; y < height; y += 1) {
    if (y % ROWS_A_STEP === 0) yield;
    const row = y * width;
    for (let at = 0; at < kernel.length; at += 1) {
      const from = mirrored(y + at - radius, height) * width;
      const weight = kernel[at];
      for (let x = 0; x < width; x += 1) answer[row + x] += weight * across[from + x];
    }
  }
  return answer;
}

/**
 * @param {number} at
 * @param {number} length
 */
function mirrored(at, length) {
  if (length === 1) return 0;
  const period = 2 * (length - 1);
  const within = ((at % period) + period) % period;
  return within < length ? within : period - within;
}
