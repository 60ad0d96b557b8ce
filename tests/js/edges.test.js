// Edges and outlines, computed as the server computes them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { distances, outline, outlinedBox, shifted } from "../../web/static/editor/edges.js";
import { objectBox } from "../../web/static/editor/planes.js";
import { finished } from "../../web/static/editor/steps.js";
import { rectangle, SIZE, valueAt } from "./planes_support.js";

test("an edge moves by whole pixels and fractions, in both directions", () => {
  const plane = rectangle(20, 10, 40, 30);
  const wider = finished(shifted(plane, SIZE, 2));
  assert.deepEqual(objectBox(wider, SIZE), { x: 18, y: 8, width: 24, height: 24 });
  const narrower = finished(shifted(plane, SIZE, -2));
  assert.deepEqual(objectBox(narrower, SIZE), { x: 22, y: 12, width: 16, height: 16 });
  assert.equal(valueAt(finished(shifted(plane, SIZE, 0.5)), 19, 20), 128);
});

test("an edge moves by a disc, as the server's does", () => {
  const size = { width: 24, height: 20 };
  const plane = new Uint8ClampedArray(size.width * size.height);
  let seed = 7;
  for (let at = 0; at < plane.length; at += 1) {
    seed = (seed * 1103515245 + 12345) % 2 ** 31;
    plane[at] = seed % 3 ? 0 : seed % 256;
  }
  for (const [radius, choose] of [
    [3, Math.max],
    [-2, Math.min],
  ]) {
    const moved = finished(shifted(plane, size, radius));
    for (let y = 0; y < size.height; y += 1) {
      for (let x = 0; x < size.width; x += 1) {
        let expected = plane[y * size.width + x];
        for (let row = 0; row < size.height; row += 1)
          for (let column = 0; column < size.width; column += 1)
            if ((row - y) ** 2 + (column - x) ** 2 <= (Math.abs(radius) + 0.3) ** 2)
              expected = choose(expected, plane[row * size.width + column]);
        assert.equal(moved[y * size.width + x], expected, `${x} ${y}`);
      }
    }
  }
});

test("distances are exact", () => {
  const plane = rectangle(20, 10, 21, 11);
  const away = finished(distances(plane, SIZE));
  for (const [x, y] of [
    [20, 10],
    [23, 14],
    [0, 39],
    [59, 0],
  ])
    assert.ok(Math.abs(valueAt(away, x, y) - Math.hypot(x - 20, y - 10)) < 1e-4);
});

test("an outline ends where the server's does", () => {
  const plane = rectangle(20, 10, 40, 30);
  const line = finished(outline(plane, SIZE, 4, 1));
  // The server: clip(width + 0.5 - distance, 0, 1).
  assert.deepEqual(
    [36, 42, 43, 44].map((x) => valueAt(line, x, 20)),
    [255, 255, 128, 0],
  );
});

test("an outline scales with its object, and its box may be larger than the picture", () => {
  const plane = rectangle(20, 10, 40, 30);
  const line = finished(outline(plane, SIZE, 8, 0.5));
  assert.deepEqual(
    [42, 43, 44].map((x) => valueAt(line, x, 20)),
    [255, 191, 0],
  );
  const box = { x: 0, y: 3, width: 30, height: 20 };
  const inside = { x: 2, y: 3, width: 26, height: 18 };
  assert.deepEqual(outlinedBox(box, inside, 4), { x: -2, y: -1, width: 34, height: 26 });
});
