// Colors spread from where they are known over the rest of a picture, as the server does it. Pure functions.

import { convolved } from "./gaussian.js";
import { interpolation, reduced } from "./plane_sizes.js";

/** @import { Steps } from "./steps.js" */
/** @import { Size } from "./types.js" */

/** How far the server blurs floats, in sigmas. */
const REACH = 4;
/** Where less of a color is missing, no wider average is added. */
const LEAST_MISSING = 0.01;
/** A weight from which an average alone determines the color. */
const SUFFICIENT = 0.25;
/** Wider averages are at least this wide at their reduced size, so that interpolating them shows no steps. */
const NARROWEST_SIGMA = 2;
/** Rows that are computed in one step. */
const ROWS_A_STEP = 64;

/**
 * The known colors of a picture, averaged by a Gaussian, and spread over the rest by wider and wider ones.
 * @param {Float32Array[]} colors red, green, blue
 * @param {Float32Array} known share of each pixel that is known, 0 to 1
 * @param {Size} size
 * @param {number} sigma of the first average
 * @returns {Steps<Float32Array[]>}
 */
export function* spreadColors(colors, known, size, sigma) {
  const missing = new Float32Array(known.length).fill(1);
  const answer = colors.map(() => new Float32Array(known.length));
  let planes = [known, ...colors.map((plane) => plane.map((value, at) => value * known[at]))];
  let level = size;
  let width = sigma;
  for (;;) {
    const soft = [];
    for (const plane of planes) {
      soft.push(yield* convolved(plane, level, width, REACH));
      yield;
    }
    const [weights, ...averages] = soft;
    const most = yield* takeAverages(answer, missing, size, averages, weights, level);
    if (most <= LEAST_MISSING || known.length === 1 || level.width * level.height === 1) break;
    const [from, half] = [level, halfOf(level)];
    planes = planes.map((plane) => reduced(plane, from, half));
    level = half;
    width = Math.max(width, NARROWEST_SIGMA);
  }
  for (const plane of answer)
    for (let at = 0; at < plane.length; at += 1) plane[at] /= Math.max(1 - missing[at], 1e-6);
  return answer;
}

/**
 * Adds averages to the colors where these are missing. Returns the most that is missing still.
 * @param {Float32Array[]} answer
 * @param {Float32Array} missing
 * @param {Size} size of both
 * @param {Float32Array[]} averages
 * @param {Float32Array} weights
 * @param {Size} level size of the averages, which are interpolated
 * @returns {Steps<number>}
 */
function* takeAverages(answer, missing, size, averages, weights, level) {
  const columns = interpolation(level.width, size.width);
  const rows = interpolation(level.height, size.height);
  let most = 0;
  for (let y = 0; y < size.height; y += 1) {
    if (y % ROWS_A_STEP === 0) yield;
    const above = rows.first[y] * level.width;
    const below = rows.second[y] * level.width;
    const down = rows.share[y];
    for (let x = 0; x < size.width; x += 1) {
      const at = y * size.width + x;
      if (!missing[at]) continue;
      const left = columns.first[x];
      const right = columns.second[x];
      const share = columns.share[x];
      const upperLeft = (1 - share) * (1 - down);
      const upperRight = share * (1 - down);
      const lowerLeft = (1 - share) * down;
      const lowerRight = share * down;
      const weight =
        weights[above + left] * upperLeft +
        weights[above + right] * upperRight +
        weights[below + left] * lowerLeft +
        weights[below + right] * lowerRight;
      const taken = missing[at] * Math.min(weight / SUFFICIENT, 1);
      const factor = taken / (weight + 1e-6);
      for (let channel = 0; channel < 3; channel += 1) {
        const plane = averages[channel];
        answer[channel][at] +=
          factor *
          (plane[above + left] * upperLeft +
            plane[above + right] * upperRight +
            plane[below + left] * lowerLeft +
            plane[below + right] * lowerRight);
      }
      missing[at] -= taken;
      if (missing[at] > most) most = missing[at];
    }
  }
  return most;
}

/**
 * @param {Size} size
 * @returns {Size}
 */
function halfOf({ width, height }) {
  return { width: Math.max(1, Math.floor(width / 2)), height: Math.max(1, Math.floor(height / 2)) };
}
