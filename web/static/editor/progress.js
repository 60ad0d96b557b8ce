// How far a run is, for people: what the server reports, and between its reports an estimate from how long the work is
// expected to take on this server. The estimate never reaches the end. Pure functions.

/** @import { ActiveRun } from "./types.js" */

/**
 * @typedef {object} Progress
 * @property {number | null} value 0 to 1; null while it is unknown
 * @property {boolean} isEstimate whether the server has not reported anything for a while
 * @property {number | null} secondsLeft null if unknown
 */

/** The estimate approaches this share of the work. */
const ESTIMATE_END = 0.97;
/** Up to this share of the expected time the estimate is linear; from there on it slows down. */
const LINEAR_SHARE = 0.8;
const FRESH_SECONDS = 1; // a newer report is shown as it is

/**
 * @param {Pick<ActiveRun, "status" | "fraction" | "expectedSeconds">} run as the server reported it last
 * @param {number} elapsedSeconds how long the work has been running
 * @param {number} reportedSeconds when the fraction was reported, by the same clock
 * @returns {Progress}
 */
export function progressAt(run, elapsedSeconds, reportedSeconds) {
  const { fraction, expectedSeconds } = run;
  if (run.status === "queued") return { value: null, isEstimate: false, secondsLeft: null };
  if (!expectedSeconds) return { value: fraction || null, isEstimate: false, secondsLeft: null };
  const sinceReport = Math.max(0, elapsedSeconds - reportedSeconds);
  const remaining = Math.max(expectedSeconds - reportedSeconds, 0.2 * expectedSeconds);
  const value = fraction + Math.max(0, ESTIMATE_END - fraction) * share(sinceReport / remaining);
  return {
    value: Math.min(value, Math.max(fraction, ESTIMATE_END)),
    isEstimate: sinceReport > FRESH_SECONDS,
    secondsLeft: Math.max(0, expectedSeconds - elapsedSeconds),
  };
}

/**
 * The share of the work that is done after a share of the expected time: below 1 however long it takes.
 * @param {number} time
 */
function share(time) {
  if (time <= LINEAR_SHARE) return time;
  const rest = 1 - LINEAR_SHARE;
  return 1 - rest * Math.exp((LINEAR_SHARE - time) / rest);
}

/**
 * "about 12 s": seconds as precise as an estimate is.
 * @param {number} seconds
 */
export function aboutSeconds(seconds) {
  if (seconds < 1.5) return "about 1 s";
  if (seconds < 10) return `about ${Math.round(seconds)} s`;
  if (seconds < 90) return `about ${5 * Math.round(seconds / 5)} s`;
  return `about ${Math.round(seconds / 60)} min`;
}

/**
 * What a run is doing.
 * @param {ActiveRun} run
 * @param {Progress} progress
 */
export function progressText(run, { value, isEstimate, secondsLeft }) {
  if (run.isCancelled)
    return run.isDisconnected ? "Stopping … No connection to the server. Trying again …" : "Stopping …";
  if (run.isDisconnected) return "No connection to the server. Trying again …";
  if (run.queuePosition === 1) return "Waiting: next in the queue";
  if (run.queuePosition > 1) return `Waiting: number ${run.queuePosition} in the queue`;
  if (!run.stage) return `${run.title} …`;
  const stage = run.stage[0].toUpperCase() + run.stage.slice(1);
  if (value === null) return `${stage}, …`;
  const percent = `${Math.round(value * 100)} %`;
  if (secondsLeft === null) return `${stage}, ${percent}`;
  const left = secondsLeft > 0 ? `${aboutSeconds(secondsLeft)} left` : "longer than usual";
  return isEstimate ? `${stage}, ${left} (estimate)` : `${stage}, ${percent}, ${left}`;
}
