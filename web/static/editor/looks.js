// The look of a cut-out as numbers: what its form fields mean at a preview's size. Pure functions.

import { reducedSize, WIDEST_SIGMA } from "./gaussian.js";
import { rounded } from "./planes.js";

/** @import { Fields, Frame, Point, Preset, Size } from "./types.js" */

/**
 * How the subject is moved on its canvas: scaled and turned about the middle of its box, then moved.
 * @typedef {object} Move
 * @property {number} x in pixels of the preview
 * @property {number} y
 * @property {number} scale
 * @property {number} degrees clockwise
 */

/** Fields that place the subject in a frame of its own. */
const FRAME_FIELDS = ["crop", "crop_margin", "scale", "position", "output_size", "preset"];
const BACKGROUND_FIELDS = ["bg_color", "bg_gradient", "bg_scene", "bg_blur", "bg_image_id"];
/** Changes a look so that nothing is behind the subject, whatever its preset says. */
export const NO_BACKGROUND = {
  bg_color: "transparent",
  bg_gradient: "",
  bg_scene: "",
  bg_blur: "",
  bg_image_id: "",
};
const SUBJECT_FIELDS = ["subject_x", "subject_y", "subject_scale", "subject_rotate"];
const SHADOW_DEFAULTS = { x: "1.5%", y: "3.5%", drop: "5%", contact: "3%" };
/** Blurring at strength 100 uses a Gaussian of this share of the longer side. */
const STRONGEST_BLUR = 0.05;
/** From this strength on a blur hides what compression changes. */
const HIDING_BLUR = 15;

/**
 * The look with what its preset rules, as far as its own fields do not rule it.
 * @param {Fields} look
 * @param {Preset[]} presets
 * @returns {Fields}
 */
export function resolved(look, presets) {
  const given = Object.fromEntries(Object.entries(look).filter(([, value]) => value));
  const preset = presets.find((one) => one.name === look.preset);
  if (!preset) return given;
  const hasBackground = BACKGROUND_FIELDS.some((name) => given[name] && given[name] !== "0");
  const background =
    preset.background && !hasBackground ? { bg_color: preset.background } : /** @type {Fields} */ ({});
  return { ...preset.fields, ...given, ...background };
}

/**
 * A resolved look with the subject where it is in the photo, at the photo's size: strokes and clicks are placed there.
 * @param {Fields} look
 */
export function unplaced(look) {
  const placing = [...FRAME_FIELDS, ...SUBJECT_FIELDS];
  return Object.fromEntries(Object.entries(look).filter(([name]) => !placing.includes(name)));
}

/**
 * Whether a resolved look shows details of the photo besides the cut-out, which compression would change visibly.
 * @param {Fields} look
 */
export function showsPhoto(look) {
  const strength = Number(look.bg_blur || "0");
  return (strength > 0 && strength < HIDING_BLUR) || look.decontaminate === "false";
}

/**
 * Whether a resolved look has the subject elsewhere than its frame does: moved, scaled or turned.
 * @param {Fields} look
 */
export function isMoved(look) {
  return SUBJECT_FIELDS.some((name) => {
    const isScale = name === "subject_scale";
    return parseFloat(look[name] || (isScale ? "100" : "0")) !== (isScale ? 100 : 0);
  });
}

/**
 * Whether two looks are the same, however their fields are ordered.
 * @param {Fields} one
 * @param {Fields} other
 */
export function isSameLook(one, other) {
  const texts = [one, other].map((look) => JSON.stringify(Object.entries(lookFields(look)).sort()));
  return texts[0] === texts[1];
}

/**
 * The fields of a run that belong to its look.
 * @param {Fields} fields
 */
export function lookFields(fields) {
  const others = ["model", "channels", "roi", "format", "quality"];
  return Object.fromEntries(
    Object.entries(fields).filter(([name, value]) => value && !others.includes(name)),
  );
}

/**
 * The fields without those that have no effect beside the others: the server refuses them.
 * @param {Fields} fields
 * @returns {Fields}
 */
export function effective(fields) {
  const hasShadow = fields.shadow === "drop" || fields.shadow === "contact";
  const idle = [
    ...(hasShadow ? [] : ["shadow_opacity", "shadow_color", "shadow_blur"]),
    ...(fields.shadow === "drop" ? [] : ["shadow_x", "shadow_y"]),
    ...(fields.outline_width ? [] : ["outline_color"]),
  ];
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !idle.includes(name)));
}

/**
 * A color as a canvas takes it: the API accepts hexadecimal digits without "#", too.
 * @param {string} color
 */
export function cssColor(color) {
  return /^([0-9a-f]{3}|[0-9a-f]{6}|[0-9a-f]{8})$/i.test(color) ? `#${color}` : color;
}

