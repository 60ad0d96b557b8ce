import assert from "node:assert/strict";
import { test } from "node:test";

import {
  fitView,
  MIN_SCALE,
  MAX_SCALE,
  needsLargerPreview,
  toPicture,
  toScreen,
  zoomView,
} from "../../web/static/editor/view.js";

const VIEWPORT = { width: 800, height: 600 };

const nearly = (one, other) => assert.ok(Math.abs(one - other) < 1e-6, `${one} is not ${other}`);

test("a large picture is shown whole and centred", () => {
  const view = fitView({ width: 4000, height: 3000 }, VIEWPORT, 20);
  nearly(view.scale, 560 / 3000);
  nearly(view.x, (800 - 4000 * view.scale) / 2);
  nearly(view.y, 20);
});

test("a tiny picture is enlarged four times at most", () => {
  assert.equal(fitView({ width: 10, height: 10 }, VIEWPORT).scale, 4);
});

test("screen and picture coordinates are each other's inverse at any zoom", () => {
  let view = fitView({ width: 5000, height: 1234 }, VIEWPORT);
  for (const factor of [1.3, 7, 0.1, 2.2]) {
    view = zoomView(view, { x: 123, y: 456 }, factor);
    const point = toPicture(view, { x: 300.5, y: 77.25 });
    const back = toScreen(view, point);
    nearly(back.x, 300.5);
    nearly(back.y, 77.25);
  }
});

test("what lies under the pointer stays under it while zooming", () => {
  const view = fitView({ width: 4000, height: 3000 }, VIEWPORT);
  const pointer = { x: 600, y: 100 };
  const before = toPicture(view, pointer);
  const after = toPicture(zoomView(view, pointer, 3.7), pointer);
  nearly(after.x, before.x);
  nearly(after.y, before.y);
});

test("zoom stays within its limits", () => {
  const view = fitView({ width: 100, height: 100 }, VIEWPORT);
  assert.equal(zoomView(view, { x: 0, y: 0 }, 1e9).scale, MAX_SCALE);
  assert.equal(zoomView(view, { x: 0, y: 0 }, 1e-9).scale, MIN_SCALE);
});

test("a larger preview is needed only if the current one would look blurred", () => {
  const near = { scale: 1, x: 0, y: 0 };
  assert.equal(needsLargerPreview(near, 4000, 1600, 1), true);
  assert.equal(needsLargerPreview({ ...near, scale: 0.3 }, 4000, 1600, 1), false);
  assert.equal(needsLargerPreview({ ...near, scale: 0.3 }, 4000, 1600, 2), true);
  assert.equal(needsLargerPreview(near, 600, 600, 2), false);
});
