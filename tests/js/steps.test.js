// Long computations in slices.

import assert from "node:assert/strict";
import { test } from "node:test";

import { finished, finishedInSlices } from "../../web/static/editor/steps.js";

function* counted(log) {
  for (let at = 0; at < 3; at += 1) {
    log.push(at);
    yield;
  }
  return "all";
}

/** Steps that each take as long as a slice. */
function* slow(log) {
  for (let at = 0; at < 3; at += 1) {
    const end = performance.now() + 13;
    while (performance.now() < end);
    log.push("step");
    yield;
  }
  return "all";
}

test("all steps are finished at once", () => {
  const log = [];
  assert.equal(finished(counted(log)), "all");
  assert.deepEqual(log, [0, 1, 2]);
});

test("between slices the page is idle", async () => {
  const log = [];
  const whenIdle = (callback) => {
    log.push("idle");
    setTimeout(callback, 0);
  };
  assert.equal(await finishedInSlices(slow(log), undefined, whenIdle), "all");
  assert.deepEqual(log.slice(0, 6), ["idle", "step", "idle", "step", "idle", "step"]);
});

test("an aborted computation goes no further", async () => {
  const log = [];
  const leaving = new AbortController();
  let slices = 0;
  const whenIdle = (callback) => {
    slices += 1;
    if (slices === 2) leaving.abort();
    setTimeout(callback, 0);
  };
  await assert.rejects(finishedInSlices(slow(log), leaving.signal, whenIdle), { name: "AbortError" });
  assert.deepEqual(log, ["step"]);
});
