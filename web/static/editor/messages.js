// Notices, and errors with what to do about them. Screen readers read them out.

import { el, iconButton } from "./elements.js";
import { errorText } from "./error_texts.js";

/** @import { ApiError } from "./api.js" */
/** @import { Model } from "./model.js" */

const SHOWN_MS = 5000;
const ERROR_SHOWN_MS = 30_000;
/** Guests who had to wait longer than this for what is free for them may sign up instead. */
const LONG_WAIT_SECONDS = 120;

export class Messages {
  /** @param {Model} model */
  constructor(model) {
    this.model = model;
    this.polite = el("div", { class: "visually-hidden", role: "status", "aria-live": "polite" });
    this.list = el("div", { class: "messages" });
    this.element = el("div", {}, this.polite, this.list);
    model.on("notice", (text) => this.showNotice(text));
    model.on("error", (error) => this.showError(error));
    // What was said about one picture or run does not concern the next.
    let projectId = model.project?.id;
    model.on("project", () => {
      if (model.project?.id !== projectId) this.list.replaceChildren();
      projectId = model.project?.id;
    });
    let stage = "";
    let isRunning = false;
    model.on("run", () => {
      if (model.run && !isRunning) this.list.replaceChildren();
      isRunning = model.run !== null;
      // Screen readers read out a new stage, but not every percent of progress.
      if (model.run && model.run.stage !== stage) this.polite.textContent = model.run.stage;
      stage = model.run?.stage ?? "";
    });
  }

  /** @param {string} text */
  showNotice(text) {
    this.polite.textContent = text;
    const message = el("div", { class: "message" }, el("p", {}, text));
    this.list.replaceChildren(message);
    setTimeout(() => message.remove(), SHOWN_MS);
  }

  /** @param {Partial<ApiError>} error an API error, or any other that was thrown */
  showError(error) {
    const { code = "" } = error;
    const shown = el(
      "div",
      { class: "message problem", role: "alert", "data-code": code },
      el("p", {}, errorText(error)),
      this.#remedy(error),
      iconButton("Close", "close", () => shown.remove()),
    );
    this.list.replaceChildren(shown);
    const expire = () => {
      // Not while its button or link has the focus.
      if (shown.contains(document.activeElement)) setTimeout(expire, SHOWN_MS);
      else shown.remove();
    };
    setTimeout(expire, ERROR_SHOWN_MS);
  }

  /**
   * A link to where the user can resolve the error.
   * @param {Partial<ApiError>} error
   */
  #remedy({ code, status, retryAfterSeconds }) {
    if (code === "INSUFFICIENT_CREDITS") return link("See the plans", "/plans");
    if (status === 401) return link("Log in", "/login?next=/app/");
    const isLong = typeof retryAfterSeconds === "number" && retryAfterSeconds > LONG_WAIT_SECONDS;
    return isLong && this.model.isGuest ? link("Sign up", "/signup?next=/app/") : null;
  }
}

/**
 * @param {string} text
 * @param {string} href
 */
function link(text, href) {
  return el("a", { class: "primary", href }, text);
}
