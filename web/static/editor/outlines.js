// The outline around the subject of a cut-out, drawn where the subject is shown: beyond the photo's border, too.

import { offscreenContextOf } from "./canvas.js";
import { outline, outlineReach } from "./edges.js";
import { alphaOf, bytesOf, pixelsOf } from "./layers.js";
import { finished } from "./steps.js";

/** @import { Placed } from "./placing.js" */
/** @import { Plane } from "./planes.js" */
/** @import { Steps } from "./steps.js" */
/** @import { Size } from "./types.js" */

/**
 * The outline of a subject where it is on the preview.
 * @typedef {object} Outline
 * @property {number} width in pixels of the picture
 * @property {number} scale of the subject on the preview to the picture
 * @property {string} color
 */

/** Pixels that are computed in one step. */
const PIXELS_A_STEP = 1 << 17;
/** Pixels of the result beyond its frame in which a moved subject is drawn for the sake of its outline. */
const MOST_ROOM = 256;
/** The longer side of a thumbnail whose outline is drawn within one frame. */
const THUMBNAIL_SIDE = 320;

/**
 * The room around a frame that the outline of a subject needs which is partly beyond it.
 * @param {Outline} outline
 * @param {number} scale of the preview to the result
 */
export function roomFor({ width, scale: subjectScale }, scale) {
  return Math.ceil(Math.min(outlineReach(width, subjectScale), MOST_ROOM * scale));
}

/**
 * The subject with transparent room around its frame.
 * @param {Placed} placed
 * @param {number} room
 * @returns {Placed}
 */
export function withRoom({ canvas: source, pixels }, room) {
  if (!room) return { canvas: source, pixels };
  const canvas = new OffscreenCanvas(source.width + 2 * room, source.height + 2 * room);
  offscreenContextOf(canvas, { willReadFrequently: true }).drawImage(source, room, room);
  return { canvas, pixels: null };
}

/**
 * The subject with an outline, in its frame without the room around it.
 * @param {Placed} bare
 * @param {Outline} outline
 * @param {Size} size of the frame
 * @returns {Steps<Placed>}
 */
export function* outlined({ canvas: source, pixels: known }, { width, scale, color }, size) {
  const pixels = known ?? pixelsOf(source);
  yield;
  const line = yield* outline(alphaOf(pixels), source, width, scale);
  yield;
  const drawn = yield* withOutline(pixels, line, color);
  yield;
  const room = (source.width - size.width) / 2;
  const canvas = new OffscreenCanvas(size.width, size.height);
  offscreenContextOf(canvas, { willReadFrequently: true }).putImageData(drawn, -room, -room);
  return { canvas, pixels: room ? null : drawn };
}

/**
 * The same, roughly and at once: the outline is computed on a thumbnail.
 * @param {Placed} bare
 * @param {Outline} outline
 * @param {Size} size
 * @returns {Placed}
 */
export function outlinedQuickly({ canvas: source }, { width, scale, color }, size) {
  const share = Math.min(1, THUMBNAIL_SIDE / Math.max(source.width, source.height));
  const small = new OffscreenCanvas(
    Math.max(1, Math.round(source.width * share)),
    Math.max(1, Math.round(source.height * share)),
  );
  const context = offscreenContextOf(small, { willReadFrequently: true });
  context.imageSmoothingQuality = "medium";
  context.drawImage(source, 0, 0, small.width, small.height);
  const reduced = { width, scale: scale * share, color };
  const thumbnail = finished(outlined({ canvas: small, pixels: null }, reduced, small));
  const canvas = new OffscreenCanvas(size.width, size.height);
  const drawing = offscreenContextOf(canvas, { willReadFrequently: true });
  const room = (source.width - size.width) / 2;
  drawing.drawImage(thumbnail.canvas, -room, -room, source.width, source.height);
  drawing.drawImage(source, -room, -room);
  return { canvas, pixels: null };
}

/**
 * A subject with an outline of the given opacity around it.
 * @param {ImageData} pixels
 * @param {Plane} line
 * @param {string} color
 * @returns {Steps<ImageData>}
 */
function* withOutline(pixels, line, color) {
  const [red, green, blue, opacity] = bytesOf(color);
  const answer = new ImageData(pixels.width, pixels.height);
  for (let at = 0; at < line.length; at += 1) {
    if (at % PIXELS_A_STEP === 0) yield;
    const offset = at * 4;
    const front = pixels.data[offset + 3] / 255;
    const back = (1 - front) * (line[at] / 255) * (opacity / 255);
    const total = front + back;
    if (!total) continue;
    const share = front / total;
    answer.data[offset] = pixels.data[offset] * share + red * (1 - share);
    answer.data[offset + 1] = pixels.data[offset + 1] * share + green * (1 - share);
    answer.data[offset + 2] = pixels.data[offset + 2] * share + blue * (1 - share);
    answer.data[offset + 3] = total * 255;
  }
  return answer;
}
