// What is said in passing: notices, and problems with what to do about them. Read out by screen readers.

import { el, iconButton } from "./elements.js";

const SHOWN_MS = 5000;

/** What people are told instead of, or after, the API's own words. */
const WORDS = {
  INSUFFICIENT_CREDITS: "No credits are left.",
  UNREADABLE_IMAGE: "This file cannot be read as a picture. It may be damaged.",
  UNSUPPORTED_FORMAT: "This kind of file cannot be opened. JPEG, PNG, WebP, AVIF and HEIC can.",
  OVERLOADED: "Many people are working at the moment. Nothing was charged; please try again shortly.",
  PROCESSING_FAILED: "That did not work out. Nothing was charged; please try again.",
  INTERNAL_ERROR: "Something went wrong on our side. Nothing was charged.",
};

export class Messages {
  constructor(model) {
    this.polite = el("div", { class: "visually-hidden", role: "status", "aria-live": "polite" });
    this.list = el("div", { class: "messages" });
    this.element = el("div", {}, this.polite, this.list);
    model.on("notice", (text) => this.notice(text));
    model.on("problem", (refusal) => this.problem(refusal));
    let stage = "";
    model.on("run", () => {
      // Stages are read out, not every hundredth of them.
      if (model.run && model.run.stage !== stage) this.polite.textContent = model.run.stage;
      stage = model.run?.stage ?? "";
    });
  }

  notice(text) {
    this.polite.textContent = text;
    const shown = el("div", { class: "message" }, el("p", {}, text));
    this.list.replaceChildren(shown);
    setTimeout(() => shown.remove(), SHOWN_MS);
  }

  problem(refusal) {
    const text = WORDS[refusal.code] ?? refusal.message ?? "Something went wrong.";
    const code = refusal.code ? el("code", {}, refusal.code) : null;
    const shown = el(
      "div",
      { class: "message problem", role: "alert" },
      el("p", {}, text, " ", code),
      wayOut(refusal.code, refusal.status),
      iconButton("Close", "close", () => shown.remove()),
    );
    this.list.replaceChildren(shown);
  }
}

function wayOut(code, status) {
  if (code === "INSUFFICIENT_CREDITS") return el("a", { class: "primary", href: "/plans" }, "See the plans");
  if (status === 401) return el("a", { class: "primary", href: "/login?next=/app/" }, "Sign in");
  return null;
}
