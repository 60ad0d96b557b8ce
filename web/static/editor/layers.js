// The layers of a cut-out as the server keeps them, at the preview's size, and the subject with the edge that a look asks
// for, where it is in the photo.

import { offscreenContextOf } from "./canvas.js";
import { loadImage } from "./images.js";
import * as looks from "./looks.js";
import * as planes from "./planes.js";
import { takeMark } from "./preview_mark.js";
import { finished } from "./steps.js";

/** @import { Plane } from "./planes.js" */
/** @import { Cutout, Fields, Frame, Size } from "./types.js" */

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
 * @property {OffscreenCanvas | null} mark the corner with a preview's mark, which stays in the picture's corner
 */

/**
 * The cut-out with its edge as the look asks for, without an outline, which is drawn where the subject is shown.
 * @typedef {object} Subject
 * @property {OffscreenCanvas} canvas
 * @property {ImageData} pixels the same, not weighted by alpha
 * @property {Frame} box of what is visible
 * @property {Frame} faintBox of what is not quite transparent
 * @property {Frame} fullBox `box` in the picture
 * @property {number} outlineWidth in pixels of the picture
 * @property {Frame} outlinedBox `fullBox` with the outline, possibly beyond the picture
 * @property {boolean} isExact whether these boxes are so to the pixel
 */

/** Less alpha than this makes no difference that is seen. */
const BARELY_VISIBLE = 3;
/** Colors are spread beyond the edge in a picture whose longer side is at most this, by this first average. */
const SPREAD_SIDE = 768;
const SPREAD_SIGMA = 1.5;
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
  return { cutout, size, scale, image, pixels, alpha, box, fullBox, photo, mark };
}

/**
 * The cut-out's preview, and the corners of its box in full resolution.
 * @param {string} url
 */
async function loadCutout(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`The cut-out cannot be loaded: ${response.status}`);
  /** @type {[number, number, number, number] | null} */
  const box = JSON.parse(response.headers.get(BOX_HEADER) ?? "null");
  return { image: await createImageBitmap(await response.blob()), box };
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
 * @param {Layers} layers
 * @param {Fields} look
 * @returns {Subject | null}
 */
export function subjectOf(layers, look) {
  const { size, scale, alpha } = layers;
  const shift = Number(look.shift_edge || "0") * scale;
  const feather = Number(look.feather || "0") * scale;
  const edge = planes.feathered(shift ? planes.shifted(alpha, size, shift) : alpha, size, feather);
  let pixels = layers.pixels;
  if (edge !== alpha || look.decontaminate === "false") pixels = withEdge(layers, edge, look);
  const box = edge === alpha ? layers.box : planes.objectBox(edge, size);
  if (!box) return null;
  const fullBox = fullBoxOf(layers, box);
  const outlineWidth = looks.outlineWidth(look, fullBox);
  const inside = outlineWidth ? planes.objectBox(edge, size, planes.INSIDE + 1) : null;
  const outlinedBox = inside ? planes.outlinedBox(fullBox, fullBoxOf(layers, inside), outlineWidth) : fullBox;
  const canvas = new OffscreenCanvas(size.width, size.height);
  offscreenContextOf(canvas).putImageData(pixels, 0, 0);
  const isExact = scale === 1 || (box === layers.box && !inside);
  const faintBox = planes.objectBox(alphaOf(pixels), size, BARELY_VISIBLE) ?? box;
  return { canvas, pixels, box, faintBox, fullBox, outlineWidth, outlinedBox, isExact };
}

/**
 * The box of the picture for one of the preview, which is that of the layers apart from a changed edge.
 * @param {Layers} layers
 * @param {Frame} box
 * @returns {Frame}
 */
