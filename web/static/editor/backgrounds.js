// What is drawn behind the subject of a cut-out, on a canvas of any size.

import { offscreenContextOf } from "./canvas.js";
import { photoPixels } from "./layers.js";
import * as looks from "./looks.js";
import { reduced } from "./plane_sizes.js";
import * as resampling from "./resampling.js";
import { spreadColors } from "./spreading.js";
import { finished } from "./steps.js";

/** @import { Picture } from "./images.js" */
/** @import { Layers } from "./layers.js" */
/** @import { Steps } from "./steps.js" */
/** @import { Frame, Size } from "./types.js" */

/** @typedef {OffscreenCanvasRenderingContext2D} Context */

/** The longer side of a thumbnail that is blurred within one frame. */
const THUMBNAIL_SIDE = 160;

/**
 * A picture cut evenly, so that it fills a canvas of this size, by the server's filters.
 * @param {HTMLImageElement} picture
 * @param {Size} size
 * @returns {Steps<OffscreenCanvas>}
 */
export function* covering(picture, size) {
  const whole = { width: picture.naturalWidth, height: picture.naturalHeight };
  const source = new OffscreenCanvas(whole.width, whole.height);
  offscreenContextOf(source, { willReadFrequently: true }).drawImage(picture, 0, 0);
  if (whole.width === size.width && whole.height === size.height) return source;
  const pixels = offscreenContextOf(source).getImageData(0, 0, whole.width, whole.height);
  const part = looks.coverPart(whole, size);
  const zoom = size.width / part.width;
  const place = {
    x: -part.x * zoom,
    y: -part.y * zoom,
    width: whole.width * zoom,
    height: whole.height * zoom,
  };
  yield;
  const data = isOpaque(pixels)
    ? yield* resampling.covering(pixels, place, size)
    : yield* resampling.resampledInSteps(pixels, { x: 0, y: 0, ...whole }, place, size);
  const canvas = new OffscreenCanvas(size.width, size.height);
  offscreenContextOf(canvas).putImageData(new ImageData(data, size.width), 0, 0);
  return canvas;
}

/** @param {ImageData} pixels */
function isOpaque({ data }) {
  for (let at = 3; at < data.length; at += 4) if (data[at] < 255) return false;
  return true;
}

/**
 * A picture cut evenly, so that it fills the canvas, by the browser's own filters: a smooth one, or for a moment.
 * @param {Context} context
 * @param {HTMLImageElement | OffscreenCanvas} picture
 * @param {Size} size
 */
export function drawCovering(context, picture, size) {
  const width = picture instanceof HTMLImageElement ? picture.naturalWidth : picture.width;
  const height = picture instanceof HTMLImageElement ? picture.naturalHeight : picture.height;
  const part = looks.coverPart({ width, height }, size);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, part.x, part.y, part.width, part.height, 0, 0, size.width, size.height);
}

/**
 * @param {Context} context
 * @param {string} text
 * @param {Size} size
 */
export function drawGradient(context, text, size) {
  const gradient = looks.gradientOf(text, size);
  if (!gradient) return;
  const { from, to, colors } = gradient;
  const fill = context.createLinearGradient(from.x, from.y, to.x, to.y);
  for (const [at, color] of colors.entries()) fill.addColorStop(at, color);
  context.fillStyle = fill;
  context.fillRect(0, 0, size.width, size.height);
}

/**
 * A picture in its place. Where the canvas extends beyond it, its edge is repeated.
 * @param {Context} context
 * @param {OffscreenCanvas} picture
 * @param {Frame} place
 * @param {Size} size
 */
export function drawExtended(context, picture, place, size) {
  const across = stretches(picture.width, place.x, place.width, size.width);
  const down = stretches(picture.height, place.y, place.height, size.height);
  context.imageSmoothingQuality = "high";
  for (const x of across) {
    for (const y of down)
      context.drawImage(picture, x.from, y.from, x.length, y.length, x.to, y.to, x.extent, y.extent);
  }
}

