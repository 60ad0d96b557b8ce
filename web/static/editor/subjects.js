// The subject of a cut-out as a look shows it, where it is in the photo: with its edge.

import { offscreenContextOf } from "./canvas.js";
import { feathered, outlinedBox, shifted } from "./edges.js";
import { alphaOf, photoPixels, pixelsOf } from "./layers.js";
import * as looks from "./looks.js";
import { enlarged, reduced } from "./plane_sizes.js";
import { INSIDE, objectBox, rounded } from "./planes.js";
import { spreadColors } from "./spreading.js";
import { finished } from "./steps.js";

/** @import { Picture } from "./images.js" */
/** @import { Layers } from "./layers.js" */
/** @import { Plane } from "./planes.js" */
/** @import { Steps } from "./steps.js" */
/** @import { Fields, Frame } from "./types.js" */

/**
 * The cut-out with its edge as the look asks for, without an outline, which is drawn where the subject is shown.
 * @typedef {object} Subject
 * @property {OffscreenCanvas} canvas
 * @property {ImageData | null} pixels the same, not weighted by alpha; null if they are not at hand
 * @property {Frame} box of what is visible
 * @property {Frame} faintBox of what is not quite transparent
 * @property {Frame} fullBox `box` in the picture
 * @property {number} outlineWidth in pixels of the picture
 * @property {Frame} outlinedBox `fullBox` with the outline, possibly beyond the picture
 * @property {boolean} isExact whether these boxes are so to the pixel
 */

/** Less alpha than this makes no difference that is seen. */
const BARELY_VISIBLE = 3;
/** The longer side of a thumbnail whose edge is drawn within one frame. */
const THUMBNAIL_SIDE = 240;
/** Colors are spread beyond the edge in a picture whose longer side is at most this, by this first average. */
const SPREAD_SIDE = 768;
const SPREAD_SIGMA = 1.5;
/** Pixels that are computed in one step. */
const PIXELS_A_STEP = 1 << 17;

/**
 * Whether a look changes the edge, which takes longer than a frame.
 * @param {Fields} look
 */
export function changesEdge(look) {
  const isChanged = ["shift_edge", "feather"].some((name) => Number(look[name] || "0"));
  return isChanged || look.decontaminate === "false";
}

/**
 * @param {Layers} layers
 * @param {Fields} look
 * @param {Picture} [photo]
 * @returns {Steps<Subject | null>} null if nothing is visible
 */
export function* subjectOf(layers, look, photo = layers.photo) {
  const { size, scale, alpha } = layers;
  const shift = Number(look.shift_edge || "0") * scale;
  const feather = Number(look.feather || "0") * scale;
  const edge = yield* feathered(shift ? yield* shifted(alpha, size, shift) : alpha, size, feather);
  yield;
  let pixels = layers.pixels;
  if (edge !== alpha || look.decontaminate === "false") pixels = yield* withEdge(layers, edge, look, photo);
  const box = edge === alpha ? layers.box : objectBox(edge, size);
  if (!box) return null;
  yield;
  const fullBox = fullBoxOf(layers, box);
  const outlineWidth = looks.outlineWidth(look, fullBox);
  const inside = outlineWidth ? objectBox(edge, size, INSIDE + 1) : null;
  const around = inside ? outlinedBox(fullBox, fullBoxOf(layers, inside), outlineWidth) : fullBox;
  const canvas = new OffscreenCanvas(size.width, size.height);
  offscreenContextOf(canvas).putImageData(pixels, 0, 0);
  yield;
  const isExact = scale === 1 || (box === layers.box && !inside);
  const faintBox = objectBox(alphaOf(pixels), size, BARELY_VISIBLE) ?? box;
  return { canvas, pixels, box, faintBox, fullBox, outlineWidth, outlinedBox: around, isExact };
}

/**
 * The same, roughly and at once: the edge is computed on a thumbnail, what it surrounds is drawn sharply.
 * @param {Layers} layers
 * @param {Fields} look
 * @returns {Subject | null}
 */
