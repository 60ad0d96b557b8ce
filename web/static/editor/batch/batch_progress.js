// How far a batch is, and what it costs, for people. Pure functions, and the pace at which it goes on.

import { errorText } from "../error_texts.js";
import { aboutSeconds } from "../progress.js";
import { credits } from "../words.js";

/** @import { ApiError } from "../api.js" */
/** @import { Batch, BatchStatus, Quote } from "../types.js" */
/** @import { Progress } from "./uploads.js" */

/** The pace is measured over the last minutes, because large pictures take longer than small ones. */
const WINDOW_SECONDS = 180;
const SHORTEST_SECONDS = 3;
const MEBIBYTE = 1024 * 1024;

/**
 * The share of the work that is done, 0 to 1. Steps of unfinished pictures count in part.
 * @param {Pick<Batch, "total" | "tools" | "counts" | "creditsCharged" | "hasEnded">} batch
 */
export function fractionOf({ total, tools, counts, creditsCharged, hasEnded }) {
  if (hasEnded) return 1;
  const ended = counts.succeeded + counts.failed + counts.cancelled;
  const inPart = Math.max(0, creditsCharged - counts.succeeded * tools.length) / tools.length;
  return Math.min(1, (ended + Math.min(inPart, (total - ended) * (1 - 1 / tools.length))) / total);
}

/** How fast a batch goes on, from what the server reported. */
export class Pace {
  constructor() {
    /** @type {{ seconds: number, fraction: number }[]} */
    this.reports = [];
  }

  /**
   * @param {number} seconds when it was reported, by any clock that does not jump
   * @param {number} fraction
   */
  add(seconds, fraction) {
    const last = this.reports.at(-1);
    // After a retry there is more to do than before.
    if (last && fraction < last.fraction) this.reports = [];
    this.reports.push({ seconds, fraction });
    this.reports = this.reports.filter((one) => one.seconds >= seconds - WINDOW_SECONDS);
  }

  /** Forgets the pace, because the batch was stopped for a while. */
  reset() {
    this.reports = [];
  }

  /**
   * The expected seconds until the end; null while the pace is not known.
   * @param {number | null} elapsedSeconds since the batch began, by the server's clock
   */
  secondsLeft(elapsedSeconds) {
    const last = this.reports.at(-1);
    const first = this.reports[0];
    if (!last) return null;
    const seconds = last.seconds - first.seconds;
    const gained = last.fraction - first.fraction;
    if (seconds >= SHORTEST_SECONDS && gained > 0) return ((1 - last.fraction) * seconds) / gained;
    // The page was opened just now: the batch's whole time so far is the best that is known.
    if (!elapsedSeconds || last.fraction <= 0 || this.reports.length > 1) return null;
    return ((1 - last.fraction) * elapsedSeconds) / last.fraction;
  }
}

/** @type {Record<BatchStatus, string>} */
const STATUS_TEXTS = {
  queued: "Waiting to begin",
  running: "Running",
  paused: "Paused",
  blocked: "Waiting for credits",
  completed: "Finished",
  cancelled: "Cancelled",
};

/**
 * "Running: 3 of 6 done, 1 failed". Pictures that run when a batch is paused are still finished.
 * @param {Pick<Batch, "status" | "total" | "counts">} batch
 */
export function statusText({ status, total, counts }) {
  const isPausing = status === "paused" && counts.running > 0;
  const failed = counts.failed ? `, ${counts.failed} failed` : "";
  const done = `${counts.succeeded} of ${total} done${failed}`;
  if (!isPausing) return `${STATUS_TEXTS[status]}: ${done}`;
  return `Pausing: ${done}, ${counts.running} more ${counts.running === 1 ? "is" : "are"} being finished`;
}

/**
 * What an unfinished batch has cost so far, and whether the page has to stay open.
 * @param {Pick<Batch, "status" | "creditsCharged">} batch
 */
export function chargedText({ status, creditsCharged }) {
  const charged = `${count(creditsCharged, "credit")} charged so far.`;
  if (status === "paused") return `${charged} The rest waits until you press “Go on”.`;
  return `${charged} It goes on if you close this page.`;
}

/**
 * What blocks a batch that waits for credits, and until when.
 * @param {Pick<Batch, "renewsAt">} batch
 * @param {boolean} isOfAnother whether only somebody else can buy credits
 */
export function blockedText({ renewsAt }, isOfAnother) {
  const renewal = renewsAt ? ` New ones come on ${dayOf(renewsAt)}.` : "";
  if (isOfAnother)
    return `The account's credits are used up. The rest goes on by itself as soon as its owner gets more.${renewal}`;
  return `Your credits are used up. The rest goes on by itself as soon as you have more.${renewal}`;
}

/**
 * @param {number | null} seconds
 */
export function timeLeftText(seconds) {
  if (seconds === null) return "";
  return seconds < 5400 ? `${aboutSeconds(seconds)} left` : `about ${Math.round(seconds / 3600)} h left`;
}

/**
 * What a batch costs before it is started, and whether the credits suffice.
 * @param {object} options
 * @param {number} options.pictures
 * @param {number} options.steps
 * @param {number} options.creditsPerRun
 * @param {Pick<Quote, "creditsAvailable" | "renewsAt"> | null} options.account null for a guest
 */
export function costOf({ pictures, steps, creditsPerRun, account }) {
  const cost = pictures * steps * creditsPerRun;
  const sum = `${count(pictures, "picture")} × ${count(steps, "step")} = ${credits(cost)}`;
  if (!account) return { cost, isEnough: true, canStart: false, text: `${sum}.` };
  const available = account.creditsAvailable;
  const isEnough = available >= cost;
  const canStart = available > 0;
  let text = `${sum}. You have ${available}.`;
  if (!canStart) text += " Without credits a batch cannot be started.";
  else if (!isEnough) text += ` After ${credits(available)} the rest waits until you have more.`;
  if (!isEnough && account.renewsAt) text += ` New ones come on ${dayOf(account.renewsAt)}.`;
  return { cost, isEnough, canStart, text };
}

/**
 * @param {number} number
 * @param {string} thing
 */
export function count(number, thing) {
  return `${number} ${thing}${number === 1 ? "" : "s"}`;
}

/**
 * @param {Progress} progress
 */
export function uploadText({ files, total, bytes, totalBytes }) {
  const megabytes = (/** @type {number} */ size) => Math.max(1, Math.round(size / MEBIBYTE));
  return `Uploading: ${files} of ${total} (${megabytes(bytes)} of ${megabytes(totalBytes)} MiB)`;
}

/**
 * An error of the steps, which the server names by number and parameter, in the editor's words.
 * @param {Partial<ApiError>} error
 */
export function stepsProblem(error) {
  const found = /^steps: in step (\d+), (([a-z_]+)\b.*)$/s.exec(error.message ?? "");
  if (!found) return errorText(error);
  return `Step ${found[1]}: ${errorText({ message: found[2], param: found[3] })}`;
}

/** @param {string} time */
function dayOf(time) {
  return new Date(time).toLocaleDateString(undefined, { day: "numeric", month: "long" });
}
