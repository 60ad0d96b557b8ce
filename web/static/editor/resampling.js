// Resampling of pictures with transparency, by the filters that the server uses. Pure functions without a canvas.

import { reduced } from "./plane_sizes.js";
import { finished } from "./steps.js";

/** @import { Steps } from "./steps.js" */
/** @import { Frame, Size } from "./types.js" */

/**
 * Bytes of red, green, blue and alpha, not weighted by alpha, row by row.
 * @typedef {object} Pixels
 * @property {Uint8ClampedArray} data
 * @property {number} width
 * @property {number} height
 */

/**
 * What each pixel of a result line is mixed from: `count` weights from `starts` on.
 * @typedef {object} Taps
 * @property {Int32Array} starts
 * @property {Float32Array} weights
 * @property {number} count
 */

const ROWS_AT_ONCE = 64;
const LANCZOS_REACH = 3;
const CUBIC_REACH = 2;
/** Sizes are whole pixels, so that a picture in its own size is not exactly that. */
const NEARLY_ONE = 0.99;
/** Rounding errors do not make a row. */
const EPSILON = 1e-6;
/** Lower alpha is rounded to 0. */
const MIN_ALPHA = 0.5;

/**
 * A picture drawn into a place of a transparent canvas. Colors are weighted by alpha, so that hidden ones never show.
 * It is enlarged by a bicubic filter and reduced by Lanczos.
 * @param {Pixels} pixels
 * @param {Frame} visible the part of the picture that is not transparent, in whole pixels
 * @param {Frame} place of the whole picture on the canvas, which may cut it off
 * @param {Size} size
 * @param {Frame} [within] the part of the canvas that is drawn to
 * @returns {Uint8ClampedArray<ArrayBuffer>} the canvas's pixels
 */
export function resampled(pixels, visible, place, size, within = place) {
  return finished(resampledInSteps(pixels, visible, place, size, within));
}

/**
 * @param {Pixels} pixels
 * @param {Frame} visible
 * @param {Frame} place
 * @param {Size} size
 * @param {Frame} [within]
 * @returns {Steps<Uint8ClampedArray<ArrayBuffer>>}
 */
export function* resampledInSteps(pixels, visible, place, size, within = place) {
  const answer = new Uint8ClampedArray(size.width * size.height * 4);
  const zoom = { x: place.width / pixels.width, y: place.height / pixels.height };
  const enlarges = Math.min(zoom.x, zoom.y) > NEARLY_ONE;
  const columns = limited(
    span(visible.x, visible.width, place.x, zoom.x, size.width, enlarges),
    within.x,
    within.width,
  );
  const rows = limited(
    span(visible.y, visible.height, place.y, zoom.y, size.height, enlarges),
    within.y,
    within.height,
  );
  if (columns.first >= columns.end || rows.first >= rows.end) return answer;
  const across = tapsOf(columns, place.x, zoom.x, pixels.width, enlarges);
  const down = tapsOf(rows, place.y, zoom.y, pixels.height, enlarges);
  const width = columns.end - columns.first;
  // Each source row is resampled once, when the first row of the result needs it.
  const kept = Array.from({ length: down.count }, () => new Float32Array(width * 4));
  const keptRows = new Int32Array(down.count).fill(-1);
  const mixed = new Float32Array(width * 4);
  for (let y = rows.first; y < rows.end; y += 1) {
    const at = y - rows.first;
    /** @type {Float32Array[]} */
    const lines = [];
    /** @type {number[]} */
    const weights = [];
    for (let tap = 0; tap < down.count; tap += 1) {
      const weight = down.weights[at * down.count + tap];
      const row = down.starts[at] + tap;
      if (!weight || row < visible.y || row >= visible.y + visible.height) continue;
      const slot = row % down.count;
      if (keptRows[slot] !== row) {
        resampleRow(pixels, row, across, kept[slot]);
        keptRows[slot] = row;
      }
      lines.push(kept[slot]);
      weights.push(weight);
    }
    mix(lines, weights, mixed);
    dim(mixed, 0, columns.end - columns.first, coverage(y, within.y, within.height));
    dim(mixed, 0, 1, coverage(columns.first, within.x, within.width));
    dim(mixed, width - 1, width, coverage(columns.end - 1, within.x, within.width));
    writeRow(mixed, answer, (y * size.width + columns.first) * 4);
    if (y % ROWS_AT_ONCE === 0) yield;
  }
  return answer;
}

/**
 * Makes pixels of a line more transparent.
 * @param {Float32Array} line
 * @param {number} first
 * @param {number} end
 * @param {number} share that is left
 */
function dim(line, first, end, share) {
  if (share > 1 - EPSILON) return;
  for (let at = first * 4; at < end * 4; at += 1) line[at] *= share;
}

