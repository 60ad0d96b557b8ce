// Places the subject of a cut-out on a preview: in its frame, then moved, scaled and turned.

import { offscreenContextOf } from "./canvas.js";
import { pixelsOf } from "./layers.js";
import * as planes from "./planes.js";
import { averaged, resampledInSteps } from "./resampling.js";

/** @import { Subject } from "./subjects.js" */
/** @import { Move } from "./looks.js" */
/** @import { Framing } from "./placement.js" */
/** @import { Steps } from "./steps.js" */
/** @import { Frame, Point, Size } from "./types.js" */

/**
 * The subject where it is on the preview.
 * @typedef {object} Placed
 * @property {OffscreenCanvas} canvas
 * @property {ImageData | null} pixels of the canvas, if they are at hand
 */

/** Smaller subjects are averaged before they are placed. */
export const SMALLEST_INTERPOLATED = 0.5;
/** Too little to be seen, in radians. Without any turn Chromium interpolates in fewer digits. */
const LEAST_TURN = 2e-5;

/**
 * @param {Framing} framing
 * @param {Size} whole size of the picture's preview
 */
export function isWhole({ picture, size }, whole) {
  return (
    picture.x === 0 &&
    picture.y === 0 &&
    [picture, size].every(({ width, height }) => width === whole.width && height === whole.height)
  );
}

/**
 * Whether the subject is drawn into its frame pixel by pixel.
 * @param {Subject} subject
 * @param {Framing} framing
 */
export function keepsPixels({ canvas }, { picture }) {
  const isMovedOnly = picture.width === canvas.width && picture.height === canvas.height;
  return isMovedOnly && Number.isInteger(picture.x) && Number.isInteger(picture.y);
}

/**
 * The subject in its frame, by the browser's own filters.
 * @param {Subject} subject
 * @param {Framing} framing
 * @returns {Placed}
 */
export function framedQuickly(subject, { picture, size }) {
  const canvas = new OffscreenCanvas(size.width, size.height);
  const context = offscreenContextOf(canvas, { willReadFrequently: true });
  context.imageSmoothingQuality = "medium";
  context.drawImage(subject.canvas, picture.x, picture.y, picture.width, picture.height);
  return { canvas, pixels: null };
}

/**
 * The subject in its frame, by the server's filters.
 * @param {Subject} subject
 * @param {Framing} framing
 * @returns {Steps<Placed>}
 */
export function* framed(subject, framing) {
  if (keepsPixels(subject, framing)) return framedQuickly(subject, framing);
  const { picture, size, drawn } = framing;
  const canvas = new OffscreenCanvas(size.width, size.height);
  const data = yield* resampledInSteps(
    subject.pixels ?? pixelsOf(subject.canvas),
    subject.faintBox,
    picture,
    size,
    drawn,
  );
  const pixels = new ImageData(data, size.width);
  offscreenContextOf(canvas).putImageData(pixels, 0, 0);
  return { canvas, pixels };
}

/**
 * @param {OffscreenCanvas} source the subject in its frame
 * @param {Point} middle
 * @param {Move} move
 * @returns {Placed}
 */
export function turned(source, middle, move) {
  const { canvas, context } = movedCanvas(source, middle, move);
  if (move.scale < SMALLEST_INTERPOLATED) context.imageSmoothingQuality = "medium";
  context.scale(move.scale, move.scale);
  context.drawImage(withMargin(source), -middle.x - 1, -middle.y - 1);
  return { canvas, pixels: null };
}

/**
 * A much smaller subject is averaged first, because interpolation would skip pixels.
 * @param {Placed} source
 * @param {Frame} box of it
 * @param {Point} middle
 * @param {Move} move
 * @returns {Placed}
 */
export function shrunk(source, box, middle, move) {
  const size = {
    width: Math.max(1, planes.rounded(box.width * move.scale)),
    height: Math.max(1, planes.rounded(box.height * move.scale)),
  };
  const small = new OffscreenCanvas(size.width + 2, size.height + 2);
  const pixels = averaged(source.pixels ?? pixelsOf(source.canvas), box, size);
  offscreenContextOf(small).putImageData(new ImageData(pixels, small.width), 0, 0);
  const { canvas, context } = movedCanvas(source.canvas, middle, move);
  context.scale((box.width * move.scale) / size.width, (box.height * move.scale) / size.height);
  const x = ((middle.x - box.x) * size.width) / box.width;
  const y = ((middle.y - box.y) * size.height) / box.height;
  context.drawImage(small, -x - 1, -y - 1);
  return { canvas, pixels: null };
}

/**
 * @param {Size} size
 * @param {Point} middle
 * @param {Move} move
 */
function movedCanvas({ width, height }, middle, move) {
  const canvas = new OffscreenCanvas(width, height);
  const context = offscreenContextOf(canvas, { willReadFrequently: true });
  context.imageSmoothingQuality = "low";
  context.translate(middle.x + move.x, middle.y + move.y);
  context.rotate((move.degrees * Math.PI) / 180 + (move.scale === 1 || move.degrees % 180 ? 0 : LEAST_TURN));
  return { canvas, context };
}

/**
 * A transparent margin of one pixel, to which the edge of a subject that is cut off is interpolated.
 * @param {OffscreenCanvas} source
 */
function withMargin(source) {
  const canvas = new OffscreenCanvas(source.width + 2, source.height + 2);
  offscreenContextOf(canvas, { willReadFrequently: true }).drawImage(source, 1, 1);
  return canvas;
}
