import assert from "node:assert/strict";
import { test } from "node:test";

import {
  beforePreview,
  comparable,
  fullSizeRequest,
  originalOf,
  parentOf,
  pathTo,
  photoOf,
  pictureSteps,
  redoStep,
  restoreSource,
  worksOn,
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

const FILLED = { tool: "generative-fill", params: { strokes: "[…]" }, selection: null };
const preview = (id, parentId, more = {}) =>
  step(id, parentId, {
    isPreview: true,
    isRendered: true,
    cutout: null,
    preview: { beforeUrl: "/before", request: FILLED },
    ...more,
  });

test("a preview is compared with its photo as it was reduced, if it has its frame", () => {
  const photo = step("a", null, { width: 1200, height: 800, previewUrl: "/photo" });
  const wide = preview("b", "a", { width: 1024, height: 683 });
  const look = preview("c", "b", { width: 1024, height: 1024 });
  const steps = [photo, wide, look];
  assert.equal(photoOf(steps, look), photo);
  assert.equal(photoOf(steps, photo), photo);
  assert.deepEqual(beforePreview(steps, wide), { previewUrl: "/before" });
  assert.equal(beforePreview(steps, look), null);
});

test("a preview is made again at full size from its photo, with the look of its cut-out", () => {
  const steps = [step("a", null), preview("b", "a")];
  const again = { tool: "generative-fill", title: "Full size", params: FILLED.params, stepId: "a" };
  assert.deepEqual(fullSizeRequest(steps, steps[1]), again);
  const selection = { stepId: "a", params: { auto: "true" } };
  const selected = preview("c", "a", {
    preview: { beforeUrl: "", request: { ...FILLED, params: {}, selection } },
  });
  assert.deepEqual(fullSizeRequest([steps[0], selected], selected).selection, selection);
  const request = { tool: "bg-removal", params: { model: "fast", bg_color: "red" }, selection: null };
  const look = preview("d", "a", {
    cutout: { look: { bg_color: "blue" } },
    preview: { beforeUrl: "", request },
  });
  const blue = fullSizeRequest([steps[0], look], look);
  assert.deepEqual(blue.params, { model: "fast", bg_color: "blue" });
  assert.equal(fullSizeRequest(steps, preview("e", "a", { preview: null })), null);
});

test("of a preview only a cut-out can be changed, without another preview", () => {
  assert.equal(worksOn(step("a", null), "upscale"), true);
  assert.equal(worksOn(preview("b", "a"), "bg-removal"), false);
  const cutout = preview("c", "a", { cutout: { look: {} } });
  assert.deepEqual(
    ["bg-removal", "brush", "generative-fill", "crop"].map((tool) => worksOn(cutout, tool)),
    [true, true, false, false],
  );
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