/**
 * The weighted sum of the lines.
 * @param {Float32Array[]} lines
 * @param {number[]} weights
 * @param {Float32Array} answer
 */
function mix(lines, weights, answer) {
  answer.fill(0);
  // Two at a time, because a pass over a line costs more than its arithmetic.
  for (let at = 0; at < lines.length; at += 2) {
    const first = lines[at];
    const weight = weights[at];
    const second = lines[at + 1] ?? first;
    const other = weights[at + 1] ?? 0;
    for (let index = 0; index < answer.length; index += 1)
      answer[index] += weight * first[index] + other * second[index];
  }
}

/**
 * The pixels of the canvas that something visible contributes to.
 * @param {number} start of what is visible
 * @param {number} length
 * @param {number} place
 * @param {number} zoom
 * @param {number} side of the canvas
 * @param {boolean} enlarges
 */
function span(start, length, place, zoom, side, enlarges) {
  const reach = (enlarges ? CUBIC_REACH : LANCZOS_REACH) * Math.max(1, zoom);
  return {
    first: Math.max(0, Math.floor(place + start * zoom - reach)),
    end: Math.min(side, Math.ceil(place + (start + length) * zoom + reach)),
  };
}

/**
 * The pixels of a span that are drawn to, even if only in part.
 * @param {{ first: number, end: number }} span
 * @param {number} start
 * @param {number} length
 */
function limited({ first, end }, start, length) {
  return {
    first: Math.max(first, Math.floor(start + EPSILON)),
    end: Math.min(end, Math.ceil(start + length - EPSILON)),
  };
}

/**
 * The share of a pixel between two places.
 * @param {number} at
 * @param {number} start
 * @param {number} length
 */
function coverage(at, start, length) {
  return Math.min(1, at + 1 - start, start + length - at);
}

/**
 * @param {{ first: number, end: number }} span
 * @param {number} place
 * @param {number} zoom
 * @param {number} side of the picture
 * @param {boolean} enlarges
 * @returns {Taps}
 */
function tapsOf({ first, end }, place, zoom, side, enlarges) {
  const widening = Math.max(1, 1 / zoom);
  const reach = (enlarges ? CUBIC_REACH : LANCZOS_REACH) * widening;
  const filter = enlarges ? cubic : lanczos;
  const count = Math.min(side, Math.ceil(reach * 2) + 1);
  const starts = new Int32Array(end - first);
  const weights = new Float32Array((end - first) * count);
  for (let at = 0; at < starts.length; at += 1) {
    const middle = (first + at + 0.5 - place) / zoom;
    const start = Math.max(0, Math.min(side - count, Math.ceil(middle - reach - 0.5)));
    starts[at] = start;
    let sum = 0;
    for (let tap = 0; tap < count; tap += 1)
      sum += weights[at * count + tap] = filter((start + tap + 0.5 - middle) / widening);
    if (sum) for (let tap = 0; tap < count; tap += 1) weights[at * count + tap] /= sum;
  }
  return { starts, weights, count };
}

/**
 * One row of the picture at the result's columns, weighted by alpha.
 * @param {Pixels} pixels
 * @param {number} row
 * @param {Taps} taps
 * @param {Float32Array} answer
 */
function resampleRow({ data, width }, row, { starts, weights, count }, answer) {
  const base = row * width;
  for (let at = 0; at < starts.length; at += 1) {
    let red = 0;
    let green = 0;
    let blue = 0;
    let alpha = 0;
    let offset = (base + starts[at]) * 4;
    const last = (at + 1) * count;
    for (let tap = at * count; tap < last; tap += 1, offset += 4) {
      const share = weights[tap] * data[offset + 3];
      red += share * data[offset];
      green += share * data[offset + 1];
      blue += share * data[offset + 2];
      alpha += share;
    }
    answer[at * 4] = red;
    answer[at * 4 + 1] = green;
    answer[at * 4 + 2] = blue;
    answer[at * 4 + 3] = alpha;
  }
}

/**
 * @param {Float32Array} mixed
 * @param {Uint8ClampedArray} answer
 * @param {number} offset
 */
function writeRow(mixed, answer, offset) {
  for (let at = 0; at < mixed.length; at += 4) {
    const alpha = mixed[at + 3];
    if (alpha < MIN_ALPHA) continue;
    answer[offset + at] = mixed[at] / alpha;
    answer[offset + at + 1] = mixed[at + 1] / alpha;
    answer[offset + at + 2] = mixed[at + 2] / alpha;
    answer[offset + at + 3] = alpha;
  }
}

/**
 * A part of a picture averaged over the area of each pixel of a smaller size, with a transparent margin of one pixel.
 * @param {Pixels} pixels
 * @param {Frame} part in whole pixels
 * @param {Size} size
 * @returns {Uint8ClampedArray<ArrayBuffer>} pixels of that size and its margin
 */
