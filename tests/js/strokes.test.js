import assert from "node:assert/strict";
import { test } from "node:test";

import {
  startStroke,
  extendStroke,
  defaultSize,
  maxSize,
  problemOf,
  nextSize,
  toField,
  clampToPicture,
} from "../../web/static/editor/strokes.js";

const LIMITS = { strokes: 3, strokePoints: 10, brushSizePixels: 4000 };
const BRUSH = { size: 24, hardness: 0.8, opacity: 1 };

test("strokes are sent as the API documents them", () => {
  const stroke = startStroke({ x: 10.123, y: 20 }, BRUSH);
  extendStroke(stroke, { x: 30, y: 40.05 });
  assert.deepEqual(JSON.parse(toField([stroke])), [
    {
      points: [
        [10.1, 20],
        [30, 40.1],
      ],
      size: 24,
      hardness: 0.8,
      opacity: 1,
    },
  ]);
});

test("points that are too near to matter are left out", () => {
  const stroke = startStroke({ x: 0, y: 0 }, BRUSH);
  assert.equal(extendStroke(stroke, { x: 0.4, y: 0.4 }), false);
  assert.equal(extendStroke(stroke, { x: 2, y: 0 }), true);
  assert.equal(stroke.points.length, 2);
});

test("points far outside the picture are moved near enough for the API", () => {
  const picture = { width: 100, height: 50 };
  assert.deepEqual(clampToPicture({ x: -500, y: 900 }, picture, 20), { x: -10, y: 60 });
  assert.deepEqual(clampToPicture({ x: 40, y: 30 }, picture, 20), { x: 40, y: 30 });
});

test("no strokes, and more than the server takes, are problems", () => {
  const stroke = startStroke({ x: 1, y: 1 }, BRUSH);
  assert.match(problemOf([], LIMITS), /Draw on the picture first/);
  assert.equal(problemOf([stroke, stroke, stroke], LIMITS), "");
  assert.match(problemOf([stroke, stroke, stroke, stroke], LIMITS), /At most 3 strokes/);
  assert.equal(problemOf([{ ...BRUSH, points: new Array(10).fill([1, 1]) }], LIMITS), "");
  assert.match(problemOf([{ ...BRUSH, points: new Array(11).fill([1, 1]) }], LIMITS), /too long/);
});

test("the brush's size stays between one pixel and its maximum", () => {
  assert.equal(nextSize(1, -1, 100), 1);
  assert.equal(nextSize(99, 1, 100), 100);
  assert.equal(nextSize(2, 1, 100), 3);
  assert.equal(nextSize(60, -1, 100), 50);
  assert.equal(maxSize({ width: 6000, height: 3200 }, LIMITS), 3000);
  assert.equal(maxSize({ width: 60_000, height: 10 }, LIMITS), 4000);
  assert.equal(maxSize({ width: 10, height: 10 }, LIMITS), 40);
  assert.equal(defaultSize({ width: 6000, height: 3200 }), 200);
});
