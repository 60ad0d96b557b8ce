import assert from "node:assert/strict";
import { test } from "node:test";

import {
  begun,
  extend,
  fittingSize,
  MOST_STROKES,
  problemOf,
  steppedSize,
  toField,
  within,
} from "../../web/static/editor/strokes.js";

const BRUSH = { size: 24, hardness: 0.8, opacity: 1 };

test("strokes are sent as the API documents them", () => {
  const stroke = begun({ x: 10.123, y: 20 }, BRUSH);
  extend(stroke, { x: 30, y: 40.05 });
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
  const stroke = begun({ x: 0, y: 0 }, BRUSH);
  assert.equal(extend(stroke, { x: 0.4, y: 0.4 }), false);
  assert.equal(extend(stroke, { x: 2, y: 0 }), true);
  assert.equal(stroke.points.length, 2);
});

test("points far astray come near enough for the API to take them", () => {
  const picture = { width: 100, height: 50 };
  assert.deepEqual(within({ x: -500, y: 900 }, picture, 20), { x: -10, y: 60 });
  assert.deepEqual(within({ x: 40, y: 30 }, picture, 20), { x: 40, y: 30 });
});

test("nothing drawn and too much drawn are told", () => {
  assert.notEqual(problemOf([]), "");
  assert.equal(problemOf([begun({ x: 1, y: 1 }, BRUSH)]), "");
  assert.notEqual(problemOf(new Array(MOST_STROKES + 1).fill(begun({ x: 1, y: 1 }, BRUSH))), "");
  assert.notEqual(problemOf([{ ...BRUSH, points: new Array(100_001).fill([1, 1]) }]), "");
});

test("the brush's size is never below a pixel nor beyond its most", () => {
  assert.equal(steppedSize(1, -1, 100), 1);
  assert.equal(steppedSize(99, 1, 100), 100);
  assert.equal(steppedSize(2, 1, 100), 3);
  assert.equal(steppedSize(60, -1, 100), 50);
  assert.equal(fittingSize({ width: 6000, height: 3200 }), 200);
});
