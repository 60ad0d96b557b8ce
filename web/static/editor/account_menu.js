// The account in the top bar: its credits, and a menu with its pages.

import { el, newId } from "./elements.js";

/** @import { Account } from "./types.js" */

/** @type {[string, string][]} */
const PAGES = [
  ["Dashboard and API keys", "/app/dashboard"],
  ["Plans", "/plans"],
  ["Settings", "/settings"],
];
/** What members and viewers of somebody's account have.
 * @type {[string, string][]} */
const MEMBERS_PAGES = [
  ["Dashboard", "/app/dashboard"],
  ["Settings", "/settings"],
];

/**
 * The button with the credits, and the menu that it opens.
 * @param {Account} account
 * @param {string} csrfToken
 * @param {() => void} onLogOut called before the page is left
 */
export function accountMenu(account, csrfToken, onLogOut) {
  const { creditsAvailable, email, isVerified } = account;
  const id = newId("account");
  const unit = creditsAvailable === 1 ? " credit" : " credits";
  const text = [el("strong", {}, `${creditsAvailable}`), el("span", { class: "unit" }, unit)];
  const button = el(
    "button",
    { type: "button", class: "account-button", title: `Account of ${email}`, popovertarget: id },
    el("span", {}, ...text),
  );
  const logOut = el(
    "form",
    { method: "post", action: "/logout", onsubmit: onLogOut },
    el("input", { type: "hidden", name: "csrf_token", value: csrfToken }),
    el("button", { type: "submit" }, "Log out"),
  );
  const isOwn = account.role === "owner";
  const menu = el(
    "nav",
    { class: "account-menu", id, popover: "auto", "aria-label": "Account" },
    el("p", {}, el("strong", {}, email), isOwn ? [el("br", {}), describe(account)] : null),
    isOwn ? null : el("p", { class: "note" }, `In the account of ${chosen(account)}, as a ${account.role}.`),
    isVerified ? null : el("p", { class: "note" }, "Confirm your address to receive the free credits."),
    account.places.length > 1 ? accountSwitch(account, csrfToken, onLogOut) : null,
    (isOwn ? PAGES : MEMBERS_PAGES).map(([label, href]) => el("a", { href }, label)),
    logOut,
  );
  return [button, menu];
}

/**
 * Chooses the account to work in.
 * @param {Account} account
 * @param {string} csrfToken
 * @param {() => void} onLeave called before the page is left
 */
function accountSwitch(account, csrfToken, onLeave) {
  return el(
    "form",
    { class: "account-switch", method: "post", action: "/accounts/choose", onsubmit: onLeave },
    el("input", { type: "hidden", name: "csrf_token", value: csrfToken }),
    el("input", { type: "hidden", name: "next", value: "/app/" }),
    el("p", {}, "Work in"),
    account.places.map(({ accountId, email, role, isChosen }) =>
      el(
        "button",
        { type: "submit", name: "account_id", value: accountId, "aria-current": isChosen ? "true" : null },
        `${email}, ${role === "owner" ? "your own" : role}`,
      ),
    ),
  );
}

/** @param {Account} account */
function chosen(account) {
  return account.places.find((place) => place.isChosen)?.email;
}

/** @param {Account} account */
export function describe({ plan, renewsAt }) {
  const name = `${plan.charAt(0).toUpperCase()}${plan.slice(1)} plan`;
  if (!renewsAt) return name;
  const day = new Date(renewsAt).toLocaleDateString(undefined, { day: "numeric", month: "long" });
  return `${name}, new credits on ${day}`;
}
