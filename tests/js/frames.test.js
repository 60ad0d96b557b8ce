import assert from "node:assert/strict";
import { test } from "node:test";

import {
  dragCropFrame,
  cropFields,
  dragExpandFrame,
  expandFields,
  handleAt,
  HANDLES,
  sizeProblem,
  largestInside,
  parseRatio,
  smallestAround,
  scaledAround,
} from "../../web/static/editor/frames.js";

const PICTURE = { width: 600, height: 400 };
const WHOLE = { x: 0, y: 0, ...PICTURE };

test("the largest frame of a shape lies in the middle", () => {
  assert.deepEqual(largestInside(PICTURE, parseRatio("1:1")), { x: 100, y: 0, width: 400, height: 400 });
  assert.deepEqual(largestInside(PICTURE, parseRatio("16:9")), { x: 0, y: 31, width: 600, height: 338 });
  assert.deepEqual(largestInside(PICTURE, parseRatio("")), WHOLE);
});

test("a crop frame never leaves the picture, whatever is dragged where", () => {
  const start = { x: 100, y: 50, width: 200, height: 150 };
  for (const ratio of [null, 1, 16 / 9, 9 / 16]) {
    for (const handle of [...HANDLES, "move"]) {
      for (const delta of [
        { x: 900, y: 900 },
        { x: -900, y: -900 },
        { x: 37, y: -61 },
        { x: 0, y: 0 },
      ]) {
        const frame = dragCropFrame(start, handle, delta, PICTURE, ratio);
        assert.ok(frame.x >= 0 && frame.y >= 0, `${handle} ${JSON.stringify(frame)}`);
        assert.ok(frame.x + frame.width <= PICTURE.width, `${handle} ${JSON.stringify(frame)}`);
        assert.ok(frame.y + frame.height <= PICTURE.height, `${handle} ${JSON.stringify(frame)}`);
        assert.ok(frame.width >= 1 && frame.height >= 1);
        assert.ok(Number.isInteger(frame.x + frame.y + frame.width + frame.height));
      }
    }
  }
});

test("dragging a corner of a shaped frame keeps its shape and the opposite corner", () => {
  const start = { x: 100, y: 50, width: 200, height: 200 };
  const frame = dragCropFrame(start, "se", { x: 60, y: 10 }, PICTURE, 1);
  assert.deepEqual(frame, { x: 100, y: 50, width: 260, height: 260 });
});

test("a free frame follows its handle", () => {
  const start = { x: 100, y: 50, width: 200, height: 150 };
  assert.deepEqual(dragCropFrame(start, "nw", { x: -20, y: 30 }, PICTURE, null), {
    x: 80,
    y: 80,
    width: 220,
    height: 120,
  });
});

test("a crop of everything sends nothing", () => {
  assert.deepEqual(cropFields(WHOLE, PICTURE), {});
  assert.deepEqual(cropFields({ x: 1, y: 0, width: 9, height: 400 }, PICTURE), {
    x: "1",
    y: "0",
    width: "9",
    height: "400",
  });
});

test("the smallest frame around a picture is the one of the API's aspect_ratio", () => {
  assert.deepEqual(smallestAround(PICTURE, parseRatio("16:9")), { x: -55, y: 0, width: 711, height: 400 });
  assert.deepEqual(smallestAround(PICTURE, parseRatio("1:1")), { x: 0, y: -100, width: 600, height: 600 });
  assert.deepEqual(expandFields(smallestAround(PICTURE, parseRatio("16:9")), PICTURE), {
    left: "55",
    right: "56",
  });
});

test("an expand frame never cuts into the picture", () => {
  const start = scaledAround(PICTURE, 1.5);
  for (const handle of [...HANDLES, "move"]) {
    for (const delta of [
      { x: 900, y: 900 },
      { x: -900, y: -900 },
    ]) {
      const frame = dragExpandFrame(start, handle, delta, PICTURE);
      assert.ok(frame.x <= 0 && frame.y <= 0);
      assert.ok(frame.x + frame.width >= PICTURE.width && frame.y + frame.height >= PICTURE.height);
      if (handle === "move") assert.deepEqual([frame.width, frame.height], [start.width, start.height]);
    }
  }
  assert.deepEqual(expandFields(WHOLE, PICTURE), {});
});

test("handles are found within reach, then the inside, then nothing", () => {
  assert.equal(handleAt(WHOLE, { x: 3, y: 4 }, 10), "nw");
  assert.equal(handleAt(WHOLE, { x: 300, y: 398 }, 10), "s");
  assert.equal(handleAt(WHOLE, { x: 300, y: 200 }, 10), "move");
  assert.equal(handleAt(WHOLE, { x: 700, y: 200 }, 10), null);
});

test("a result above the server's limit is a problem that names it", () => {
  assert.equal(sizeProblem({ width: 8000, height: 8000 }, 64_000_000), "");
  assert.match(sizeProblem({ width: 8001, height: 8000 }, 64_000_000), /more than 64 megapixels/);
  assert.match(sizeProblem({ width: 1001, height: 1000 }, 1_000_000), /more than 1 megapixels/);
});
