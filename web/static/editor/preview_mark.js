// The mark of a guest's preview. It belongs to the picture's corner, not to the cut-out in it: it has neither shadow nor
// outline, does not count as subject, and does not move with it.

import { offscreenContextOf } from "./canvas.js";

/** @import { Cutout } from "./types.js" */

/**
 * Moves the mark out of a cut-out; null if it has none.
 * @param {OffscreenCanvasRenderingContext2D} context of the cut-out
 * @param {Cutout} cutout
 */
export function takeMark(context, { markBox }) {
  if (!markBox) return null;
  const [left, top, right, bottom] = markBox;
  const mark = new OffscreenCanvas(right - left, bottom - top);
  offscreenContextOf(mark).drawImage(context.canvas, -left, -top);
  context.clearRect(left, top, right - left, bottom - top);
  return mark;
}

/**
 * Draws the mark into the corner of a look.
 * @param {OffscreenCanvas} canvas
 * @param {OffscreenCanvas} mark
 */
export function drawMark(canvas, mark) {
  offscreenContextOf(canvas).drawImage(mark, canvas.width - mark.width, canvas.height - mark.height);
}
