// The outline around the subject of a cut-out, drawn where the subject is shown: beyond the photo's border, too.

import { offscreenContextOf } from "./canvas.js";
import { alphaOf, pixelsOf, withOutline } from "./layers.js";
import * as planes from "./planes.js";

/** @import { Placed } from "./placing.js" */
/** @import { Size } from "./types.js" */

/**
 * The outline of a subject where it is on the preview.
 * @typedef {object} Outline
 * @property {number} width in pixels of the picture
 * @property {number} scale of the subject on the preview to the picture
 * @property {string} color
 */

/** Pixels of the result beyond its frame in which a moved subject is drawn for the sake of its outline. */
const MOST_ROOM = 256;
/** The longer side of a thumbnail whose outline is drawn within one frame. */
const THUMBNAIL_SIDE = 400;

/**
 * The room around a frame that the outline of a subject needs which is partly beyond it.
 * @param {Outline} outline
 * @param {number} scale of the preview to the result
 */
export function roomFor({ width, scale: subjectScale }, scale) {
  return Math.ceil(Math.min(planes.outlineReach(width, subjectScale), MOST_ROOM * scale));
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
 * @returns {Placed}
 */
export function outlined({ canvas: source, pixels: known }, { width, scale, color }, size) {
  const pixels = known ?? pixelsOf(source);
  const drawn = withOutline(pixels, planes.outline(alphaOf(pixels), source, width, scale), color);
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
  const thumbnail = outlined({ canvas: small, pixels: null }, { width, scale: scale * share, color }, small);
  const canvas = new OffscreenCanvas(size.width, size.height);
  const drawing = offscreenContextOf(canvas, { willReadFrequently: true });
  const room = (source.width - size.width) / 2;
  drawing.drawImage(thumbnail.canvas, -room, -room, source.width, source.height);
  drawing.drawImage(source, -room, -room);
  return { canvas, pixels: null };
}
