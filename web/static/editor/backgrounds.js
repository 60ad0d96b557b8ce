// What is drawn behind the subject of a cut-out, on a canvas of any size.

import { offscreenContextOf } from "./canvas.js";
import { photoPixels } from "./layers.js";
import * as looks from "./looks.js";
import * as planes from "./planes.js";
import * as resampling from "./resampling.js";

/** @import { Layers } from "./layers.js" */
/** @import { Frame, Size } from "./types.js" */

/** @typedef {OffscreenCanvasRenderingContext2D} Context */

/**
 * A picture cut evenly, so that it fills a canvas of this size, by the server's filters.
 * @param {HTMLImageElement} picture
 * @param {Size} size
 */
export function covering(picture, size) {
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
  const isOpaque = pixels.data.every((value, at) => at % 4 !== 3 || value === 255);
  const data = isOpaque
    ? resampling.covering(pixels, place, size)
    : resampling.resampled(pixels, { x: 0, y: 0, ...whole }, place, size);
  const canvas = new OffscreenCanvas(size.width, size.height);
  offscreenContextOf(canvas).putImageData(new ImageData(data, size.width), 0, 0);
  return canvas;
}

/**
 * A smooth picture cut evenly, so that it fills the canvas.
 * @param {Context} context
 * @param {OffscreenCanvas} picture
 * @param {Size} size
 */
export function drawCovering(context, picture, size) {
  const part = looks.coverPart(picture, size);
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
 * @param {number} strength
 */
export function blurredPhoto(layers, strength) {
  const { size, sigma } = looks.backgroundBlur(strength, layers.size);
  const { data } = photoPixels(layers);
  const count = layers.size.width * layers.size.height;
  const colors = [0, 1, 2].map((channel) => {
    const plane = new Uint8Array(count);
    for (let at = 0; at < count; at += 1) plane[at] = data[at * 4 + channel];
    return planes.reduced(plane, layers.size, size);
  });
  // Where the photo is transparent, as in the corners of a straightened one, there is no background either.
  const hidden = layers.alpha.map((value, at) => Math.max(value, 255 - data[at * 4 + 3]));
  const background = planes.reduced(hidden, layers.size, size).map((value) => 1 - value / 255);
  const blurred = planes.spreadColors(colors, background, size, sigma);
  const answer = new ImageData(size.width, size.height);
  for (let at = 0; at < size.width * size.height; at += 1) {
    for (const channel of [0, 1, 2]) answer.data[at * 4 + channel] = blurred[channel][at];
    answer.data[at * 4 + 3] = 255;
  }
  const canvas = new OffscreenCanvas(size.width, size.height);
  offscreenContextOf(canvas).putImageData(answer, 0, 0);
  return canvas;
}
