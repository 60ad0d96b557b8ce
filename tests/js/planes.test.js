// Planes of alpha, computed as the server computes them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { finished } from "../../web/static/editor/steps.js";
import * as planes from "../../web/static/editor/planes.js";

const SIZE = { width: 60, height: 40 };

/** A plane with a filled rectangle. */
function rectangle(left, top, right, bottom, { width, height } = SIZE) {
  const plane = new Uint8ClampedArray(width * height);
  for (let y = top; y < bottom; y += 1) plane.fill(255, y * width + left, y * width + right);
  return plane;
}

const valueAt = (plane, x, y, { width } = SIZE) => plane[y * width + x];

test("the box of an object leaves out what is hardly visible", () => {
  const plane = rectangle(10, 5, 30, 20);
  plane[0] = 12;
  assert.deepEqual(planes.objectBox(plane, SIZE), { x: 10, y: 5, width: 20, height: 15 });
  assert.equal(planes.objectBox(new Uint8ClampedArray(2400), SIZE), null);
});

test("a blur keeps a flat plane, is symmetric, and has the given width", () => {
  for (const sigma of [1.5, 2.5, 6.5]) {
    const flat = planes.blurred(new Float32Array(2400).fill(200), SIZE, sigma);
    assert.ok(flat.every((value) => Math.abs(value - 200) < 0.01));
    const half = planes.blurred(Float32Array.from(rectangle(30, 0, 60, 40)), SIZE, sigma);
    const middle = (valueAt(half, 29, 20) + valueAt(half, 30, 20)) / 2;
    assert.ok(Math.abs(middle - 127.5) < 2, `${sigma}: ${middle}`);
    // One standard deviation from the edge, 16 % of it is left.
    const away = valueAt(half, 29.5 - sigma, 20) / 255;
    assert.ok(Math.abs(away - 0.16) < 0.02, `${sigma}: ${away}`);
  }
});

test("reducing averages areas and enlarging interpolates", () => {
  const ramp = Float32Array.from({ length: 16 }, (_, at) => at);
  const small = planes.reduced(ramp, { width: 16, height: 1 }, { width: 4, height: 1 });
  assert.deepEqual([...small], [1.5, 5.5, 9.5, 13.5]);
  const large = planes.enlarged(small, { width: 4, height: 1 }, { width: 16, height: 1 });
  assert.ok([...large.slice(2, 14)].every((value, at) => Math.abs(value - (at + 2)) < 0.01));
});

test("an edge moves by whole pixels and fractions, in both directions", () => {
  const plane = rectangle(20, 10, 40, 30);
  const wider = planes.shifted(plane, SIZE, 2);
  assert.deepEqual(planes.objectBox(wider, SIZE), { x: 18, y: 8, width: 24, height: 24 });
  const narrower = planes.shifted(plane, SIZE, -2);
  assert.deepEqual(planes.objectBox(narrower, SIZE), { x: 22, y: 12, width: 16, height: 16 });
  assert.equal(valueAt(planes.shifted(plane, SIZE, 0.5), 19, 20), 128);
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
    const moved = planes.shifted(plane, size, radius);
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
  const away = planes.distances(plane, SIZE);
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
  const outline = planes.outline(plane, SIZE, 4, 1);
  // The server: clip(width + 0.5 - distance, 0, 1).
  assert.deepEqual(
    [36, 42, 43, 44].map((x) => valueAt(outline, x, 20)),
    [255, 255, 128, 0],
  );
});

test("an outline scales with its object, and its box may be larger than the picture", () => {
  const plane = rectangle(20, 10, 40, 30);
  const outline = planes.outline(plane, SIZE, 8, 0.5);
  assert.deepEqual(
    [42, 43, 44].map((x) => valueAt(outline, x, 20)),
    [255, 191, 0],
  );
  const box = { x: 0, y: 3, width: 30, height: 20 };
  const inside = { x: 2, y: 3, width: 26, height: 18 };
  assert.deepEqual(planes.outlinedBox(box, inside, 4), { x: -2, y: -1, width: 34, height: 26 });
});

test("an object that the border cuts off continues beyond it when it is moved", () => {
  const plane = rectangle(0, 10, 20, 40);
  const moved = planes.moved(plane, SIZE, 6, -5);
  assert.deepEqual(planes.objectBox(moved, SIZE), { x: 0, y: 5, width: 26, height: 35 });
});

test("an object moved beyond the border is cut off", () => {
  const plane = rectangle(20, 10, 40, 30);
  const moved = planes.moved(plane, SIZE, 30, -15);
  assert.deepEqual(planes.objectBox(moved, SIZE), { x: 50, y: 0, width: 10, height: 15 });
  assert.equal(planes.objectBox(planes.moved(plane, SIZE, 70, 0), SIZE), null);
});

test("halves are rounded to the even neighbour", () => {
  assert.deepEqual(
    [0.5, 1.5, 2.5, -0.5, -1.5, 2.4, 2.6].map(planes.rounded).map(Math.abs),
    [0, 2, 2, 0, 2, 2, 3],
  );
});

test("a contact shadow lies under the lowest part", () => {
  const plane = rectangle(20, 10, 40, 30);
  const box = planes.objectBox(planes.foot(plane, SIZE, { x: 20, y: 10, width: 20, height: 20 }), SIZE);
  assert.ok(Math.abs(box.x - 20) <= 1 && Math.abs(box.x + box.width - 40) <= 2, JSON.stringify(box));
  assert.ok(box.y >= 28 && box.y + box.height <= 32, JSON.stringify(box));
});

test("a blurred background continues behind the object", () => {
  const background = Float32Array.from(rectangle(20, 10, 40, 30), (value) => 1 - value / 255);
  const color = Float32Array.from(background, (value) => (value ? 100 : 250));
  const [blurred] = finished(planes.spreadColors([color, color, color], background, SIZE, 2));
  assert.ok(
    blurred.every((value) => Math.abs(value - 100) < 1),
    "the object's color is not in it",
  );
});
