// Resampling by the server's filters. test_resampling.py compares the pixels with the server's.

import assert from "node:assert/strict";
import { test } from "node:test";

import { resampled } from "../../web/static/editor/resampling.js";

/** A square of one color on a transparent ground of another. */
function square() {
  const pixels = { data: new Uint8ClampedArray(20 * 16 * 4), width: 20, height: 16 };
  for (let y = 0; y < 16; y += 1) {
    for (let x = 0; x < 20; x += 1) {
      const isInside = x >= 5 && x < 15 && y >= 4 && y < 12;
      pixels.data.set(isInside ? [200, 100, 50, 255] : [0, 255, 0, 0], (y * 20 + x) * 4);
    }
  }
  return pixels;
}

const VISIBLE = { x: 5, y: 4, width: 10, height: 8 };

test("a picture in its own size and place is unchanged where it is visible", () => {
  const pixels = square();
  const place = { x: 0, y: 0, width: 20, height: 16 };
  const answer = resampled(pixels, VISIBLE, place, { width: 20, height: 16 });
  for (let at = 0; at < answer.length; at += 4) {
    const expected = pixels.data[at + 3] ? [...pixels.data.subarray(at, at + 4)] : [0, 0, 0, 0];
    assert.deepEqual([...answer.subarray(at, at + 4)], expected);
  }
});

test("hidden colors never show, however the size changes", () => {
  for (const zoom of [0.4, 0.9, 1.7, 3]) {
    const place = { x: 2.5, y: 1.25, width: 20 * zoom, height: 16 * zoom };
    const answer = resampled(square(), VISIBLE, place, { width: 80, height: 80 });
    let visible = 0;
    for (let at = 0; at < answer.length; at += 4) {
      if (!answer[at + 3]) continue;
      visible += answer[at + 3] / 255;
      // Faint pixels have colors of few digits.
      if (answer[at + 3] > 20) assert.deepEqual([...answer.subarray(at, at + 3)], [200, 100, 50]);
    }
    assert.ok(Math.abs(visible / (80 * zoom * zoom) - 1) < 0.1, `${zoom}: ${visible}`);
  }
});

test("what is beyond the canvas is cut off", () => {
  const place = { x: -12, y: 0, width: 20, height: 16 };
  const answer = resampled(square(), VISIBLE, place, { width: 6, height: 16 });
  const row = answer.subarray(8 * 6 * 4, 9 * 6 * 4);
  assert.deepEqual([row[3], row[11], row[15]], [255, 255, 0]);
  const outside = resampled(square(), VISIBLE, { ...place, x: 400 }, { width: 6, height: 16 });
  assert.ok(outside.every((value) => value === 0));
});

test("only the part of a pixel that is drawn to is opaque", () => {
  const data = new Uint8ClampedArray(4 * 4 * 4).fill(255);
  const whole = { x: 0, y: 0, width: 4, height: 4 };
  const place = { x: 1.2, y: 1, width: 4, height: 4 };
  const within = { ...place, x: 1.5, width: 3.5 };
  const answer = resampled({ data, width: 4, height: 4 }, whole, place, { width: 8, height: 8 }, within);
  const alphaAt = (x) => answer[(3 * 8 + x) * 4 + 3];
  assert.deepEqual([0, 2, 4, 5].map(alphaAt), [0, 255, 255, 0]);
  assert.ok(Math.abs(alphaAt(1) - 127.5) < 1);
});
