// The frame of a cut-out's look: its size, and where the photo is in it, computed as the server does. Pure functions.

import { lengthPixels } from "./looks.js";
import { rounded } from "./planes.js";

/** @import { Fields, Frame, Size } from "./types.js" */

/**
 * A part of the picture, and where it is placed on the canvas of the result. All in whole pixels.
 * @typedef {object} Placement
 * @property {Frame} source
 * @property {Frame} target
 * @property {Size} canvas
 */

/**
 * Where a picture is on a preview of a look, of any size.
 * @typedef {object} Framing
 * @property {Size} canvas of the result in full resolution
 * @property {Size} size of the preview
 * @property {number} scale of the preview to the result
 * @property {Frame} picture the whole picture on the preview, which may cut it off
 * @property {Frame} drawn the part of it that is drawn to: only pixels of the result that the picture covers wholly
 * @property {boolean} keepsPixels whether the result shows the picture's own pixels
 */

/** A preview has at most as many pixels, however large the result is. */
const MOST_PIXELS = 1_200_000;
/** A result of as many pixels is shown at full size even if its subject was enlarged, for its background's sake. */
const FEWEST_PIXELS = 800_000;
const TRUE = ["true", "1", "yes", "on"];
const MIDDLE = [50, 50];
/** Rounding errors must not cost a row. */
const EPSILON = 1e-6;

/**
 * Whether a look has another frame than the photo.
 * @param {Fields} look
 */
export function isFramed(look) {
  return (
    crops(look) ||
    Boolean(look.output_size) ||
    scaleOf(look) !== null ||
    Boolean(look.position && look.position !== "original")
  );
}

/** @param {Fields} look */
function crops(look) {
  return TRUE.includes(look.crop?.toLowerCase() ?? "");
}

/**
 * The object's share of the canvas in percent; null for the picture's own scale.
 * @param {Fields} look
 */
function scaleOf(look) {
  return look.scale && look.scale !== "original" ? parseFloat(look.scale) : null;
}

/**
 * The placement that a look asks for.
 * @param {Fields} look
 * @param {Frame} box of the object in the picture
 * @param {Size} picture
 * @returns {Placement}
 */
export function placementOf(look, box, picture) {
  const [width, height] = (look.output_size ?? "").toLowerCase().split("x").map(Number);
  const scale = scaleOf(look);
  return placeObject(box, picture, {
    isCropped: crops(look),
    margins: look.crop_margin ? marginsOf(look.crop_margin) : null,
    scale,
    position: positionOf(look.position || (scale === null ? "original" : "center")),
    outputSize: width && height ? { width, height } : null,
  });
}

/**
 * Percentages of the free space on the left and on top, or null for the original position.
 * @param {string} text
 */
function positionOf(text) {
  if (text === "original") return null;
  if (text === "center") return MIDDLE;
  const percents = text.trim().split(/\s+/).map(parseFloat);
  return [percents[0], percents[percents.length - 1]];
}

/**
 * Top, right, bottom, left, as in CSS.
 * @param {string} text
 */
function marginsOf(text) {
  const words = text.trim().split(/\s+/);
  return [...words, ...words, ...words, ...words].slice(0, 4);
}

/**
 * @param {Frame} box
 * @param {Size} picture
 * @param {object} options
 * @param {boolean} options.isCropped
 * @param {string[] | null} options.margins
 * @param {number | null} options.scale
 * @param {number[] | null} options.position
 * @param {Size | null} options.outputSize
 * @returns {Placement}
 */
function placeObject(box, picture, { isCropped, margins, scale, position, outputSize }) {
  /** @type {Frame} */
  let source;
  /** @type {Size} */
  let canvas;
  let zoom = 1;
  let fractions = [0.5, 0.5];
  if (scale !== null) {
    const share = scale / 100;
    source = box;
    // The canvas grows instead of the object shrinking, so that a crop is not resampled.
    const roomy = {
      width: Math.max(box.width, rounded(box.width / share)),
      height: Math.max(box.height, rounded(box.height / share)),
    };
    canvas = outputSize ?? (isCropped ? roomy : picture);
    if (!isCropped || outputSize)
      zoom = Math.min((share * canvas.width) / box.width, (share * canvas.height) / box.height);
    fractions = originalFractions(box, picture);
  } else {
    source = { x: 0, y: 0, ...sizeOf(picture) };
    if (isCropped) source = margins ? withMargins(box, margins) : box;
    canvas = outputSize ?? source;
    zoom = Math.min(canvas.width / source.width, canvas.height / source.height);
    if (position && !isCropped) source = box;
  }
  if (position) fractions = [position[0] / 100, position[1] / 100];
  const width = Math.max(1, rounded(source.width * zoom));
  const height = Math.max(1, rounded(source.height * zoom));
  const x = rounded((canvas.width - width) * fractions[0]);
  const y = rounded((canvas.height - height) * fractions[1]);
  return { source, target: { x, y, width, height }, canvas: sizeOf(canvas) };
}

