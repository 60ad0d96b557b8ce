// A long list a page at a time: hundreds of pictures would make the browser slow.

import { el } from "../elements.js";

export const PAGE_SIZE = 50;

/**
 * Buttons to the pages of a list; null if there is only one.
 * @param {number} page from 0
 * @param {boolean} hasMore
 * @param {string} range such as "1–50 of 500"
 * @param {(page: number) => void} onChoose
 */
export function pager(page, hasMore, range, onChoose) {
  if (page === 0 && !hasMore) return null;
  const button = (/** @type {string} */ text, /** @type {number} */ to, /** @type {boolean} */ isDisabled) =>
    el("button", { type: "button", class: "quiet", disabled: isDisabled, onclick: () => onChoose(to) }, text);
  return el(
    "nav",
    { class: "pager", "aria-label": "Pages" },
    button("Previous", page - 1, page === 0),
    el("span", { role: "status" }, range),
    button("Next", page + 1, !hasMore),
  );
}

/**
 * "51–100 of 500".
 * @param {number} page
 * @param {number} shown
 * @param {number | null} total null if it is not known
 */
export function rangeText(page, shown, total) {
  const first = page * PAGE_SIZE + 1;
  return `${first}–${first + shown - 1}${total === null ? "" : ` of ${total}`}`;
}
