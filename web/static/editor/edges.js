// The edge of an object: softened, moved, or outlined, as the server does it. Pure functions.

import { blurred } from "./gaussian.js";
import { INSIDE, rounded } from "./planes.js";

/** @import { Plane } from "./planes.js" */
/** @import { Steps } from "./steps.js" */
/** @import { Frame, Size } from "./types.js" */

/** Rows or columns that are computed in one step. */
const ROWS_A_STEP = 64;

/**
 * The plane with its edge softened over about `width` pixels to either side.
 * @param {Plane} alpha
 * @param {Size} size
 * @param {number} width
 * @returns {Steps<Plane>}
 */
export function* feathered(alpha, size, width) {
  if (width <= 0) return alpha;
  return new Uint8ClampedArray(yield* blurred(new Float32Array(alpha), size, width / 2));
}

/**
 * The plane with its edge moved outwards by `shift` pixels, inwards if that is negative. Fractions are interpolated.
 * @param {Plane} alpha
 * @param {Size} size
 * @param {number} shift
 * @returns {Steps<Plane>}
 */
export function* shifted(alpha, size, shift) {
  const whole = Math.floor(Math.abs(shift));
  const rest = Math.abs(shift) - whole;
  // Moving an edge inwards moves what is outside of it outwards.
  const plane = shift > 0 ? new Uint8ClampedArray(alpha) : inverted(alpha);
  let answer = whole ? yield* dilated(plane, size, whole) : plane;
  if (rest) {
    const next = yield* dilated(answer, size, 1);
    answer = answer.map((value, at) => rounded(value * (1 - rest) + next[at] * rest));
  }
  return shift > 0 ? answer : inverted(answer);
}

/** @param {Plane} plane */
function inverted(plane) {
  return new Uint8ClampedArray(plane).map((value) => 255 - value);
}

/**
 * Each value spread over a disc: only those with a lower one beside them spread farther than others do.
 * @param {Uint8ClampedArray} plane
 * @param {Size} size
 * @param {number} radius
 * @returns {Steps<Uint8ClampedArray>}
 */
function* dilated(plane, { width, height }, radius) {
  const answer = new Uint8ClampedArray(plane);
  const reaches = Array.from({ length: 2 * radius + 1 }, (_, at) =>
    Math.floor(Math.sqrt((radius + 0.3) ** 2 - (at - radius) ** 2)),
  );
  for (let y = 0; y < height; y += 1) {
    if (y % ROWS_A_STEP === 0) yield;
    for (let x = 0; x < width; x += 1) {
      const at = y * width + x;
      const value = plane[at];
      const isEdge =
        (x > 0 && plane[at - 1] < value) ||
        (x + 1 < width && plane[at + 1] < value) ||
        (y > 0 && plane[at - width] < value) ||
        (y + 1 < height && plane[at + width] < value);
      if (!isEdge) continue;
      for (let row = Math.max(0, y - radius); row <= Math.min(height - 1, y + radius); row += 1) {
        const reach = reaches[row - y + radius];
        const last = row * width + Math.min(width - 1, x + reach);
        for (let to = row * width + Math.max(0, x - reach); to <= last; to += 1)
          if (answer[to] < value) answer[to] = value;
      }
    }
  }
  return answer;
}

/**
 * The distance of each pixel to the nearest one inside the object, exactly (Felzenszwalb and Huttenlocher).
 * @param {Plane} alpha
 * @param {Size} size
 * @returns {Steps<Float32Array>}
 */
export function* distances(alpha, { width, height }) {
  const far = 1e12;
  const squares = new Float64Array(alpha).map((value) => (value > INSIDE ? 0 : far));
  yield;
  const longest = Math.max(width, height);
  const line = new Float64Array(longest);
  const vertices = new Int32Array(longest);
  const borders = new Float64Array(longest + 1);
  const transform = (
    /** @type {number} */ start,
    /** @type {number} */ step,
    /** @type {number} */ length,
  ) => {
    for (let at = 0; at < length; at += 1) line[at] = squares[start + at * step];
    let last = 0;
    vertices[0] = 0;
    borders[0] = -Infinity;
    borders[1] = Infinity;
    for (let at = 1; at < length; at += 1) {
      let border = crossing(line, at, vertices[last]);
      while (border <= borders[last]) {
        last -= 1;
        border = crossing(line, at, vertices[last]);
      }
      last += 1;
      vertices[last] = at;
      borders[last] = border;
      borders[last + 1] = Infinity;
    }
    last = 0;
    for (let at = 0; at < length; at += 1) {
      while (borders[last + 1] < at) last += 1;
      squares[start + at * step] = (at - vertices[last]) ** 2 + line[vertices[last]];
    }
  };
  for (let x = 0; x < width; x += 1) {
    if (x % ROWS_A_STEP === 0) yield;
    transform(x, width, height);
  }
  for (let y = 0; y < height; y += 1) {
    if (y % ROWS_A_STEP === 0) yield;
    transform(y * width, 1, width);
  }
  yield;
  return new Float32Array(squares.map(Math.sqrt));
}

/**
 * @param {Float64Array} line
 * @param {number} at
 * @param {number} vertex
 */
function crossing(line, at, vertex) {
  return (line[at] + at * at - line[vertex] - vertex * vertex) / (2 * (at - vertex));
}

/**
 * How far the middle of an outline's edge is from the center of the last pixel inside the object.
 * @param {number} width of the outline in pixels of the picture
 * @param {number} scale of the plane to the picture
 */
export function outlineReach(width, scale) {
  return (width - 0.5) * scale + 0.5;
}

/**
 * The opacity of an outline around the object.
 * @param {Plane} alpha
 * @param {Size} size
 * @param {number} width of the outline in pixels of the picture
 * @param {number} scale of this plane to the picture
 * @returns {Steps<Plane>}
 */
export function* outline(alpha, size, width, scale) {
  const reach = outlineReach(width, scale);
  const away = yield* distances(alpha, size);
  yield;
  return new Uint8ClampedArray(away.map((pixels) => (reach + 0.5 - pixels) * 255));
}

/**
 * The box of an object with its outline, possibly beyond the picture.
 * @param {Frame} box of what is visible
 * @param {Frame} inside of what the outline is around
 * @param {number} width of the outline
 * @returns {Frame}
 */
export function outlinedBox(box, inside, width) {
  const x = Math.min(box.x, inside.x - width);
  const y = Math.min(box.y, inside.y - width);
  return {
    x,
    y,
    width: Math.max(box.x + box.width, inside.x + inside.width + width) - x,
    height: Math.max(box.y + box.height, inside.y + inside.height + width) - y,
  };
}
