import assert from "node:assert/strict";
import { test } from "node:test";

import {
  emptySelection,
  isEmpty,
  isUsable,
  toFields,
  withBox,
  withClick,
  withoutLast,
} from "../../web/static/editor/selection.js";

const PICTURE = { width: 600, height: 400 };
const MAX_POINTS = 64;

test("clicks are whole pixels inside the picture", () => {
  let selection = withClick(emptySelection(), { x: 10.9, y: 20.2 }, true, PICTURE, MAX_POINTS);
  selection = withClick(selection, { x: -1, y: 20 }, true, PICTURE, MAX_POINTS);
  selection = withClick(selection, { x: 600, y: 20 }, true, PICTURE, MAX_POINTS);
  selection = withClick(selection, { x: 599.9, y: 0 }, false, PICTURE, MAX_POINTS);
  assert.deepEqual(toFields(selection), { points: "[[10,20,1],[599,0,0]]" });
});

test("clicks above the limit are ignored", () => {
  let selection = emptySelection();
  for (let at = 0; at < 4; at += 1) selection = withClick(selection, { x: at, y: 0 }, true, PICTURE, 3);
  assert.deepEqual(toFields(selection), { points: "[[0,0,1],[1,0,1],[2,0,1]]" });
});

test("a box is drawn in any direction and cut to the picture", () => {
  const selection = withBox(emptySelection(), { x: 700, y: 300 }, { x: 20.4, y: -9 }, PICTURE);
  assert.deepEqual(toFields(selection), { box: "[20,0,600,300]" });
  assert.equal(withBox(emptySelection(), { x: 5, y: 5 }, { x: 6, y: 90 }, PICTURE).box, null);
});

test("a click on the background alone is not enough", () => {
  assert.equal(isUsable(withClick(emptySelection(), { x: 1, y: 1 }, false, PICTURE, MAX_POINTS)), false);
  assert.equal(isUsable(withClick(emptySelection(), { x: 1, y: 1 }, true, PICTURE, MAX_POINTS)), true);
  assert.equal(isUsable({ ...emptySelection(), auto: true }), true);
});

test("undo takes clicks back one by one, then the box", () => {
  let selection = withBox(emptySelection(), { x: 1, y: 1 }, { x: 90, y: 90 }, PICTURE);
  selection = withClick(selection, { x: 9, y: 9 }, true, PICTURE, MAX_POINTS);
  selection = withoutLast(selection);
  assert.deepEqual(toFields(selection), { box: "[1,1,90,90]" });
  assert.equal(isEmpty(withoutLast(selection)), true);
});
