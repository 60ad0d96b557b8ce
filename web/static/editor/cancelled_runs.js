// The runs that the user has cancelled and whose end the server has not confirmed yet. They are kept as long as the
// browser's tab.

/** @import { RunBody } from "./types.js" */

/**
 * A run is cancelled by its key; by its id if another tab started it.
 * @typedef {{ projectId: string, title: string } & (
 *   { key: string, body: RunBody, runId?: undefined } | { key?: undefined, runId: string }
 * )} CancelledRun
 */

const STORAGE_KEY = "bgeraser.cancelled-runs";

/** @param {CancelledRun} run */
export const nameOf = (run) => run.key ?? run.runId;

export class CancelledRuns {
  /** @param {Pick<Storage, "getItem" | "setItem" | "removeItem">} storage */
  constructor(storage) {
    this.storage = storage;
  }

  /** @returns {CancelledRun[]} */
  all() {
    return JSON.parse(this.storage.getItem(STORAGE_KEY) ?? "[]");
  }

  /** @param {CancelledRun} run */
  has(run) {
    return this.all().some((one) => nameOf(one) === nameOf(run));
  }

  /** @param {CancelledRun} run */
  keep(run) {
    this.storage.setItem(STORAGE_KEY, JSON.stringify([...this.all(), run]));
  }

  /** @param {CancelledRun} run */
  forget(run) {
    const others = this.all().filter((one) => nameOf(one) !== nameOf(run));
    if (others.length) this.storage.setItem(STORAGE_KEY, JSON.stringify(others));
    else this.storage.removeItem(STORAGE_KEY);
  }
}
