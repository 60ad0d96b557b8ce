// Notices, and errors with what to do about them. Screen readers read them out. They are shown in the dialog or menu
// that is open: what is outside of it is behind it and cannot be operated.

import { el, iconButton } from "./elements.js";
import { ASK_OWNER, errorText } from "./error_texts.js";
import { packButtons } from "./packs.js";
import { isOfAnother } from "./roles.js";

/** @import { ApiError } from "./api.js" */
/** @import { Model } from "./model.js" */

/** A dialog or a menu above the page. */
const OPEN = "dialog[open], :popover-open";
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
    this.content = el("div", {}, this.polite, this.list);
    this.element = el("div", {}, this.content);
    // These events do not bubble.
    for (const name of ["close", "toggle"]) document.addEventListener(name, () => this.#placeAgain(), true);
    model.on("notice", (text) => this.showNotice(text));
    model.on("waiting", (text) => this.#showLasting(text));
    model.on("waited", (text) => this.#endLasting(text));
    model.on("error", (error) => this.showError(error));
    // What was said about one picture or run does not concern the next.
    let projectId = model.project?.id;
    model.on("project", () => {
      if (model.project?.id !== projectId) this.#replace();
      projectId = model.project?.id;
    });
    let stage = "";
    let isRunning = false;
    model.on("run", () => {
      if (model.run && !isRunning) this.#replace();
      isRunning = model.run !== null;
      // Screen readers read out a new stage, but not every percent of progress.
      if (model.run && model.run.stage !== stage) this.polite.textContent = model.run.stage;
      stage = model.run?.stage ?? "";
    });
  }

  /** Moves the messages to where the user looks. */
  #place() {
    const holder = [...document.querySelectorAll(OPEN)].at(-1) ?? this.element;
    if (holder !== this.content.parentElement) holder.append(this.content);
  }

  /** Moves the messages out of what was closed. */
  #placeAgain() {
    const holder = this.content.parentElement;
    if (holder !== this.element && !holder?.matches(OPEN)) this.#place();
  }

  /**
   * Notices that stay, and how much each of them is waiting for.
   * @type {Map<string, { message: HTMLElement, count: number }>}
   */
  #lasting = new Map();

  /**
   * Replaces the message that is shown. Notices that stay are above it.
   * @param {...HTMLElement} shown
   */
  #replace(...shown) {
    const lasting = [...this.#lasting.values()].map(({ message }) => message);
    this.list.replaceChildren(...lasting, ...shown);
  }

  /** @param {string} text */
  #showLasting(text) {
    const known = this.#lasting.get(text);
    if (known) {
      known.count += 1;
      return;
    }
    const message = el("div", { class: "message" }, el("p", {}, text));
    this.#lasting.set(text, { message, count: 1 });
    this.#place();
    this.polite.textContent = text;
    this.list.prepend(message);
  }

  /** @param {string} text */
  #endLasting(text) {
    const known = this.#lasting.get(text);
    if (!known) return;
    known.count -= 1;
    if (known.count > 0) return;
    this.#lasting.delete(text);
    known.message.remove();
  }

  /** @param {string} text */
  showNotice(text) {
    this.#place();
    this.polite.textContent = text;
    const message = el("div", { class: "message" }, el("p", {}, text));
    this.#replace(message);
    setTimeout(() => message.remove(), SHOWN_MS);
  }

  /**
   * The error that was shown last.
   * @type {{ error: unknown, element: HTMLElement } | null}
   */
  #shown = null;

  /**
   * Why a look cannot be shown.
   * @type {unknown}
   */
  #unshown = null;

  /**
   * Reports why a look cannot be shown, until it is, or another one.
   * @param {unknown} error
   */
  reportUnshown(error) {
    this.#unshown = error;
    this.model.reportError(error);
  }

  /** A look is shown. */
  forgetUnshown() {
    if (this.#unshown && this.#shown?.error === this.#unshown) this.#shown.element.remove();
    this.#unshown = null;
  }

  /** @param {Partial<ApiError>} error an API error, or any other that was thrown */
  showError(error) {
    this.#place();
    const { code = "" } = error;
    const shown = el(
      "div",
      { class: "message problem", role: "alert", "data-code": code },
      el(
        "p",
        {},
        code === "INSUFFICIENT_CREDITS" && isOfAnother(this.model.account) ? ASK_OWNER : textOf(error),
      ),
      this.#remedy(error),
      iconButton("Close", "close", () => shown.remove()),
    );
    this.#shown = { error, element: shown };
    this.#replace(shown);
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
    if (code === "INSUFFICIENT_CREDITS") {
      if (isOfAnother(this.model.account)) return null;
      const plans = link("See the plans", "/plans");
      const packs = packButtons(this.model.session, this.model.location);
      return packs ? el("div", { class: "remedies" }, packs, plans) : plans;
    }
    if (status === 401) return link("Log in", "/login?next=/app/");
    const isLong = typeof retryAfterSeconds === "number" && retryAfterSeconds > LONG_WAIT_SECONDS;
    return isLong && this.model.isGuest ? link("Sign up", "/signup?next=/app/") : null;
  }
}

/**
 * What to say about an error. The browser's own messages are for programmers, who find them in the console.
 * @param {Partial<ApiError>} error
 */
function textOf(error) {
  if (!(error instanceof DOMException || error instanceof TypeError)) return errorText(error);
  window.reportError(error);
  return errorText({});
}

/**
 * @param {string} text
 * @param {string} href
 */
function link(text, href) {
  return el("a", { class: "primary", href }, text);
}
