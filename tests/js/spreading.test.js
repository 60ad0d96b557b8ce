// Colors spread behind an object.

import assert from "node:assert/strict";
import { test } from "node:test";

import { spreadColors } from "../../web/static/editor/spreading.js";
import { finished } from "../../web/static/editor/steps.js";
import { rectangle, SIZE } from "./planes_support.js";

test("a blurred background continues behind the object", () => {
  const background = Float32Array.from(rectangle(20, 10, 40, 30), (value) => 1 - value / 255);
  const color = Float32Array.from(background, (value) => (value ? 100 : 250));
  const [blurred] = finished(spreadColors([color, color, color], background, SIZE, 2));
  assert.ok(
    blurred.every((value) => Math.abs(value - 100) < 1),
    "the object's color is not in it",
  );
});
