import assert from "node:assert/strict";
import { test } from "node:test";

import {
  after,
  before,
  maskFor,
  original,
  path,
  pictures,
  restorable,
} from "../../web/static/editor/history.js";

const step = (id, parentId, more = {}) => ({
  id,
  parentId,
  lives: true,
  isMask: false,
  width: 600,
  height: 400,
  ...more,
});
const STEPS = [
  step("a", null),
  step("b", "a"),
  step("m", "a", { isMask: true }),
  step("c", "b", { width: 300 }),
  step("d", "a"),
];

test("undo leads to the parent, and from the original nowhere", () => {
  assert.equal(before(STEPS, "c").id, "b");
  assert.equal(before(STEPS, "d").id, "a");
  assert.equal(before(STEPS, "a"), null);
  assert.equal(original(STEPS).id, "a");
});

test("redo leads where one was last, else to the newest branch", () => {
  assert.equal(after(STEPS, "a").id, "d");
  assert.equal(after(STEPS, "a", ["a", "b", "a"]).id, "b");
  assert.equal(after(STEPS, "c"), null);
});

test("redo passes over masks and pictures that are past", () => {
  assert.equal(after([step("a", null), step("m", "a", { isMask: true })], "a"), null);
  assert.equal(after([step("a", null), step("b", "a", { lives: false })], "a"), null);
});

test("the filmstrip shows pictures only", () => {
  assert.deepEqual(
    pictures(STEPS).map((one) => one.id),
    ["a", "b", "c", "d"],
  );
  assert.deepEqual(
    path(STEPS, "c").map((one) => one.id),
    ["a", "b", "c"],
  );
});

test("a kept selection fits pictures of its size only", () => {
  assert.equal(maskFor(STEPS, STEPS[1]).id, "m");
  assert.equal(maskFor(STEPS, STEPS[3]), null);
});

test("a brush restores from the oldest picture of the same size", () => {
  assert.equal(restorable(STEPS, STEPS[1]).id, "a");
  assert.equal(restorable(STEPS, STEPS[3]), null);
  assert.equal(restorable(STEPS, STEPS[0]), null);
});
