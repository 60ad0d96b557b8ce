// Where the editor begins: the page's component calls `start` with its element.

import * as api from "./api.js";
import { Editor } from "./editor.js";
import { el } from "./elements.js";

/** Fills `root` with the editor. */
export async function start(root) {
  if (root.dataset.started) return;
  root.dataset.started = "yes";
  try {
    const editor = new Editor(root, await api.session());
    await editor.model.resume();
  } catch (refusal) {
    const again = el("button", { type: "button", onclick: () => location.reload() }, "Try again");
    root.replaceChildren(el("div", { class: "failed", role: "alert" }, el("p", {}, refusal.message), again));
    root.setAttribute("aria-busy", "false");
    if (!refusal.code) throw refusal;
  }
}
