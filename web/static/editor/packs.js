// Buttons that buy credits on Stripe's page, from where the browser comes back to the same picture.

import { el } from "./elements.js";
import { credits } from "./words.js";

/** @import { Session } from "./types.js" */

/**
 * A form for each pack on sale; null if none is.
 * @param {Pick<Session, "packs" | "csrfToken">} session
 * @param {Pick<Location, "pathname" | "search" | "hash">} place where to come back to
 * @param {(filled: HTMLFormElement) => void} [submit] submits the form, after what must be done before leaving
 */
export function packButtons({ packs, csrfToken }, place, submit = (filled) => filled.submit()) {
  if (!packs.length) return null;
  return el("div", { class: "packs", role: "group", "aria-label": "Buy credits" }, packs.map(form));

  /** @param {SubmitEvent} event */
  function later(event) {
    event.preventDefault();
    if (event.currentTarget instanceof HTMLFormElement) submit(event.currentTarget);
  }

  /** @param {Session["packs"][number]} pack */
  function form(pack) {
    const next = `${place.pathname}${place.search}${place.hash}`;
    return el(
      "form",
      {
        method: "post",
        action: `/packs/${pack.credits}/checkout`,
        onsubmit: later,
      },
      el("input", { type: "hidden", name: "csrf_token", value: csrfToken }),
      el("input", { type: "hidden", name: "next", value: next }),
      el("button", { type: "submit" }, packText(pack)),
    );
  }
}

/**
 * "Buy 1,000 credits, $39.00"
 * @param {Session["packs"][number]} pack
 */
export function packText(pack) {
  return `Buy ${credits(pack.credits)}, ${pack.price}`;
}