function fullBoxOf({ box: known, fullBox, scale, cutout }, box) {
  if (!known || box === known) return fullBox;
  const shift = (/** @type {number} */ to, /** @type {number} */ from) => Math.round((to - from) / scale);
  const left = Math.max(0, fullBox.x + shift(box.x, known.x));
  const top = Math.max(0, fullBox.y + shift(box.y, known.y));
  const right = fullBox.x + fullBox.width + shift(box.x + box.width, known.x + known.width);
  const bottom = fullBox.y + fullBox.height + shift(box.y + box.height, known.y + known.height);
  return {
    x: left,
    y: top,
    width: Math.max(1, Math.min(cutout.width, right) - left),
    height: Math.max(1, Math.min(cutout.height, bottom) - top),
  };
}

/**
 * The cut-out with another alpha. As far as a pixel becomes more opaque, it gets the colors of the object nearby.
 * @param {Layers} layers
 * @param {Plane} edge
 * @param {Fields} look
 */
function withEdge(layers, edge, look) {
  const { size, alpha } = layers;
  const pixels = new ImageData(Uint8ClampedArray.from(layers.pixels.data), size.width, size.height);
  const isTinted = look.decontaminate === "false";
  const others = isTinted ? photoPixels(layers).data : null;
  const near = isTinted || edge === alpha ? null : nearbyColors(layers);
  for (let at = 0; at < alpha.length; at += 1) {
    const offset = at * 4;
    pixels.data[offset + 3] = edge[at];
    if (others && alpha[at] < 255) {
      for (const channel of [0, 1, 2]) pixels.data[offset + channel] = others[offset + channel];
    } else if (near && edge[at] > alpha[at]) {
      const before = alpha[at] / edge[at];
      for (const channel of [0, 1, 2])
        pixels.data[offset + channel] =
          pixels.data[offset + channel] * before + near[channel][at] * (1 - before);
    }
  }
  return pixels;
}

/** @param {Layers} layers */
export function photoPixels({ photo, size }) {
  const context = offscreenContextOf(new OffscreenCanvas(size.width, size.height), {
    willReadFrequently: true,
  });
  context.drawImage(photo, 0, 0, size.width, size.height);
  return context.getImageData(0, 0, size.width, size.height);
}

/**
 * The colors of the cut-out, spread beyond its edge.
 * @param {Layers} layers
 */
function nearbyColors({ pixels, alpha, size }) {
  const scale = Math.min(1, SPREAD_SIDE / Math.max(size.width, size.height));
  const small = {
    width: Math.max(1, planes.rounded(size.width * scale)),
    height: Math.max(1, planes.rounded(size.height * scale)),
  };
  const known = planes.reduced(alpha, size, small).map((value) => value / 255);
  const colors = [0, 1, 2].map((channel) => {
    const weighted = new Float32Array(alpha.length);
    for (let at = 0; at < alpha.length; at += 1)
      if (alpha[at]) weighted[at] = (pixels.data[at * 4 + channel] * alpha[at]) / 255;
    return planes.reduced(weighted, size, small).map((value, at) => value / Math.max(known[at], 1e-3));
  });
  const near = finished(planes.spreadColors(colors, known, small, SPREAD_SIGMA));
  return near.map((plane) => planes.enlarged(plane, small, size));
}

/**
 * A subject with an outline of the given opacity around it.
 * @param {ImageData} pixels
 * @param {Plane} outline
 * @param {string} color
 */
export function withOutline(pixels, outline, color) {
  const [red, green, blue, opacity] = bytesOf(color);
  const answer = new ImageData(pixels.width, pixels.height);
  for (let at = 0; at < outline.length; at += 1) {
    const offset = at * 4;
    const front = pixels.data[offset + 3] / 255;
    const back = (1 - front) * (outline[at] / 255) * (opacity / 255);
    const total = front + back;
    if (!total) continue;
    for (const [channel, value] of [red, green, blue].entries())
      answer.data[offset + channel] = (pixels.data[offset + channel] * front + value * back) / total;
    answer.data[offset + 3] = total * 255;
  }
  return answer;
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
