// Named presets as thumbnails: the frame, the object's share of it and the background that each rules.

import { el } from "../elements.js";

/** @import { Fields, Preset } from "../types.js" */

/** Every parameter that a preset may rule. Choosing one resets them, so that nothing of another look stays. */
const FRAME = ["output_size", "scale", "position", "dpi", "crop", "crop_margin"];
const SUBJECT = ["subject_x", "subject_y", "subject_scale", "subject_rotate"];
const SHADOW = ["shadow_opacity", "shadow_color", "shadow_blur", "shadow_x", "shadow_y"];
const DRESSING = [
  "outline_width",
  "outline_color",
  "bg_gradient",
  "bg_scene",
  "bg_blur",
  "bg_color",
  ...SHADOW,
];

/**
 * The fields of a look after a preset was chosen. One that rules the background also rules out shadow and outline.
 * @param {Partial<Fields>} values
 * @param {Preset | null} preset null to leave every preset
 * @returns {Partial<Fields>}
 */
export function withPreset(values, preset) {
  /** @type {Partial<Fields>} */
  const changed = { ...values, preset: preset?.name ?? "" };
  for (const name of [...FRAME, ...SUBJECT]) changed[name] = "";
  if (preset?.background) {
    for (const name of DRESSING) changed[name] = "";
    changed.shadow = "none";
    changed.bg_color = preset.background;
  }
  return changed;
}

/**
 * The thumbnail's frame and object in percent of the thumbnail.
 * @param {Fields} fields of the preset
 */
export function thumbnailOf({ output_size: size = "1x1", scale = "80%", position = "center" }) {
  const [width, height] = size.split("x").map(Number);
  const longer = Math.max(width, height);
  return {
    width: (100 * width) / longer,
    height: (100 * height) / longer,
    object: parseFloat(scale),
    isAtBottom: position.endsWith("100%"),
  };
}

/**
 * @param {Preset[]} presets
 * @param {string} chosen
 * @param {(preset: Preset | null) => void} onChoose
 */
export function presetChooser(presets, chosen, onChoose) {
  const rule = el("p", { class: "note" }, presets.find((one) => one.name === chosen)?.rule ?? "");
  const buttons = presets.map((preset) => {
    const isChosen = preset.name === chosen;
    const shape = thumbnailOf(preset.fields);
    const object = el("span", { class: shape.isAtBottom ? "object bottom" : "object" });
    object.style.setProperty("--share", `${shape.object}%`);
    const frame = el("span", { class: preset.background ? "frame" : "frame checker" }, object);
    frame.style.width = `${shape.width}%`;
    frame.style.height = `${shape.height}%`;
    if (preset.background) frame.style.background = preset.background;
    return el(
      "button",
      {
        type: "button",
        class: "preset",
        title: preset.rule,
        "aria-pressed": `${isChosen}`,
        "data-preset": preset.name,
        onclick: () => onChoose(isChosen ? null : preset),
      },
      el("span", { class: "mat", "aria-hidden": "true" }, frame),
      el("span", {}, preset.title),
    );
  });
  return el(
    "div",
    { class: "field" },
    el("span", { class: "label" }, "Made for"),
    el("div", { class: "presets", role: "group", "aria-label": "Made for" }, buttons),
    rule,
    chosen
      ? el("p", { class: "note" }, "Sizes as published, by our reading. Nobody has approved them.")
      : null,
  );
}
