// The layers of a cut-out as the server keeps them, at the preview's size.

import { offscreenContextOf } from "./canvas.js";
import { loadBitmap, loadImage } from "./images.js";
import * as looks from "./looks.js";
import * as planes from "./planes.js";
import { takeMark } from "./preview_mark.js";

/** @import { Picture } from "./images.js" */
/** @import { Plane } from "./planes.js" */
/** @import { Cutout, Frame, Size } from "./types.js" */

/**
 * What a cut-out's looks are drawn from. `scale` is that of the preview to the picture.
 * @typedef {object} Layers
 * @property {Cutout} cutout
 * @property {Size} size
 * @property {number} scale
 * @property {OffscreenCanvas} image the cut-out
 * @property {ImageData} pixels the same, not weighted by alpha
 * @property {Plane} alpha
 * @property {Frame | null} box of what is visible, in the preview
 * @property {Frame} fullBox the same in the picture, to the pixel; all of it if nothing is visible
 * @property {HTMLImageElement} photo
 * @property {HTMLImageElement | null} sharpPhoto hardly compressed, opaque, once a look needs it
 * @property {OffscreenCanvas | null} mark the corner with a preview's mark, which stays in the picture's corner
 */

/** Where the server says which part of a cut-out is visible. */
const BOX_HEADER = "X-Object-Box";

/**
 * @param {Cutout} cutout
 * @returns {Promise<Layers>}
 */
export async function loadLayers(cutout) {
  const [{ image: preview, box: corners }, photo] = await Promise.all([
    loadCutout(cutout.url),
    loadImage(cutout.photoUrl),
  ]);
  const size = { width: preview.width, height: preview.height };
  const image = new OffscreenCanvas(size.width, size.height);
  const context = offscreenContextOf(image, { willReadFrequently: true });
  context.drawImage(preview, 0, 0);
  preview.close();
  const mark = takeMark(context, cutout);
  const pixels = context.getImageData(0, 0, size.width, size.height);
  const alpha = alphaOf(pixels);
  const box = planes.objectBox(alpha, size);
  const [left, top, right, bottom] = corners ?? [0, 0, cutout.width, cutout.height];
  const scale = size.width / cutout.width;
  // The server's box includes a mark, which only small pictures have.
  const isKnown = scale === 1 && box;
  const fullBox = isKnown ? box : { x: left, y: top, width: right - left, height: bottom - top };
  return { cutout, size, scale, image, pixels, alpha, box, fullBox, photo, sharpPhoto: null, mark };
}

/**
 * The cut-out's preview, and the corners of its box in full resolution.
 * @param {string} url
 */
async function loadCutout(url) {
  const { bitmap, headers } = await loadBitmap(url);
  /** @type {[number, number, number, number] | null} */
  const box = JSON.parse(headers.get(BOX_HEADER) ?? "null");
  return { image: bitmap, box };
}

/** @param {OffscreenCanvas} canvas */
export function pixelsOf(canvas) {
  return offscreenContextOf(canvas).getImageData(0, 0, canvas.width, canvas.height);
}

/** @param {ImageData} pixels */
export function alphaOf(pixels) {
  const alpha = new Uint8ClampedArray(pixels.width * pixels.height);
  for (let at = 0; at < alpha.length; at += 1) alpha[at] = pixels.data[at * 4 + 3];
  return alpha;
}

/**
 * The answers of `hasBackground`.
 * @type {WeakMap<Layers, boolean>}
 */
const backgroundsSeen = new WeakMap();

/**
 * Whether anything of the photo is seen beside the subject.
 * @param {Layers} layers
 */
export function hasBackground(layers) {
  let isSeen = backgroundsSeen.get(layers);
  if (isSeen === undefined) {
    isSeen = planes.isBackgroundSeen(layers.alpha, photoPixels(layers.photo, layers.size).data);
    backgroundsSeen.set(layers, isSeen);
  }
  return isSeen;
}

/**
 * @param {Picture} photo
 * @param {Size} size
 */
export function photoPixels(photo, size) {
  const context = offscreenContextOf(new OffscreenCanvas(size.width, size.height), {
    willReadFrequently: true,
  });
  context.drawImage(photo, 0, 0, size.width, size.height);
  return context.getImageData(0, 0, size.width, size.height);
}

/**
 * Any CSS color as bytes: red, green, blue, alpha.
 * @param {string} color
 */
export function bytesOf(color) {
  const context = offscreenContextOf(new OffscreenCanvas(1, 1), { willReadFrequently: true });
  context.fillStyle = looks.cssColor(color);
  context.fillRect(0, 0, 1, 1);
  return context.getImageData(0, 0, 1, 1).data;
}
