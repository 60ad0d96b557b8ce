import assert from "node:assert/strict";
import { test } from "node:test";

import {
  comparable,
  originalOf,
  parentOf,
  pathTo,
  pictureSteps,
  redoStep,
  restoreSource,
} from "../../web/static/editor/history.js";

const step = (id, parentId, more = {}) => ({
  id,
  parentId,
  isAvailable: true,
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

test("undo leads to the parent, and to nothing from the original", () => {
  assert.equal(parentOf(STEPS, "c").id, "b");
  assert.equal(parentOf(STEPS, "d").id, "a");
  assert.equal(parentOf(STEPS, "a"), null);
  assert.equal(originalOf(STEPS).id, "a");
});

test("redo leads to the branch that was current last, else to the newest one", () => {
  assert.equal(redoStep(STEPS, "a").id, "d");
  assert.equal(redoStep(STEPS, "a", ["a", "b", "a"]).id, "b");
  assert.equal(redoStep(STEPS, "c"), null);
});

test("redo skips masks and deleted pictures", () => {
  assert.equal(redoStep([step("a", null), step("m", "a", { isMask: true })], "a"), null);
  assert.equal(redoStep([step("a", null), step("b", "a", { isAvailable: false })], "a"), null);
});

test("the filmstrip shows pictures only", () => {
  assert.deepEqual(
    pictureSteps(STEPS).map((one) => one.id),
    ["a", "b", "c", "d"],
  );
  assert.deepEqual(
    pathTo(STEPS, "c").map((one) => one.id),
    ["a", "b", "c"],
  );
});

test("a brush restores from the oldest picture of the same size", () => {
  assert.equal(restoreSource(STEPS, STEPS[1]).id, "a");
  assert.equal(restoreSource(STEPS, STEPS[3]), null);
  assert.equal(restoreSource(STEPS, STEPS[0]), null);
});

test("a step is compared with what shows the same place", () => {
  const drawn = { isRendered: true, imageId: "none" };
  const photo = step("a", null, { ...drawn, imageId: "photo", previewUrl: "/photo" });
  const cutout = { photoId: "photo", photoUrl: "/photo", width: 600, height: 400 };
  const cut = step("b", "a", { ...drawn, cutout, previewUrl: "/cut" });
  const white = step("c", "b", { ...drawn, isRendered: false, cutout });
  const crop = step("d", "c", {
    ...drawn,
    width: 300,
    cutout: { ...cutout, photoId: "cropped photo", photoUrl: "/cropped", width: 300 },
  });
  const framed = step("e", "d", { ...drawn, width: 2000, cutout: crop.cutout });
  const steps = [photo, cut, white, crop, framed];
  assert.equal(comparable(steps, photo), null);
  assert.equal(comparable(steps, white).previewUrl, "/photo");
  assert.equal(comparable(steps, crop).previewUrl, "/cropped");
  assert.equal(comparable(steps, framed), null);
});
