// Colors to choose from in the panel: proposed ones, any other, and the user's own.

import { el, iconButton, newId } from "../elements.js";
import { quietButton } from "./tool.js";

/** @import { BrandColors } from "../brand_colors.js" */
/** @import { BgRemoval } from "./bg_removal.js" */

/**
 * Swatches of one parameter, a color input, and the user's own colors.
 * @param {BgRemoval} tool
 * @param {string} name of the parameter
 * @param {string} label
 * @param {string[]} colors
 */
export function buildColors({ controls, editor }, name, label, colors) {
  const color = controls.get(name);
  const custom = el("input", {
    id: newId("color"),
    type: "color",
    "aria-label": "Another color",
    value: /^#[0-9a-f]{6}$/i.test(color) ? color : colors[0],
    oninput: () => controls.set(name, custom.value),
  });
  const swatchOf = (/** @type {string} */ swatch) =>
    el("button", {
      type: "button",
      class: "swatch",
      "aria-label": `${label} ${swatch}`,
      title: swatch,
      style: `--swatch: ${swatch}`,
      onclick: () => {
        custom.value = swatch;
        controls.set(name, swatch);
      },
    });
  const swatches = el("div", { class: "swatches" }, colors.map(swatchOf), custom);
  return el("div", {}, swatches, buildBrandColors(editor.brandColors, swatchOf, custom));
}

/**
 * The user's own colors, with a button that keeps the chosen one.
 * @param {BrandColors} brandColors
 * @param {(color: string) => HTMLElement} swatchOf
 * @param {HTMLInputElement} custom
 */
function buildBrandColors(brandColors, swatchOf, custom) {
  const row = el("div", { class: "swatches brand", role: "group", "aria-label": "My colors" });
  const rebuild = () => {
    const remove = (/** @type {string} */ color) => async () => {
      await brandColors.remove(color);
      rebuild();
    };
    const kept = brandColors.all.map((color) =>
      el("span", { class: "kept" }, swatchOf(color), iconButton(`Forget ${color}`, "close", remove(color))),
    );
    const keep = quietButton("Keep color", async () => {
      await brandColors.add(custom.value);
      rebuild();
    });
    row.replaceChildren(...kept, ...(brandColors.isFull ? [] : [keep]));
  };
  rebuild();
  return row;
}
