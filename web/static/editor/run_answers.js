// What the server's answers, and missing ones, say about a run.

import { ApiError } from "./api.js";
import { credits } from "./words.js";

/** @import { ActiveRun, Run } from "./types.js" */

/** A limit that is over after this time is waited for. */
const SHORT_WAIT_SECONDS = 2;
/** A limit that lasts longer than this is one of a day. */
const LONG_WAIT_SECONDS = 120;

/** The user has cancelled a run that the server has not accepted as far as is known. */
export class GivenUp extends Error {}

/**
 * Whether it is unknown if the server received a request: it, or a proxy before it, did not answer properly.
 * @param {unknown} thrown
 */
export function isUnanswered(thrown) {
  return thrown instanceof ApiError && thrown.code === "UNREACHABLE";
}

/**
 * Whether the server surely has not accepted a request to start a run.
 * @param {unknown} thrown
 */
export function isRefusal(thrown) {
  if (!(thrown instanceof ApiError) || isUnanswered(thrown)) return false;
  return thrown.code === "OVERLOADED" || (thrown.status >= 400 && thrown.status < 500);
}

/**
 * Whether a request came only a moment too soon after others.
 * @param {unknown} thrown
 */
export function isShortLimit(thrown) {
  if (!(thrown instanceof ApiError) || thrown.status !== 429) return false;
  return thrown.retryAfterSeconds !== null && thrown.retryAfterSeconds <= SHORT_WAIT_SECONDS;
}

/**
 * For how long a limit that is not waited for refuses what was asked for; 0 if there is none.
 * @param {unknown} thrown
 */
export function limitSeconds(thrown) {
  if (!(thrown instanceof ApiError) || thrown.status !== 429) return 0;
  const seconds = thrown.retryAfterSeconds ?? 0;
  return seconds > LONG_WAIT_SECONDS ? seconds : 0;
}

/**
 * Whether a run that was accepted goes on although asking for it failed.
 * @param {unknown} thrown
 */
export function isInterrupted(thrown) {
  return (
    isUnanswered(thrown) || (thrown instanceof ApiError && (thrown.status === 429 || thrown.status >= 500))
  );
}

/**
 * Whether to ask for the run again. A run that is done already when it is started is answered without its step.
 * @param {Run} run
 */
export function isUnfinished(run) {
  return run.status === "queued" || run.status === "running" || (run.status === "done" && !run.step);
}

/**
 * The version to wait for a change of; -1 is answered at once.
 * @param {Run} run
 */
export function versionSeen(run) {
  return run.status === "done" ? -1 : run.version;
}

/**
 * What a run's end means for people; "" for one that failed.
 * @param {Run} run
 * @param {string} title
 * @param {boolean} isCancelled by the user
 */
export function endText(run, title, isCancelled) {
  if (run.status === "cancelled") return `${title}: stopped. Nothing was charged.`;
  if (!run.step) return "";
  const cost = run.creditsCharged ? ` ${credits(run.creditsCharged)}.` : "";
  return isCancelled ? `${title} was done before it could be cancelled.${cost}` : `${title}: done.${cost}`;
}

/**
 * A run that the server has not answered yet.
 * @param {string} title
 * @returns {ActiveRun}
 */
export function unsentRun(title) {
  return {
    id: null,
    status: "queued",
    stage: "",
    fraction: 0,
    queuePosition: 0,
    version: -1,
    expectedSeconds: null,
    elapsedSeconds: 0,
    title,
    isCancelled: false,
    isDisconnected: false,
  };
}
