import assert from "node:assert/strict";
import { test } from "node:test";

import {
  fitted,
  LEAST_SCALE,
  MOST_SCALE,
  needsMore,
  toPicture,
  toScreen,
  zoomedAt,
} from "../../web/static/editor/view.js";

const VIEWPORT = { width: 800, height: 600 };

const nearly = (one, other) => assert.ok(Math.abs(one - other) < 1e-6, `${one} is not ${other}`);

test("all of a large picture is seen in the middle", () => {
  const view = fitted({ width: 4000, height: 3000 }, VIEWPORT, 20);
  nearly(view.scale, 560 / 3000);
  nearly(view.x, (800 - 4000 * view.scale) / 2);
  nearly(view.y, 20);
});

test("a tiny picture is enlarged four times at most", () => {
  assert.equal(fitted({ width: 10, height: 10 }, VIEWPORT).scale, 4);
});

test("screen and picture coordinates are each other's inverse at any zoom", () => {
  let view = fitted({ width: 5000, height: 1234 }, VIEWPORT);
  for (const factor of [1.3, 7, 0.1, 2.2]) {
    view = zoomedAt(view, { x: 123, y: 456 }, factor);
    const point = toPicture(view, { x: 300.5, y: 77.25 });
    const back = toScreen(view, point);
    nearly(back.x, 300.5);
    nearly(back.y, 77.25);
  }
});

test("what lies under the pointer stays under it while zooming", () => {
  const view = fitted({ width: 4000, height: 3000 }, VIEWPORT);
  const pointer = { x: 600, y: 100 };
  const before = toPicture(view, pointer);
  const after = toPicture(zoomedAt(view, pointer, 3.7), pointer);
  nearly(after.x, before.x);
  nearly(after.y, before.y);
});

test("zoom ends where nothing more is to be seen", () => {
  const view = fitted({ width: 100, height: 100 }, VIEWPORT);
  assert.equal(zoomedAt(view, { x: 0, y: 0 }, 1e9).scale, MOST_SCALE);
  assert.equal(zoomedAt(view, { x: 0, y: 0 }, 1e-9).scale, LEAST_SCALE);
});

test("a larger preview is wanted only when the present one would look blurred", () => {
  const near = { scale: 1, x: 0, y: 0 };
  assert.equal(needsMore(near, 4000, 1600, 1), true);
  assert.equal(needsMore({ ...near, scale: 0.3 }, 4000, 1600, 1), false);
  assert.equal(needsMore({ ...near, scale: 0.3 }, 4000, 1600, 2), true);
  assert.equal(needsMore(near, 600, 600, 2), false);
});
