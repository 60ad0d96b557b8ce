// What opens above the picture: the same with the API, and help.

import * as api from "./api.js";
import { el, iconButton, segments } from "./elements.js";
import { LANGUAGES, snippet } from "./snippets.js";

const KEYS = [
  ["[  ]", "Smaller, larger brush"],
  ["Ctrl+Z", "Undo"],
  ["Ctrl+Shift+Z", "Redo"],
  ["Tab, held", "Show the original"],
  ["Space, held", "Drag to move the picture"],
  ["Ctrl+S", "Download"],
  ["+  −  0", "Zoom in, out, fit"],
  ["Enter", "Apply"],
  ["Esc", "Stop, or clear what was marked"],
  ["1 … 7", "Choose a tool"],
  ["Alt+click", "Take away from a selection"],
  ["?", "This help"],
];

function dialog(title, ...content) {
  const element = el("dialog", { "aria-label": title });
  element.append(
    el(
      "header",
      {},
      el("h2", {}, title),
      iconButton("Close", "close", () => element.close()),
    ),
    ...content,
  );
  element.addEventListener("click", (event) => event.target === element && element.close());
  element.addEventListener("close", () => element.remove());
  return element;
}

export function showHelp(root) {
  const rows = KEYS.map(([keys, what]) =>
    el("tr", {}, el("th", { scope: "row" }, el("kbd", {}, keys)), el("td", {}, what)),
  );
  const help = dialog(
    "Keys",
    el("table", { class: "keys" }, el("tbody", {}, rows)),
    el(
      "p",
      { class: "note" },
      "Mouse wheel or two fingers zoom. Pictures stay 24 hours after their last use, then they are deleted.",
    ),
  );
  root.append(help);
  help.showModal();
}

/** The chosen tool with its present settings as a command. `example`: {tool, params, stepId?}. */
export function showApi(root, model, example, source) {
  let language = LANGUAGES[0];
  let key = null;
  const code = el("code", {});
  const block = el("pre", { tabindex: "0", "aria-label": "Command" }, code);
  const show = () => {
    const { tool, params } = example;
    code.textContent = snippet(language, {
      origin: location.origin,
      tool,
      params,
      imageId: source.imageId,
      key,
    });
  };
  const copy = el("button", { type: "button", class: "primary" }, "Copy");
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(code.textContent);
    copy.textContent = "Copied";
    setTimeout(() => (copy.textContent = "Copy"), 1500);
  });
  const languages = Object.fromEntries(LANGUAGES.map((name) => [name, name]));
  const choose = (name) => {
    language = name;
    show();
  };
  const make = el("button", { type: "button", class: "quiet" }, "Make a key and put it in");
  make.addEventListener("click", async () => {
    make.disabled = true;
    try {
      key = (await api.makeKey("Editor")).key;
      show();
      make.replaceWith(
        el(
          "p",
          { class: "note" },
          "A new key is in the text above. It is shown this once; the dashboard can revoke it.",
        ),
      );
    } catch (refusal) {
      make.disabled = false;
      model.problem(refusal);
    }
  });
  const intro = el(
    "p",
    { class: "note" },
    "The tool with its present settings. Running this costs 1 credit and gives the same bytes as the button.",
  );
  const opened = dialog(
    "The same with the API",
    intro,
    segments("Language", languages, language, choose),
    block,
    el(
      "div",
      { class: "row" },
      copy,
      model.isGuest ? el("a", { class: "quiet", href: "/signup" }, "Sign up for a key") : make,
    ),
    el("p", { class: "note" }, el("a", { href: "/docs" }, "API reference")),
  );
  show();
  root.append(opened);
  opened.showModal();
}
