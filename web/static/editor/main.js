// The entry point: the page's component calls `start` with its element.

import { ApiClient, ApiError } from "./api.js";
import { Editor } from "./editor.js";
import { el } from "./elements.js";
import { Model } from "./model.js";

/**
 * Fills `root` with the editor.
 * @param {HTMLElement} root
 */
export async function start(root) {
  if (root.dataset.started) return;
  root.dataset.started = "yes";
  try {
    const tabs = new BroadcastChannel("bgeraser.projects");
    const client = new ApiClient(window.fetch.bind(window));
    const model = new Model(await client.session(), {
      client,
      storage: window.sessionStorage,
      location: window.location,
      browserHistory: window.history,
      sleep,
      announce: (projectId) => tabs.postMessage(projectId),
    });
    const editor = new Editor(root, model);
    tabs.addEventListener("message", ({ data }) => data === model.project?.id && model.synchronize());
    document.addEventListener("visibilitychange", () => !document.hidden && model.synchronize());
    window.addEventListener("focus", () => model.synchronize());
    window.addEventListener("popstate", () => model.navigate());
    window.addEventListener("online", () => model.resumeRun());
    model.canceller.resume();
    if (model.batchPlace) await editor.batch.navigate();
    else await model.resume();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const retry = el("button", { type: "button", onclick: () => window.location.reload() }, "Try again");
    root.replaceChildren(el("div", { class: "failed", role: "alert" }, el("p", {}, message), retry));
    root.setAttribute("aria-busy", "false");
    if (!(error instanceof ApiError)) throw error;
  }
}

/**
 * Resolves after a time, or as soon as the network is back.
 * @param {number} milliseconds
 * @returns {Promise<void>}
 */
function sleep(milliseconds) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      window.removeEventListener("online", end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    window.addEventListener("online", end);
  });
}