/**
 * @param {Size} size
 * @returns {Size}
 */
function sizeOf({ width, height }) {
  return { width, height };
}

/**
 * @param {Frame} box
 * @param {string[]} margins
 * @returns {Frame}
 */
function withMargins(box, margins) {
  const [top, right, bottom, left] = margins.map((margin, at) =>
    lengthPixels(margin, at % 2 ? box.width : box.height),
  );
  return {
    x: box.x - left,
    y: box.y - top,
    width: box.width + left + right,
    height: box.height + top + bottom,
  };
}

/**
 * The shares of the free space to the left of and above the box in its picture.
 * @param {Frame} box
 * @param {Size} picture
 */
function originalFractions(box, picture) {
  return [fraction(box.x, picture.width - box.width), fraction(box.y, picture.height - box.height)];
}

/**
 * @param {number} before
 * @param {number} free
 */
function fraction(before, free) {
  return free > 0 ? Math.min(1, Math.max(0, before / free)) : 0.5;
}

/**
 * The framing of a picture as it is.
 * @param {Size} picture
 * @param {Size} size of the preview
 * @returns {Framing}
 */
export function wholeFraming(picture, size) {
  return {
    canvas: sizeOf(picture),
    size,
    scale: size.width / picture.width,
    picture: { x: 0, y: 0, ...size },
    drawn: { x: 0, y: 0, ...size },
    keepsPixels: true,
  };
}

/**
 * The framing of a placed picture.
 * @param {Placement} placement
 * @param {Size} picture
 * @param {number} previewScale of the picture's preview: in a larger one of the result, the subject is not sharper
 * @param {boolean} isTurned whether the subject is resampled once more, which a small preview would blur
 * @returns {Framing}
 */
export function framingOf({ source, target, canvas }, picture, previewScale, isTurned) {
  const zoom = { x: target.width / source.width, y: target.height / source.height };
  const keepsPixels = zoom.x === 1 && zoom.y === 1;
  const scaleWith = (/** @type {number} */ pixels) => Math.sqrt(pixels / (canvas.width * canvas.height));
  const sharpest = previewScale / zoom.x;
  const wanted = keepsPixels ? sharpest : Math.max(isTurned ? 1 : sharpest, scaleWith(FEWEST_PIXELS));
  const width = Math.max(1, Math.round(canvas.width * Math.min(1, wanted, scaleWith(MOST_PIXELS))));
  const height = Math.max(1, Math.round((canvas.height * width) / canvas.width));
  const size = { width, height };
  const scale = { x: size.width / canvas.width, y: size.height / canvas.height };
  const left = target.x - source.x * zoom.x;
  const top = target.y - source.y * zoom.y;
  const right = left + picture.width * zoom.x;
  const bottom = top + picture.height * zoom.y;
  const first = { x: Math.ceil(left - EPSILON), y: Math.ceil(top - EPSILON) };
  const end = { x: Math.floor(right + EPSILON), y: Math.floor(bottom + EPSILON) };
  return {
    canvas,
    size,
    scale: scale.x,
    keepsPixels,
    picture: scaled(left, top, right, bottom, scale),
    drawn: scaled(first.x, first.y, end.x, end.y, scale),
  };
}

/**
 * @param {number} left
 * @param {number} top
 * @param {number} right
 * @param {number} bottom
 * @param {{ x: number, y: number }} scale
 * @returns {Frame}
 */
function scaled(left, top, right, bottom, { x, y }) {
  return { x: left * x, y: top * y, width: (right - left) * x, height: (bottom - top) * y };
}

/**
 * A box of the picture on the canvas of the result.
 * @param {Frame} box
 * @param {Size} picture
 * @param {Framing} framing
 * @returns {Frame}
 */
export function placedBox(box, picture, framing) {
  const across = framing.picture.width / picture.width / framing.scale;
  const down = framing.picture.height / picture.height / framing.scale;
  return {
    x: framing.picture.x / framing.scale + box.x * across,
    y: framing.picture.y / framing.scale + box.y * down,
    width: box.width * across,
    height: box.height * down,
  };
}
