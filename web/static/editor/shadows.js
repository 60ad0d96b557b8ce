// The shadow of a cut-out: a soft one beside it, or a narrow one where it stands.

import { offscreenContextOf } from "./canvas.js";
import { blurredSmall } from "./gaussian.js";
import { alphaOf, bytesOf, pixelsOf } from "./layers.js";
import * as looks from "./looks.js";
import * as planes from "./planes.js";
import { finished } from "./steps.js";

/** @import { Framing } from "./placement.js" */
/** @import { Plane } from "./planes.js" */
/** @import { Steps } from "./steps.js" */
/** @import { Fields } from "./types.js" */

/** The longer side of a thumbnail whose shadow is drawn within one frame. */
const THUMBNAIL_SIDE = 400;

/**
 * The shadow on a canvas that is to be stretched over the preview: a soft one needs fewer pixels. null without one.
 * @param {Plane} alpha of the subject where it is drawn
 * @param {Pick<Framing, "size" | "scale">} framing
 * @param {Fields} look
 * @returns {Steps<OffscreenCanvas | null>}
 */
export function* shadowCanvas(alpha, { size, scale }, look) {
  const box = planes.objectBox(alpha, size);
  const shadow = box && looks.shadowOf(look, box, scale);
  if (!box || !shadow) return null;
  const shape =
    shadow.kind === "contact" ? planes.foot(alpha, size, box) : planes.moved(alpha, size, shadow.x, shadow.y);
  yield;
  const soft = yield* blurredSmall(shape, size, shadow.blur / 2);
  const [red, green, blue, opacity] = bytesOf(shadow.color);
  const share = shadow.opacity * (opacity / 255);
  const pixels = new ImageData(soft.size.width, soft.size.height);
  for (let at = 0; at < soft.plane.length; at += 1) {
    pixels.data[at * 4] = red;
    pixels.data[at * 4 + 1] = green;
    pixels.data[at * 4 + 2] = blue;
    pixels.data[at * 4 + 3] = soft.plane[at] * share;
  }
  const canvas = new OffscreenCanvas(soft.size.width, soft.size.height);
  offscreenContextOf(canvas).putImageData(pixels, 0, 0);
  return canvas;
}

/**
 * The same, roughly and at once: computed on a thumbnail.
 * @param {OffscreenCanvas} subject where it is drawn
 * @param {Pick<Framing, "size" | "scale">} framing
 * @param {Fields} look
 */
export function shadowThumbnail(subject, { size, scale }, look) {
  const share = Math.min(1, THUMBNAIL_SIDE / Math.max(size.width, size.height));
  const width = Math.max(1, Math.round(size.width * share));
  const height = Math.max(1, Math.round(size.height * share));
  const canvas = new OffscreenCanvas(width, height);
  const context = offscreenContextOf(canvas, { willReadFrequently: true });
  context.imageSmoothingQuality = "medium";
  context.drawImage(subject, 0, 0, width, height);
  const small = { size: { width, height }, scale: scale * share };
  return finished(shadowCanvas(alphaOf(pixelsOf(canvas)), small, look));
}