/**
 * A length such as "12" or "1.5%" in whole pixels.
 * @param {string} text
 * @param {number} side what percentages are of
 */
export function lengthPixels(text, side) {
  const value = parseFloat(text) || 0;
  return rounded(text.trim().endsWith("%") ? (value * side) / 100 : value);
}

/**
 * The size of an object that percentages are of, in pixels of the picture.
 * @param {Frame} box at the preview's size
 * @param {number} scale of the preview to the picture
 */
export function objectSize(box, scale) {
  return rounded(Math.sqrt(box.width * box.height) / scale);
}

/**
 * @param {Fields} look
 * @param {Frame} box of the object in the picture
 */
export function outlineWidth(look, box) {
  return look.outline_width ? Math.max(1, lengthPixels(look.outline_width, objectSize(box, 1))) : 0;
}

/**
 * The shadow's lengths in pixels of the preview, or null without one.
 * @param {Fields} look
 * @param {Frame} box of the subject where it is drawn
 * @param {number} scale
 */
export function shadowOf(look, box, scale) {
  const kind = look.shadow;
  if (kind !== "drop" && kind !== "contact") return null;
  const size = objectSize(box, scale);
  const pixels = (/** @type {string} */ text) => lengthPixels(text, size) * scale;
  return {
    kind,
    x: Math.round(pixels(look.shadow_x || SHADOW_DEFAULTS.x)),
    y: Math.round(pixels(look.shadow_y || SHADOW_DEFAULTS.y)),
    blur: pixels(look.shadow_blur || SHADOW_DEFAULTS[kind]),
    opacity: Number(look.shadow_opacity || "50") / 100,
    color: cssColor(look.shadow_color || "#000000"),
  };
}

/**
 * @param {Fields} look
 * @param {Size} canvas in pixels of the picture
 * @param {number} scale
 * @returns {Move}
 */
export function moveOf(look, canvas, scale) {
  return {
    x: lengthPixels(look.subject_x || "0", canvas.width) * scale,
    y: lengthPixels(look.subject_y || "0", canvas.height) * scale,
    scale: Number(look.subject_scale || "100") / 100,
    degrees: Number(look.subject_rotate || "0"),
  };
}

/**
 * Whether a move changes anything.
 * @param {Move} move
 */
export function moves({ x, y, scale, degrees }) {
  return x !== 0 || y !== 0 || scale !== 1 || degrees !== 0;
}

/**
 * The middle of a box.
 * @param {Frame} box
 * @returns {Point}
 */
export function middleOf(box) {
  return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
}

/**
 * Where a point of the unmoved subject is.
 * @param {Point} point
 * @param {Point} middle of the subject's box
 * @param {Move} move
 * @returns {Point}
 */
export function movedPoint(point, middle, move) {
  const angle = (move.degrees * Math.PI) / 180;
  const x = (point.x - middle.x) * move.scale;
  const y = (point.y - middle.y) * move.scale;
  return {
    x: middle.x + move.x + x * Math.cos(angle) - y * Math.sin(angle),
    y: middle.y + move.y + x * Math.sin(angle) + y * Math.cos(angle),
  };
}

/**
 * The ends of a gradient's line, and its colors, or null if the text is none.
 * @param {string} text
 * @param {Size} size
 */
export function gradientOf(text, size) {
  const [first, last, angle = "180"] = text.replaceAll(",", " ").trim().split(/\s+/);
  if (!first || !last) return null;
  const radians = (parseFloat(angle) * Math.PI) / 180;
  const across = Math.sin(radians);
  const down = -Math.cos(radians);
  const half = (Math.abs(size.width * across) + Math.abs(size.height * down)) / 2;
  const middle = { x: size.width / 2, y: size.height / 2 };
  return {
    from: { x: middle.x - across * half, y: middle.y - down * half },
    to: { x: middle.x + across * half, y: middle.y + down * half },
    colors: [cssColor(first), cssColor(last)],
  };
}

/**
 * The part of a picture that fills a canvas.
 * @param {Size} picture
 * @param {Size} canvas
 * @returns {Frame}
 */
export function coverPart(picture, canvas) {
  const scale = Math.max(canvas.width / picture.width, canvas.height / picture.height);
  const width = Math.min(canvas.width / scale, picture.width);
  const height = Math.min(canvas.height / scale, picture.height);
  return { x: (picture.width - width) / 2, y: (picture.height - height) / 2, width, height };
}

/**
 * The size at which a blurred background is computed, and the blur there.
 * @param {number} strength 1 to 100
 * @param {Size} size of the preview
 */
export function backgroundBlur(strength, size) {
  const sigma = (strength / 100) * STRONGEST_BLUR * Math.max(size.width, size.height);
  return { sigma: Math.min(sigma, WIDEST_SIGMA), size: reducedSize(size, sigma) };
}
