// Blurs as the server computes them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { blurred } from "../../web/static/editor/gaussian.js";
import { finished } from "../../web/static/editor/steps.js";
import { rectangle, SIZE, valueAt } from "./planes_support.js";

test("a blur keeps a flat plane, is symmetric, and has the given width", () => {
  for (const sigma of [1.5, 2.5, 6.5]) {
    const flat = finished(blurred(new Float32Array(2400).fill(200), SIZE, sigma));
    assert.ok(flat.every((value) => Math.abs(value - 200) < 0.01));
    const half = finished(blurred(Float32Array.from(rectangle(30, 0, 60, 40)), SIZE, sigma));
    const middle = (valueAt(half, 29, 20) + valueAt(half, 30, 20)) / 2;
    assert.ok(Math.abs(middle - 127.5) < 2, `${sigma}: ${middle}`);
    // One standard deviation from the edge, 16 % of it is left.
    const away = valueAt(half, 29.5 - sigma, 20) / 255;
    assert.ok(Math.abs(away - 0.16) < 0.02, `${sigma}: ${away}`);
  }
});
