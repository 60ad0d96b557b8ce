// A button that asks before it acts.

import { el } from "../elements.js";

/**
 * @param {string} text
 * @param {object} options
 * @param {string} options.title of the question, for screen readers
 * @param {string} options.question
 * @param {string} options.yes
 * @param {() => void} options.onYes
 */
export function askingButton(text, { title, question, yes, onYes }) {
  const ask = () => {
    const keep = el("button", { type: "button", class: "quiet", onclick: () => close() }, "Keep it");
    const group = el(
      "span",
      { class: "row", role: "group", "aria-label": title },
      el("span", {}, question),
      el("button", { type: "button", class: "danger", onclick: onYes }, yes),
      keep,
    );
    const close = () => {
      group.replaceWith(button);
      button.focus();
    };
    button.replaceWith(group);
    keep.focus();
  };
  const button = el("button", { type: "button", class: "quiet", onclick: ask }, text);
  return button;
}
