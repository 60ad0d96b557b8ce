// The tools' settings in everyday words. The API's names and its text syntaxes ("10%", "x% y%", "800x600") stay in the
// API: here they are sliders, number fields and color pickers.

/** @import { ControlSpec } from "./schema.js" */

/**
 * @typedef {object} Words
 * @property {string} label
 * @property {string} [help]
 * @property {Record<string, string>} [options] the texts of a choice's values
 * @property {"percent" | "position" | "size" | "color"} [kind] the control, instead of a text field
 * @property {number} [min] of a percentage
 * @property {number} [max]
 * @property {number | string} [shown] what the control shows while nothing is chosen
 * @property {(get: (name: string) => string) => boolean} [applies] whether it has an effect with the other settings
 */

/** @type {Record<string, Words>} */
const WORDS = {
  shift_edge: {
    label: "Move the edge",
    help: "To the left: closer to the subject. To the right: farther out.",
  },
  feather: { label: "Soft edge", help: "How far the edge fades to either side, in pixels." },
  decontaminate: {
    label: "Clean the edge",
    help: "Removes background color that shows along hair and edges.",
  },
  crop: { label: "Crop to the subject" },
  crop_margin: {
    label: "Room around the subject",
    kind: "percent",
    min: 0,
    max: 100,
    shown: 0,
    applies: (get) => get("crop") === "true",
  },
  scale: { label: "Size of the subject", kind: "percent", min: 10, max: 100, shown: 100 },
  position: { label: "Place of the subject", kind: "position" },
  output_size: { label: "Size of the picture", help: "In pixels.", kind: "size" },
  outline_width: {
    label: "Outline",
    help: "As around a sticker.",
    kind: "percent",
    min: 0,
    max: 10,
    shown: 0,
  },
  outline_color: {
    label: "Color of the outline",
    kind: "color",
    shown: "#ffffff",
    applies: (get) => get("outline_width") !== "",
  },
  shadow_color: { label: "Color of the shadow", kind: "color", shown: "#000000" },
  shadow_blur: { label: "Softness of the shadow", kind: "percent", min: 0, max: 20, shown: 5 },
  shadow_x: { label: "Shadow to the right", kind: "percent", min: -20, max: 20, shown: 1.5 },
  shadow_y: { label: "Shadow downwards", kind: "percent", min: -20, max: 20, shown: 3.5 },
  target_width: { label: "Width in pixels", help: "Instead of a factor. The shape stays as it is." },
  target_height: { label: "Height in pixels" },
  mode: { label: "Speed or quality" },
  seed: { label: "Version", help: "Another number gives another result." },
  grow_mask: {
    label: "Room around your marks",
    help: "How many pixels more than you marked are replaced. More helps with shadows and edges.",
  },
  overlap: { label: "Blend into the picture", help: "How many pixels of the picture's edge are blended." },
  negative_prompt: { label: "What should not be there" },
  steps: { label: "Effort", help: "More takes longer." },
  guidance_scale: { label: "How closely to follow your words" },
  strength: { label: "How much may change" },
  grow: { label: "Grow or shrink", help: "In pixels." },
  invert: { label: "Select everything else" },
  resize: { label: "Size of the picture", help: "In pixels.", kind: "size" },
  fit: {
    label: "If the shape differs",
    options: { contain: "Fit inside", cover: "Cut off", pad: "Add a border" },
  },
  pad_color: {
    label: "Color of the border",
    kind: "color",
    shown: "#ffffff",
    applies: (get) => get("fit") === "pad",
  },
};

/** Settings that only make sense as text, or for files that were not opened in the editor. */
const ONLY_IN_THE_API = ["roi", "dpi", "keep_metadata"];

/**
 * The words of a setting; null for one that is only in the API.
 * @param {ControlSpec} spec
 * @returns {Words | null}
 */
export function wordsOf(spec) {
  if (ONLY_IN_THE_API.includes(spec.name)) return null;
  return WORDS[spec.name] ?? { label: spec.label, help: spec.help };
}

/**
 * What the panel calls a setting; undefined for one without words of its own.
 * @param {string} name
 */
export function labelOfSetting(name) {
  return WORDS[name]?.label;
}

/**
 * Whether a setting has an effect with the other ones: the server refuses one that has none.
 * @param {string} name
 * @param {(name: string) => string} get
 */
export function applies(name, get) {
  const words = WORDS[name];
  return !words?.applies || words.applies(get);
}

/**
 * "10%" as 10; the number that is shown if nothing was chosen.
 * @param {string} value
 * @param {number} shown
 */
export function percentOf(value, shown) {
  const percent = Number.parseFloat(value);
  return value.endsWith("%") && Number.isFinite(percent) ? percent : shown;
}

/**
 * "30% 60%" as two numbers; the middle for anything else.
 * @param {string} value
 */
export function positionOf(value) {
  const parts = value.split(" ");
  return parts.length === 2 ? parts.map((part) => percentOf(part, 50)) : [50, 50];
}

/**
 * "800x600" from two fields, or "" while one of them is empty.
 * @param {string} width
 * @param {string} height
 */
export function sizeText(width, height) {
  const isWhole = (/** @type {string} */ text) => /^[1-9]\d*$/.test(text);
  return isWhole(width) && isWhole(height) ? `${width}x${height}` : "";
}

/**
 * "1 credit", "2 credits".
 * @param {number} count
 */
export function credits(count) {
  return count === 1 ? "1 credit" : `${count} credits`;
}