/**
 * The picture's first line, all of it and its last line along one direction, and the stretch of the canvas for each.
 * @param {number} side of the picture
 * @param {number} start
 * @param {number} extent
 * @param {number} canvasSide
 */
function stretches(side, start, extent, canvasSide) {
  const end = start + extent;
  return [
    { from: 0, length: 1, to: 0, extent: Math.ceil(start) },
    { from: side - 1, length: 1, to: Math.floor(end), extent: canvasSide - Math.floor(end) },
    { from: 0, length: side, to: start, extent },
  ].filter((one) => one.extent > 0);
}

/**
 * The photo's background, blurred, at a reduced size.
 * @param {Layers} layers
 * @param {Picture} photo the preview of it whose colors are shown
 * @param {number} strength
 * @returns {Steps<OffscreenCanvas>}
 */
export function* blurredPhoto(layers, photo, strength) {
  const { size, sigma } = looks.backgroundBlur(strength, layers.size);
  const { data } = photoPixels(photo, layers.size);
  yield;
  const count = layers.size.width * layers.size.height;
  const colors = [];
  for (const channel of [0, 1, 2]) {
    const plane = new Uint8Array(count);
    for (let at = 0; at < count; at += 1) plane[at] = data[at * 4 + channel];
    yield;
    colors.push(reduced(plane, layers.size, size));
    yield;
  }
  // Where the photo is transparent, as in the corners of a straightened one, there is no background either.
  const seen = photo === layers.photo ? data : photoPixels(layers.photo, layers.size).data;
  const hidden = new Uint8Array(count);
  for (let at = 0; at < count; at += 1) hidden[at] = Math.max(layers.alpha[at], 255 - seen[at * 4 + 3]);
  yield;
  return yield* blurred(colors, reduced(hidden, layers.size, size), size, sigma);
}

/**
 * The same, roughly and at once: computed on a thumbnail.
 * @param {Layers} layers
 * @param {number} strength
 */
export function blurredThumbnail(layers, strength) {
  const full = looks.backgroundBlur(strength, layers.size);
  const share = Math.min(1, THUMBNAIL_SIDE / Math.max(full.size.width, full.size.height));
  const width = Math.max(1, Math.round(full.size.width * share));
  const height = Math.max(1, Math.round(full.size.height * share));
  const [photo, subject] = [layers.photo, layers.image].map((picture) => {
    const context = offscreenContextOf(new OffscreenCanvas(width, height), { willReadFrequently: true });
    context.imageSmoothingQuality = "medium";
    context.drawImage(picture, 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data;
  });
  const count = width * height;
  const colors = [0, 1, 2].map((channel) => {
    const plane = new Float32Array(count);
    for (let at = 0; at < count; at += 1) plane[at] = photo[at * 4 + channel];
    return plane;
  });
  const hidden = new Float32Array(count);
  for (let at = 0; at < count; at += 1) hidden[at] = Math.max(subject[at * 4 + 3], 255 - photo[at * 4 + 3]);
  return finished(blurred(colors, hidden, { width, height }, full.sigma * share));
}

/**
 * @param {Float32Array[]} colors
 * @param {Float32Array} hidden alpha of what hides the background
 * @param {Size} size
 * @param {number} sigma
 * @returns {Steps<OffscreenCanvas>}
 */
function* blurred(colors, hidden, size, sigma) {
  const background = hidden.map((value) => 1 - value / 255);
  const soft = yield* spreadColors(colors, background, size, sigma);
  const answer = new ImageData(size.width, size.height);
  for (let at = 0; at < size.width * size.height; at += 1) {
    for (const channel of [0, 1, 2]) answer.data[at * 4 + channel] = soft[channel][at];
    answer.data[at * 4 + 3] = 255;
  }
  const canvas = new OffscreenCanvas(size.width, size.height);
  offscreenContextOf(canvas).putImageData(answer, 0, 0);
  return canvas;
}
