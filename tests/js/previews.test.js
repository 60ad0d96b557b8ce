import assert from "node:assert/strict";
import { test } from "node:test";

import {
  beforePreview,
  fullSizeRequest,
  isRetouched,
  lookToRepeat,
  photoOf,
  worksOn,
} from "../../web/static/editor/previews.js";

const step = (id, parentId, more = {}) => ({
  id,
  parentId,
  isAvailable: true,
  isMask: false,
  width: 600,
  height: 400,
  ...more,
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
  const colored = preview("d", "b", { width: 1024, height: 683, isRendered: false });
  assert.deepEqual(beforePreview([...steps, colored], colored), { previewUrl: "/before" });
});

test("the look of a selected cut-out follows its full size, that of a removed background is part of it", () => {
  const cutout = { look: { bg_color: "blue" } };
  const selected = { tool: "magic-select", params: { output: "cutout" }, selection: null };
  const removed = { tool: "bg-removal", params: {}, selection: null };
  const of = (request, more) =>
    lookToRepeat(preview("b", "a", { preview: { beforeUrl: "", request }, ...more }));
  assert.deepEqual(of(selected, { cutout }), cutout.look);
  for (const plain of [of(selected, { cutout: { look: {} } }), of(selected, {}), of(removed, { cutout })])
    assert.equal(plain, null);
});

test("a preview that was retouched is made again without that, which is said", () => {
  const request = { tool: "bg-removal", params: {}, selection: null };
  const cut = preview("b", "a", { tool: "bg-removal", preview: { beforeUrl: "", request } });
  const brushed = { ...cut, id: "c", parentId: "b", tool: "brush" };
  const look = { ...cut, id: "d", parentId: "c" };
  const steps = [step("a", null), cut, brushed, look];
  assert.deepEqual(
    steps.map((one) => isRetouched(steps, one)),
    [false, false, true, true],
  );
  const healed = preview("e", "a", {
    tool: "brush",
    preview: { beforeUrl: "", request: { ...request, tool: "brush" } },
  });
  assert.equal(isRetouched([steps[0], healed], healed), false);
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
