// Planes of alpha, computed as the server computes them.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as planes from "../../web/static/editor/planes.js";
import { rectangle, SIZE } from "./planes_support.js";

test("the box of an object leaves out what is hardly visible", () => {
  const plane = rectangle(10, 5, 30, 20);
  plane[0] = 12;
  assert.deepEqual(planes.objectBox(plane, SIZE), { x: 10, y: 5, width: 20, height: 15 });
  assert.equal(planes.objectBox(new Uint8ClampedArray(2400), SIZE), null);
});

test("a finished cut-out shows nothing of a background, a photo does beside its subject", () => {
  const photo = (alpha) => {
    const data = new Uint8ClampedArray(alpha.length * 4);
    alpha.forEach((value, at) => (data[at * 4 + 3] = value));
    return data;
  };
  const subject = rectangle(10, 5, 30, 20);
  subject[0] = 120;
  const rounded = subject.map((value) => value && value - 9);
  assert.equal(planes.isBackgroundSeen(subject, photo(rounded)), false);
  const erased = subject.map((value, at) => (at % SIZE.width === 12 ? 0 : value));
  assert.equal(planes.isBackgroundSeen(erased, photo(subject)), true);
  assert.equal(planes.isBackgroundSeen(subject, photo(subject.map(() => 255))), true);
  const whole = subject.map(() => 255);
  assert.equal(planes.isBackgroundSeen(whole, photo(whole)), false);
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
