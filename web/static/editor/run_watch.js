// Starts a run and asks for it until it has ended, also while the connection fails and the server restarts.

import { ApiError } from "./api.js";
import {
  GivenUp,
  isInterrupted,
  isRefusal,
  isShortLimit,
  isUnanswered,
  isUnfinished,
  versionSeen,
} from "./run_answers.js";

/** @import { ApiClient } from "./api.js" */
/** @import { ActiveRun, Run, RunBody } from "./types.js" */

/** Pauses before a request is sent again that the server did not answer; the last one is repeated. */
export const RETRY_DELAYS_MS = [500, 1000, 2000, 4000, 8000, 15000];
/** How often a run that the server has forgotten is started again. */
const RESTARTS = 3;
/** How often a run is sent again that came a moment too soon after others. */
const SHORT_WAITS = 4;

export class RunWatch {
  #isAccepted = false;
  #isDisconnected = false;
  /** Whether the body is being sent, or is to be sent again. */
  #isStarting = false;
  /** Whether a request is under way, instead of a pause before the next one. */
  #isSending = false;
  /** @type {(run: Run) => void} */
  #end = () => {};
  /** @type {(reason: unknown) => void} */
  #giveUp = () => {};

  /**
   * @param {ApiClient} client
   * @param {(milliseconds: number) => Promise<void>} sleep
   * @param {string} projectId
   * @param {(state: Partial<ActiveRun>) => void} onChange gets what has changed
   * @param {boolean} mayHaveStarted
   */
  constructor(client, sleep, projectId, onChange, mayHaveStarted) {
    this.client = client;
    this.sleep = sleep;
    this.projectId = projectId;
    this.onChange = onChange;
    /** Whether the server may have accepted the run. */
    this.mayHaveStarted = mayHaveStarted;
    /** Whether the user has cancelled the run: its body is not sent any more. */
    this.isCancelled = false;
    /**
     * The run's end as another request shows it, or `GivenUp`.
     * @type {Promise<Run>}
     */
    this.outcome = new Promise((resolve, reject) => {
      this.#end = resolve;
      this.#giveUp = reject;
    });
    this.outcome.catch(() => {}); // it may come when nobody waits for it any more
  }

  /** Whether the server has accepted the run, so that its progress is asked for. */
  get isFollowing() {
    return this.#isAccepted && !this.#isStarting;
  }

  /** Whether the server may have received the run, or may do so yet. */
  get mayArrive() {
    return this.mayHaveStarted || this.#isSending;
  }

  /**
   * Sends the body no more. The run is waited for only if the server has accepted it or may be about to answer.
   */
  cancel() {
    this.isCancelled = true;
    if (this.#isStarting && (this.#isDisconnected || !this.#isSending)) this.#giveUp(new GivenUp());
  }

  /** @param {Run} run as the server answered elsewhere */
  end(run) {
    this.#end(run);
  }

  /**
   * The run once it has ended. The key leads to the same run however often it is started.
   * @param {RunBody} body
   * @param {string} key
   * @returns {Promise<Run>}
   */
  async start(body, key) {
    const send = async () => {
      if (this.isCancelled) throw new GivenUp();
      try {
        const run = await this.client.startRun(this.projectId, body, key);
        this.mayHaveStarted = true;
        return run;
      } catch (thrown) {
        this.mayHaveStarted ||= !isRefusal(thrown);
        throw thrown;
      }
    };
    let waits = 0;
    const isTooSoon = (/** @type {unknown} */ thrown) => isShortLimit(thrown) && waits++ < SHORT_WAITS;
    const start = async () => {
      this.#isStarting = true;
      const isWorthRetrying = (/** @type {unknown} */ thrown) => isUnanswered(thrown) || isTooSoon(thrown);
      const run = await this.#answered(send, isWorthRetrying);
      this.#isStarting = false;
      return run;
    };
    return this.untilEnded(await start(), start);
  }

  /**
   * The run once it has ended. `restart` leads to one that the server has forgotten.
   * @param {Run} run
   * @param {() => Promise<Run>} [restart]
   * @returns {Promise<Run>}
   */
  async untilEnded(run, restart) {
    let restarts = 0;
    while (isUnfinished(run)) {
      const { id } = run;
      const seen = versionSeen(run);
      this.#isAccepted = true;
      this.#isDisconnected = false;
      this.onChange({ ...run, isDisconnected: false });
      try {
        run = await this.#answered(() => this.client.watchRun(this.projectId, id, seen), isInterrupted);
      } catch (thrown) {
        const isForgotten = thrown instanceof ApiError && thrown.status === 404;
        if (isForgotten && this.isCancelled) throw new GivenUp();
        if (!isForgotten || !restart || restarts === RESTARTS) throw thrown;
        restarts += 1;
        run = await restart();
      }
    }
    return run;
  }

  /**
   * Sends a request until the server answers it. Raises what the server refused.
   * @param {() => Promise<Run>} send
   * @param {(thrown: unknown) => boolean} isWorthRetrying
   */
  async #answered(send, isWorthRetrying) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        this.#isSending = true;
        return await send();
      } catch (thrown) {
        this.#isSending = false;
        if (!isWorthRetrying(thrown)) throw thrown;
        if (this.isCancelled && this.#isStarting) throw new GivenUp();
        const isTooSoon = isShortLimit(thrown) && !this.#isAccepted;
        if (!this.#isDisconnected && !isTooSoon) {
          this.#isDisconnected = true;
          this.onChange({ isDisconnected: true });
        }
        await this.sleep(RETRY_DELAYS_MS[Math.min(attempt, RETRY_DELAYS_MS.length - 1)]);
      }
    }
  }
}