export function averaged({ data, width }, part, size) {
  const count = part.width * part.height;
  const planes = [0, 1, 2, 3].map(() => new Float32Array(count));
  for (let y = 0; y < part.height; y += 1) {
    for (let x = 0; x < part.width; x += 1) {
      const offset = ((part.y + y) * width + part.x + x) * 4;
      const at = y * part.width + x;
      const alpha = data[offset + 3];
      for (const channel of [0, 1, 2]) planes[channel][at] = data[offset + channel] * alpha;
      planes[3][at] = alpha;
    }
  }
  const [red, green, blue, alphas] = planes.map((plane) => reduced(plane, part, size));
  const answer = new Uint8ClampedArray((size.width + 2) * (size.height + 2) * 4);
  for (let at = 0; at < alphas.length; at += 1) {
    const alpha = alphas[at];
    if (alpha < MIN_ALPHA) continue;
    const row = Math.floor(at / size.width);
    const offset = ((row + 1) * (size.width + 2) + 1 + at - row * size.width) * 4;
    answer[offset] = red[at] / alpha;
    answer[offset + 1] = green[at] / alpha;
    answer[offset + 2] = blue[at] / alpha;
    answer[offset + 3] = alpha;
  }
  return answer;
}

/**
 * An opaque picture drawn into a place of a canvas, which it covers, by Lanczos.
 * @param {Pixels} pixels
 * @param {Frame} place of the whole picture on the canvas, which may cut it off
 * @param {Size} size
 * @returns {Steps<Uint8ClampedArray<ArrayBuffer>>} the canvas's pixels
 */
export function* covering(pixels, place, size) {
  const across = tapsOf(
    { first: 0, end: size.width },
    place.x,
    place.width / pixels.width,
    pixels.width,
    false,
  );
  const down = tapsOf(
    { first: 0, end: size.height },
    place.y,
    place.height / pixels.height,
    pixels.height,
    false,
  );
  const first = down.starts[0];
  const rows = down.starts[size.height - 1] + down.count - first;
  const lines = yield* opaqueRows(pixels, first, rows, across);
  const answer = new Uint8ClampedArray(size.width * size.height * 4).fill(255);
  const length = size.width * 3;
  const mixed = new Float32Array(length);
  for (let y = 0; y < size.height; y += 1) {
    mixed.fill(0);
    for (let tap = 0; tap < down.count; tap += 1) {
      const weight = down.weights[y * down.count + tap];
      if (!weight) continue;
      const start = (down.starts[y] + tap - first) * length;
      for (let at = 0; at < length; at += 1) mixed[at] += weight * lines[start + at];
    }
    let offset = y * size.width * 4;
    for (let at = 0; at < length; at += 3, offset += 4) {
      answer[offset] = mixed[at];
      answer[offset + 1] = mixed[at + 1];
      answer[offset + 2] = mixed[at + 2];
    }
    if (y % ROWS_AT_ONCE === 0) yield;
  }
  return answer;
}

/**
 * Rows of an opaque picture at the result's columns: red, green and blue, rounded as the server does between its passes.
 * @param {Pixels} pixels
 * @param {number} first
 * @param {number} rows
 * @param {Taps} taps
 * @returns {Steps<Uint8ClampedArray>}
 */
function* opaqueRows({ data, width }, first, rows, { starts, weights, count }) {
  const answer = new Uint8ClampedArray(rows * starts.length * 3);
  let to = 0;
  for (let row = first; row < first + rows; row += 1) {
    for (let at = 0; at < starts.length; at += 1, to += 3) {
      let red = 0;
      let green = 0;
      let blue = 0;
      let offset = (row * width + starts[at]) * 4;
      const last = (at + 1) * count;
      for (let tap = at * count; tap < last; tap += 1, offset += 4) {
        const weight = weights[tap];
        red += weight * data[offset];
        green += weight * data[offset + 1];
        blue += weight * data[offset + 2];
      }
      answer[to] = red;
      answer[to + 1] = green;
      answer[to + 2] = blue;
    }
    if (row % ROWS_AT_ONCE === 0) yield;
  }
  return answer;
}

/** @param {number} x */
function cubic(x) {
  const away = Math.abs(x);
  if (away < 1) return (1.5 * away - 2.5) * away * away + 1;
  if (away < 2) return ((-0.5 * away + 2.5) * away - 4) * away + 2;
  return 0;
}

/** @param {number} x */
function lanczos(x) {
  if (x === 0) return 1;
  if (Math.abs(x) >= LANCZOS_REACH) return 0;
  const angle = Math.PI * x;
  return (LANCZOS_REACH * Math.sin(angle) * Math.sin(angle / LANCZOS_REACH)) / (angle * angle);
}
