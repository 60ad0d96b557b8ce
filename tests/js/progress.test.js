import assert from "node:assert/strict";
import { test } from "node:test";

import { aboutSeconds, progressAt, progressText } from "../../web/static/editor/progress.js";

const RUNNING = {
  status: "running",
  fraction: 0.1,
  expectedSeconds: 10,
  stage: "filling",
  title: "Generate",
};

test("between two reports the progress moves on, but never reaches the end", () => {
  const values = [0, 1, 3, 6, 10, 30, 3000].map((seconds) => progressAt(RUNNING, seconds, 0).value);
  for (const [at, value] of values.slice(1).entries()) assert.ok(value >= values[at], `${values}`);
  assert.ok(values[3] > 0.5 && values[3] < 0.7, `${values}`);
  assert.ok(values.at(-1) < 0.98);
});

test("a new report is shown as it is; what follows is marked as an estimate", () => {
  const reported = { ...RUNNING, fraction: 0.6 };
  assert.deepEqual(progressAt(reported, 4, 4), { value: 0.6, isEstimate: false, secondsLeft: 6 });
  assert.equal(progressText(reported, progressAt(reported, 4, 4)), "Filling, 60 %, about 6 s left");
  const later = progressAt(reported, 7, 4);
  assert.ok(later.isEstimate && later.value > 0.6);
  assert.equal(progressText(reported, later), "Filling, about 3 s left (estimate)");
  assert.equal(progressText(reported, progressAt(reported, 14, 4)), "Filling, longer than usual (estimate)");
});

test("without an expected time only what was reported is shown", () => {
  const unknown = { ...RUNNING, expectedSeconds: null };
  assert.deepEqual(progressAt(unknown, 9, 0), { value: 0.1, isEstimate: false, secondsLeft: null });
  assert.equal(progressAt({ ...unknown, fraction: 0 }, 9, 0).value, null);
  assert.equal(progressAt({ ...RUNNING, status: "queued" }, 9, 0).value, null);
});

test("the expected seconds are as precise as an estimate is", () => {
  assert.deepEqual([0.3, 4.4, 13, 88, 170].map(aboutSeconds), [
    "about 1 s",
    "about 4 s",
    "about 15 s",
    "about 90 s",
    "about 3 min",
  ]);
});
