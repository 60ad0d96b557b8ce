// The runs whose outcome is unknown, by project, so that none is paid twice. They are kept as long as the browser's tab.

/** @import { RunBody } from "./types.js" */

/** @typedef {{ body: RunBody, title: string, key: string }} PendingRun */

const STORAGE_KEY = "bgeraser.pending-runs";

export class PendingRuns {
  /** @param {Pick<Storage, "getItem" | "setItem" | "removeItem">} storage */
  constructor(storage) {
    this.storage = storage;
  }

  /**
   * @param {string} projectId
   * @returns {PendingRun | null}
   */
  of(projectId) {
    return this.#all()[projectId] ?? null;
  }

  /**
   * @param {string} projectId
   * @param {PendingRun} run
   */
  keep(projectId, run) {
    this.storage.setItem(STORAGE_KEY, JSON.stringify({ ...this.#all(), [projectId]: run }));
  }

  /** @param {string} projectId */
  forget(projectId) {
    const { [projectId]: _, ...others } = this.#all();
    if (Object.keys(others).length) this.storage.setItem(STORAGE_KEY, JSON.stringify(others));
    else this.storage.removeItem(STORAGE_KEY);
  }

  /** @returns {Record<string, PendingRun>} */
  #all() {
    return JSON.parse(this.storage.getItem(STORAGE_KEY) ?? "{}");
  }
}

/**
 * An idempotency key of 128 random bits. `crypto.randomUUID` does not exist on pages without TLS.
 */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
