// Copying to the clipboard. The asynchronous clipboard exists on pages with TLS or on this machine only; elsewhere
// the browser's older copy command does the same for what is selected.

import { el } from "./elements.js";

/**
 * Copies a text. Returns whether it was copied.
 * @param {string} text
 */
export async function copyText(text) {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // The permission may be denied; the command needs none.
    }
  }
  const area = el("textarea", { class: "visually-hidden", "aria-hidden": "true", tabindex: "-1" });
  area.value = text;
  return copySelected(area, () => area.select());
}

/**
 * Copies a picture, a PNG that may still be loading. Returns whether it was copied. Raises what loading it raises.
 * @param {Promise<Blob>} png
 */
export async function copyPicture(png) {
  if (navigator.clipboard && "ClipboardItem" in window) {
    try {
      await navigator.clipboard.write([new ClipboardItem({ "image/png": png })]);
      return true;
    } catch {
      // As above, or the picture could not be loaded, which is reported below.
    }
  }
  const image = el("img", { src: await dataUrl(await png), alt: "" });
  await image.decode();
  const holder = el("div", { class: "visually-hidden", contenteditable: "true", tabindex: "-1" }, image);
  return copySelected(holder, () => {
    const range = document.createRange();
    range.selectNodeContents(holder);
    window.getSelection()?.removeAllRanges();
    window.getSelection()?.addRange(range);
  });
}

/**
 * Copies what `select` selects in an element that is added for this moment.
 * @param {HTMLElement} element
 * @param {() => void} select
 */
function copySelected(element, select) {
  const focused = document.activeElement;
  // Outside an open dialog nothing can be selected.
  (document.querySelector("dialog[open]") ?? document.body).append(element);
  element.focus();
  select();
  const isCopied = document.execCommand("copy");
  element.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return isCopied;
}

/**
 * @param {Blob} blob
 * @returns {Promise<string>}
 */
function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(/** @type {string} */ (reader.result)));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(blob);
  });
}
