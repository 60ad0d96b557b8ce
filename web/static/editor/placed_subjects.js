// The subject of a cut-out where a look shows it: in its frame, moved, with an outline.

import { offscreenContextOf } from "./canvas.js";
import { alphaOf, pixelsOf, withOutline } from "./layers.js";
import * as planes from "./planes.js";
import { resampled } from "./resampling.js";

/** @import { Subject } from "./layers.js" */
/** @import { Move } from "./looks.js" */
/** @import { Framing } from "./placement.js" */
/** @import { Point, Size } from "./types.js" */

/**
 * The outline of a subject where it is on the preview.
 * @typedef {object} Outline
 * @property {number} width in pixels of the picture
 * @property {number} scale of the subject on the preview to the picture
 * @property {string} color
 */

/**
 * The subject where it is on the preview.
 * @typedef {object} Placed
 * @property {OffscreenCanvas} canvas
 * @property {ImageData | null} pixels of the canvas, if they are at hand
 */

/** Pixels of the result beyond its frame in which a moved subject is drawn for the sake of its outline. */
const MOST_ROOM = 256;

/**
 * The subject in its frame.
 * @param {Subject} subject
 * @param {Framing} framing
 * @returns {Placed}
 */
export function framed({ pixels: whole, canvas: wholeCanvas, faintBox }, { picture, size }) {
  const canvas = new OffscreenCanvas(size.width, size.height);
  const isMovedOnly = picture.width === whole.width && picture.height === whole.height;
  if (isMovedOnly && Number.isInteger(picture.x) && Number.isInteger(picture.y)) {
    offscreenContextOf(canvas, { willReadFrequently: true }).drawImage(wholeCanvas, picture.x, picture.y);
    return { canvas, pixels: null };
  }
  const pixels = new ImageData(resampled(whole, faintBox, picture, size), size.width);
  offscreenContextOf(canvas).putImageData(pixels, 0, 0);
  return { canvas, pixels };
}

/**
 * The subject elsewhere in its frame.
 * @param {OffscreenCanvas} source the subject in its frame
 * @param {Point} middle of it
 * @param {Move} move
 * @param {number} room around the frame, which the answer has too
 * @returns {Placed}
 */
export function moved(source, { x, y }, move, room) {
  const canvas = new OffscreenCanvas(source.width + 2 * room, source.height + 2 * room);
  const context = offscreenContextOf(canvas, { willReadFrequently: true });
  context.imageSmoothingQuality = move.scale < 0.5 ? "high" : "low";
  context.translate(room + x + move.x, room + y + move.y);
  context.rotate((move.degrees * Math.PI) / 180);
  context.scale(move.scale, move.scale);
  context.drawImage(source, -x, -y);
  return { canvas, pixels: null };
}

/**
 * The room around a frame that the outline of a subject needs which is partly beyond it.
 * @param {Outline} outline
 * @param {number} scale of the preview to the result
 */
export function roomFor({ width, scale: subjectScale }, scale) {
  return Math.ceil(Math.min(planes.outlineReach(width, subjectScale), MOST_ROOM * scale));
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
