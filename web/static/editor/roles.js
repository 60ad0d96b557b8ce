// What a person's role in the chosen account allows. The server checks it; this decides what is shown.

/** @import { Account } from "./types.js" */

/**
 * Whether this is somebody else's account, whose credits only its owner can buy.
 * @param {Account | null} account null for a guest
 */
export function isOfAnother(account) {
  return account !== null && account.role !== "owner";
}

/**
 * Whether everything may be seen and nothing changed.
 * @param {Account | null} account null for a guest
 */
export function isViewer(account) {
  return account?.role === "viewer";
}
