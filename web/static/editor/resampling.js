// Resampling of pictures with transparency, by the filters that the server uses. Pure functions without a canvas.

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

const LANCZOS_REACH = 3;
const CUBIC_REACH = 2;
/** Sizes are whole pixels, so that a picture in its own size is not exactly that. */
const NEARLY_ONE = 0.99;
/** Rounding errors must not cost a row. */
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
 * @returns {Uint8ClampedArray<ArrayBuffer>} the canvas's pixels
 */
export function resampled(pixels, visible, place, size) {
  const answer = new Uint8ClampedArray(size.width * size.height * 4);
  const zoom = { x: place.width / pixels.width, y: place.height / pixels.height };
  const enlarges = Math.min(zoom.x, zoom.y) > NEARLY_ONE;
  const columns = span(visible.x, visible.width, place.x, place.width, zoom.x, size.width, enlarges);
  const rows = span(visible.y, visible.height, place.y, place.height, zoom.y, size.height, enlarges);
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
    writeRow(mixed, answer, (y * size.width + columns.first) * 4);
  }
  return answer;
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
 * The pixels of the canvas that something visible contributes to, which the picture covers entirely.
 * @param {number} start of what is visible
 * @param {number} length
 * @param {number} place
 * @param {number} extent of the picture on the canvas
 * @param {number} zoom
 * @param {number} side of the canvas
 * @param {boolean} enlarges
 */
function span(start, length, place, extent, zoom, side, enlarges) {
  const reach = (enlarges ? CUBIC_REACH : LANCZOS_REACH) * Math.max(1, zoom);
  return {
    first: Math.max(0, Math.ceil(place - EPSILON), Math.floor(place + start * zoom - reach)),
    end: Math.min(
      side,
      Math.floor(place + extent + EPSILON),
      Math.ceil(place + (start + length) * zoom + reach),
    ),
  };
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
