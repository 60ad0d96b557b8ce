// What a batch costs, how far it is and how long it still takes, in words.

import assert from "node:assert/strict";
import test from "node:test";

import {
  blockedText,
  chargedText,
  costOf,
  fractionOf,
  Pace,
  statusText,
  stepsProblem,
  timeLeftText,
  uploadText,
} from "../../web/static/editor/batch/batch_progress.js";

const counts = (some) => ({ queued: 0, running: 0, succeeded: 0, failed: 0, cancelled: 0, ...some });
const batch = (some) => ({
  total: 10,
  tools: ["crop"],
  counts: counts({}),
  creditsCharged: 0,
  hasEnded: false,
  ...some,
});

test("the fraction counts what has ended, and steps of unfinished pictures in part", () => {
  assert.equal(fractionOf(batch({})), 0);
  assert.equal(fractionOf(batch({ counts: counts({ succeeded: 3, failed: 1 }), creditsCharged: 3 })), 0.4);
  const twoSteps = { tools: ["bg-removal", "crop"], counts: counts({ succeeded: 2 }), creditsCharged: 6 };
  assert.equal(fractionOf(batch(twoSteps)), 0.3);
  // Steps of failed pictures were charged, too: the fraction stays below 1.
  const failing = { ...twoSteps, counts: counts({ succeeded: 1, failed: 8 }), creditsCharged: 10 };
  assert.ok(fractionOf(batch(failing)) < 1);
  assert.equal(fractionOf(batch({ hasEnded: true })), 1);
});

test("the time left follows the pace of the last minutes", () => {
  const pace = new Pace();
  assert.equal(pace.secondsLeft(10), null);
  pace.add(100, 0.2);
  assert.equal(pace.secondsLeft(20), 80); // the page was opened just now
  assert.equal(pace.secondsLeft(null), null);
  pace.add(110, 0.3);
  assert.equal(Math.round(pace.secondsLeft(30)), 70);
  pace.add(400, 0.9); // what is older than the window does not count
  assert.equal(Math.round(pace.secondsLeft(300)), 33);
});

test("a retry begins the pace anew, because more is to be done", () => {
  const pace = new Pace();
  pace.add(0, 0.2);
  pace.add(10, 0.9);
  pace.add(11, 0.5);
  assert.deepEqual(pace.reports, [{ seconds: 11, fraction: 0.5 }]);
});

test("states are said in words", () => {
  const running = { status: "running", total: 6, counts: counts({ succeeded: 3, failed: 1 }) };
  assert.equal(statusText(running), "Running: 3 of 6 done, 1 failed");
  assert.equal(
    statusText({ status: "blocked", total: 6, counts: counts({}) }),
    "Waiting for credits: 0 of 6 done",
  );
  assert.match(
    blockedText({ renewsAt: "2026-12-01T12:00:00Z" }, false),
    /goes on by itself.*New ones come on .*1/,
  );
  assert.doesNotMatch(blockedText({ renewsAt: null }, false), /New ones/);
  assert.match(blockedText({ renewsAt: null }, true), /as soon as its owner gets more/);
  assert.equal(timeLeftText(null), "");
  assert.equal(timeLeftText(100), "about 2 min left");
  assert.equal(timeLeftText(2 * 3600), "about 2 h left");
  const progress = { files: 3, total: 9, bytes: 5 * 1024 * 1024, totalBytes: 20 * 1024 * 1024 };
  assert.equal(uploadText(progress), "Uploading: 3 of 9 (5 of 20 MiB)");
});

test("a pause says what is still being finished, and that the rest waits", () => {
  const paused = (running) => ({ status: "paused", total: 13, counts: counts({ succeeded: 2, running }) });
  assert.equal(statusText(paused(8)), "Pausing: 2 of 13 done, 8 more are being finished");
  assert.equal(statusText(paused(1)), "Pausing: 2 of 13 done, 1 more is being finished");
  assert.equal(statusText(paused(0)), "Paused: 2 of 13 done");
  const failing = { ...paused(1), counts: counts({ succeeded: 2, failed: 1, running: 1 }) };
  assert.equal(statusText(failing), "Pausing: 2 of 13 done, 1 failed, 1 more is being finished");
  assert.equal(
    chargedText({ status: "paused", creditsCharged: 1 }),
    "1 credit charged so far. The rest waits until you press “Go on”.",
  );
  assert.match(chargedText({ status: "running", creditsCharged: 2 }), /goes on if you close this page/);
});

test("the cost is said before the start, and whether the credits suffice", () => {
  const cost = (creditsAvailable, renewsAt = null) =>
    costOf({ pictures: 6, steps: 2, creditsPerRun: 1, account: { creditsAvailable, renewsAt } });
  const enough = cost(15);
  assert.deepEqual(
    [enough.cost, enough.isEnough, enough.canStart, enough.text],
    [12, true, true, "6 pictures × 2 steps = 12 credits. You have 15."],
  );
  const short = cost(4, "2026-12-01T12:00:00Z");
  assert.deepEqual([short.isEnough, short.canStart], [false, true]);
  assert.match(short.text, /After 4 credits the rest waits until you have more\. New ones come on/);
  const none = cost(0);
  assert.deepEqual([none.isEnough, none.canStart], [false, false]);
  assert.match(none.text, /cannot be started/);
  const guest = costOf({ pictures: 1, steps: 1, creditsPerRun: 1, account: null });
  assert.deepEqual([guest.canStart, guest.text], [false, "1 picture × 1 step = 1 credit."]);
});

test("an error of a step names it and its setting as the editor does", () => {
  const error = { code: "INVALID_PARAMETER", param: "steps" };
  const message = "steps: in step 2, target_width: must be at least 1";
  assert.equal(stepsProblem({ ...error, message }), "Step 2: Width in pixels: must be at least 1.");
  assert.equal(stepsProblem({ code: "RATE_LIMITED", message: "Too many requests." }), "Too many requests.");
});
