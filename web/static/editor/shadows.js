// The shadow of a cut-out: a soft one beside it, or a narrow one where it stands.

import { offscreenContextOf } from "./canvas.js";
import { bytesOf } from "./layers.js";
import * as looks from "./looks.js";
import * as planes from "./planes.js";

/** @import { Framing } from "./placement.js" */
/** @import { Plane } from "./planes.js" */
/** @import { Fields } from "./types.js" */

/**
 * The shadow on a canvas that is to be stretched over the preview: a soft one needs fewer pixels. null without one.
 * @param {Plane} alpha of the subject where it is drawn
 * @param {Pick<Framing, "size" | "scale">} framing
 * @param {Fields} look
 */
export function shadowCanvas(alpha, { size, scale }, look) {
  const box = planes.objectBox(alpha, size);
  const shadow = box && looks.shadowOf(look, box, scale);
  if (!box || !shadow) return null;
  const shape =
    shadow.kind === "contact" ? planes.foot(alpha, size, box) : planes.moved(alpha, size, shadow.x, shadow.y);
  const soft = planes.blurredSmall(shape, size, shadow.blur / 2);
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
