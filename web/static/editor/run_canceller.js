// Lets the server cancel what the user has cancelled: again and again until it answers, also after a reload. It may have
// received the run although it did not answer, or may receive it yet.

import { ApiError, isMissing } from "./api.js";
import { CancelledRuns, nameOf } from "./cancelled_runs.js";
import { isInterrupted, isUnfinished } from "./run_answers.js";
import { RETRY_DELAYS_MS, RunWatch } from "./run_watch.js";

/** @import { CancelledRun } from "./cancelled_runs.js" */
/** @import { Model } from "./model.js" */
/** @import { PendingRun } from "./pending_runs.js" */
/** @import { ActiveRun, Run } from "./types.js" */

/** @param {string} title */
const waitingText = (title) =>
  `${title}: cancelled. If the server had received it already, it is stopped as soon as the connection is back.`;

export class RunCanceller {
  /** The names of the runs that the server is being asked to cancel. */
  #asked = new Set();
  /**
   * The run that the page shows until it has ended.
   * @type {{ cancelled: CancelledRun, watch: RunWatch } | null}
   */
  #shown = null;

  /**
   * @param {Model} model
   * @param {(projectId: string, title: string, run: Run) => void} onEnd gets a run that is not shown any more
   */
  constructor(model, onEnd) {
    this.model = model;
    this.onEnd = onEnd;
    this.runs = new CancelledRuns(model.storage);
  }

  /**
   * Whether the end of a cancelled run of this project is unknown.
   * @param {string} projectId
   */
  isCancelling(projectId) {
    return this.runs.all().some((one) => one.projectId === projectId);
  }

  /**
   * @param {string} projectId
   * @param {ActiveRun} run
   * @param {PendingRun | null} pending how this tab has started it; else it has an id
   * @param {RunWatch} watch shows the run until it ends or is left
   */
  cancel(projectId, { title, id }, pending, watch) {
    const name = pending ? { key: pending.key, body: pending.body } : { runId: id ?? "" };
    const cancelled = { projectId, title, ...name };
    this.#shown = { cancelled, watch };
    this.runs.keep(cancelled);
    this.resume();
  }

  /** Asks for everything that is not confirmed, also from before the page was loaded. */
  resume() {
    for (const cancelled of this.runs.all()) void this.#ask(cancelled);
  }

  /**
   * The run has ended.
   * @param {RunWatch} watch
   */
  settle(watch) {
    if (this.#shown?.watch !== watch) return;
    this.runs.forget(this.#shown.cancelled);
    this.#shown = null;
  }

  /**
   * The run is shown no more: the server had not accepted it, or has forgotten it.
   * @param {RunWatch} watch
   * @param {string} title
   */
  leave(watch, title) {
    if (this.#shown?.watch === watch) {
      this.#shown = null;
      this.model.emit("waiting", waitingText(title));
      this.resume();
    } else if (!watch.mayHaveStarted) this.model.emit("notice", `${title}: cancelled. Nothing was charged.`);
  }

  /** @param {CancelledRun} cancelled */
  async #ask(cancelled) {
    const name = nameOf(cancelled);
    if (this.#asked.has(name)) return;
    this.#asked.add(name);
    try {
      const run = await this.#askUntilAnswered(cancelled);
      if (run) this.#end(cancelled, run);
    } catch (thrown) {
      // It was deleted with its project, or ended long ago. After other errors it is asked for by the next page.
      if (isMissing(thrown)) this.#forget(cancelled);
      this.model.reportError(thrown);
    } finally {
      this.#asked.delete(name);
    }
  }

  /**
   * The run once it has ended; null if its watch shows its end.
   * @param {CancelledRun} cancelled
   * @returns {Promise<Run | null>}
   */
  async #askUntilAnswered(cancelled) {
    const { client, sleep } = this.model;
    const { projectId } = cancelled;
    for (let attempt = 0; this.runs.has(cancelled); attempt += 1) {
      try {
        const run =
          cancelled.key === undefined
            ? await client.cancelRun(projectId, cancelled.runId)
            : await client.cancelRunOfKey(projectId, cancelled.key);
        if (!isUnfinished(run)) return run;
        if (this.#isFollowed(cancelled)) return null;
        const watch = new RunWatch(client, sleep, projectId, () => {}, true);
        // Charged, but its step is not stored: the server makes it of the answer that it has kept.
        if (run.status === "done" && !run.stepId && cancelled.key !== undefined)
          return await watch.start(cancelled.body, cancelled.key);
        const ended = await endOf(watch, run);
        if (ended) return ended;
      } catch (thrown) {
        if (!isWorthRepeating(thrown)) throw thrown;
      }
      await sleep(RETRY_DELAYS_MS[Math.min(attempt, RETRY_DELAYS_MS.length - 1)]);
    }
    return null;
  }

  /** @param {CancelledRun} cancelled */
  #isFollowed(cancelled) {
    if (!this.runs.has(cancelled)) return true; // it has ended meanwhile
    return this.#isShown(cancelled) && this.#shown?.watch.isFollowing === true;
  }

  /** @param {CancelledRun} cancelled */
  #isShown(cancelled) {
    return this.#shown !== null && nameOf(this.#shown.cancelled) === nameOf(cancelled);
  }

  /**
   * @param {CancelledRun} cancelled
   * @param {Run} run
   */
  #end(cancelled, run) {
    if (!this.runs.has(cancelled)) return;
    if (this.#isShown(cancelled)) this.#shown?.watch.end(run);
    else {
      this.#forget(cancelled);
      this.onEnd(cancelled.projectId, cancelled.title, run);
    }
  }

  /** @param {CancelledRun} cancelled */
  #forget(cancelled) {
    if (this.#isShown(cancelled)) this.#shown = null;
    this.runs.forget(cancelled);
    this.model.emit("waited", waitingText(cancelled.title));
  }
}

/**
 * The run once it has ended; null if the server has forgotten it.
 * @param {RunWatch} watch
 * @param {Run} run
 */
async function endOf(watch, run) {
  try {
    return await watch.untilEnded(run);
  } catch (thrown) {
    if (isMissing(thrown)) return null;
    throw thrown;
  }
}

/**
 * Whether the server may cancel the run when it is asked again.
 * @param {unknown} thrown
 */
function isWorthRepeating(thrown) {
  return isInterrupted(thrown) || (thrown instanceof ApiError && thrown.code === "IDEMPOTENCY_IN_PROGRESS");
}