export function subjectThumbnail(layers, look) {
  const { size, image } = layers;
  const share = Math.min(1, THUMBNAIL_SIDE / Math.max(size.width, size.height));
  const rough = finished(subjectOf(reducedLayers(layers, share), look));
  if (!rough) return null;
  const canvas = new OffscreenCanvas(size.width, size.height);
  const context = offscreenContextOf(canvas, { willReadFrequently: true });
  context.imageSmoothingQuality = "medium";
  context.drawImage(rough.canvas, 0, 0, size.width, size.height);
  context.globalCompositeOperation = "source-atop";
  context.drawImage(image, 0, 0);
  const [box, faintBox] = [rough.box, rough.faintBox].map((frame) => ({
    x: frame.x / share,
    y: frame.y / share,
    width: frame.width / share,
    height: frame.height / share,
  }));
  return { ...rough, canvas, pixels: null, box, faintBox, isExact: false };
}

/**
 * @param {Layers} layers
 * @param {number} share of their size
 * @returns {Layers}
 */
function reducedLayers(layers, share) {
  const width = Math.max(1, Math.round(layers.size.width * share));
  const height = Math.max(1, Math.round(layers.size.height * share));
  const image = new OffscreenCanvas(width, height);
  const context = offscreenContextOf(image, { willReadFrequently: true });
  context.imageSmoothingQuality = "medium";
  context.drawImage(layers.image, 0, 0, width, height);
  const pixels = pixelsOf(image);
  const alpha = alphaOf(pixels);
  const size = { width, height };
  return {
    ...layers,
    size,
    scale: layers.scale * share,
    image,
    pixels,
    alpha,
    box: objectBox(alpha, size),
  };
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
 * @param {Picture} photo
 * @returns {Steps<ImageData>}
 */
function* withEdge(layers, edge, look, photo) {
  const { size, alpha } = layers;
  const pixels = new ImageData(new Uint8ClampedArray(layers.pixels.data), size.width, size.height);
  const isTinted = look.decontaminate === "false";
  const others = isTinted ? photoPixels(photo, size).data : null;
  const near = isTinted || edge === alpha ? null : yield* nearbyColors(layers);
  for (let at = 0; at < alpha.length; at += 1) {
    if (at % PIXELS_A_STEP === 0) yield;
    const offset = at * 4;
    pixels.data[offset + 3] = edge[at];
    if (others && alpha[at] < 255) {
      for (let channel = 0; channel < 3; channel += 1)
        pixels.data[offset + channel] = others[offset + channel];
    } else if (near && edge[at] > alpha[at]) {
      const before = alpha[at] / edge[at];
      for (let channel = 0; channel < 3; channel += 1)
        pixels.data[offset + channel] =
          pixels.data[offset + channel] * before + near[channel][at] * (1 - before);
    }
  }
  return pixels;
}

/**
 * The colors of the cut-out, spread beyond its edge.
 * @param {Layers} layers
 * @returns {Steps<Float32Array[]>}
 */
function* nearbyColors({ pixels, alpha, size }) {
  const scale = Math.min(1, SPREAD_SIDE / Math.max(size.width, size.height));
  const small = {
    width: Math.max(1, rounded(size.width * scale)),
    height: Math.max(1, rounded(size.height * scale)),
  };
  const known = reduced(alpha, size, small).map((value) => value / 255);
  const colors = [];
  for (const channel of [0, 1, 2]) {
    yield;
    const weighted = new Float32Array(alpha.length);
    for (let at = 0; at < alpha.length; at += 1)
      if (alpha[at]) weighted[at] = (pixels.data[at * 4 + channel] * alpha[at]) / 255;
    yield;
    colors.push(reduced(weighted, size, small).map((value, at) => value / Math.max(known[at], 1e-3)));
  }
  const near = [];
  for (const plane of yield* spreadColors(colors, known, small, SPREAD_SIGMA)) {
    yield;
    near.push(enlarged(plane, small, size));
  }
  return near;
}
