// Modal dialogs: the API equivalent of the current settings, and help.

import { copyText } from "./clipboard.js";
import { el, iconButton, segments } from "./elements.js";
import { LANGUAGES, snippet } from "./snippets.js";
import { credits } from "./words.js";

/** @import { Model } from "./model.js" */
/** @import { Fields, Step } from "./types.js" */

const COPIED_MS = 1500;
const SHORTCUTS = [
  ["[  ]", "Smaller or larger brush"],
  ["Ctrl+Z", "Undo"],
  ["Ctrl+Shift+Z", "Redo"],
  ["Hold O", "Show the original"],
  ["Hold Space", "Drag to pan"],
  ["Ctrl+S", "Download"],
  ["+  −  0", "Zoom in, zoom out, fit"],
  ["Arrow keys", "Move the subject of a cut-out, faster with Shift"],
  ["Enter", "Apply"],
  ["Esc", "Cancel, or clear what you marked"],
  ["1 … 7", "Choose a tool"],
  ["Alt+click", "Subtract from a selection"],
  ["?", "This help"],
];

/**
 * Shows a dialog; closing it removes it from the page.
 * @param {HTMLElement} root
 * @param {string} title
 * @param {...Node} content
 */
function showDialog(root, title, ...content) {
  const element = el(
    "dialog",
    { "aria-label": title },
    el(
      "header",
      {},
      el("h2", {}, title),
      iconButton("Close", "close", () => element.close()),
    ),
    content,
  );
  element.addEventListener("click", (event) => event.target === element && element.close());
  element.addEventListener("close", () => element.remove());
  root.append(element);
  element.showModal();
}

/**
 * @param {HTMLElement} root
 * @param {Model} model
 */
export function showHelp(root, model) {
  const rows = SHORTCUTS.map(([keys, action]) =>
    el("tr", {}, el("th", { scope: "row" }, el("kbd", {}, keys)), el("td", {}, action)),
  );
  showDialog(
    root,
    "Keys",
    el("table", { class: "keys" }, el("tbody", {}, rows)),
    el(
      "p",
      { class: "note" },
      `Zoom with the mouse wheel or two fingers. Pictures are deleted ${model.limits.retentionHours} hours after`,
      " their last use.",
    ),
  );
}

/**
 * Shows how to make an API call with the tool's current settings.
 * @param {HTMLElement} root
 * @param {Model} model
 * @param {{ tool: string, params: Fields }} example
 * @param {Step} source the step that the call edits
 */
export function showApi(root, model, example, source) {
  let language = LANGUAGES[0];
  /** @type {string | null} */
  let key = null;
  const code = el("code", {});
  const show = () => {
    const { origin } = window.location;
    code.textContent = snippet(language, { origin, ...example, imageId: source.imageId, key });
  };
  const copy = el("button", { type: "button", class: "primary" }, "Copy");
  copy.addEventListener("click", async () => {
    const isCopied = await copyText(code.textContent ?? "");
    copy.textContent = isCopied ? "Copied" : "Press Ctrl+C";
    if (!isCopied) window.getSelection()?.selectAllChildren(code);
    setTimeout(() => (copy.textContent = "Copy"), COPIED_MS);
  });
  const create = el("button", { type: "button", class: "quiet" }, "Make a key and insert it");
  create.addEventListener("click", async () => {
    create.disabled = true;
    try {
      key = (await model.client.createKey("Editor")).key;
      show();
      create.replaceWith(
        el(
          "p",
          { class: "note" },
          "A new key is in the text above. It is shown only this once; you can revoke it on the dashboard.",
        ),
      );
    } catch (error) {
      create.disabled = false;
      model.reportError(error);
    }
  });
  const cost = credits(model.limits.creditsPerRun);
  const languages = Object.fromEntries(LANGUAGES.map((name) => [name, name]));
  show();
  showDialog(
    root,
    "The same with the API",
    el(
      "p",
      { class: "note" },
      `The tool with its current settings. Running this costs ${cost} and gives the same bytes as the button.`,
    ),
    segments("Language", languages, language, (name) => {
      language = /** @type {typeof language} */ (name);
      show();
    }),
    el("pre", { tabindex: "0", "aria-label": "Command" }, code),
    el(
      "div",
      { class: "row" },
      copy,
      model.isGuest ? el("a", { class: "quiet", href: "/signup" }, "Sign up for a key") : create,
    ),
    el("p", { class: "note" }, el("a", { href: "/docs" }, "API reference")),
  );
}
