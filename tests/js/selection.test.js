import assert from "node:assert/strict";
import { test } from "node:test";

import {
  boxed,
  clicked,
  empty,
  isEmpty,
  isUsable,
  toParams,
  undone,
} from "../../web/static/editor/selection.js";

const PICTURE = { width: 600, height: 400 };

test("clicks are whole pixels inside the picture", () => {
  let selection = clicked(empty(), { x: 10.9, y: 20.2 }, true, PICTURE);
  selection = clicked(selection, { x: -1, y: 20 }, true, PICTURE);
  selection = clicked(selection, { x: 600, y: 20 }, true, PICTURE);
  selection = clicked(selection, { x: 599.9, y: 0 }, false, PICTURE);
  assert.deepEqual(toParams(selection), { points: "[[10,20,1],[599,0,0]]" });
});

test("a box is drawn in any direction and cut to the picture", () => {
  const selection = boxed(empty(), { x: 700, y: 300 }, { x: 20.4, y: -9 }, PICTURE);
  assert.deepEqual(toParams(selection), { box: "[20,0,600,300]" });
  assert.equal(boxed(empty(), { x: 5, y: 5 }, { x: 6, y: 90 }, PICTURE).box, null);
});

test("a click beside the object alone is not enough", () => {
  assert.equal(isUsable(clicked(empty(), { x: 1, y: 1 }, false, PICTURE)), false);
  assert.equal(isUsable(clicked(empty(), { x: 1, y: 1 }, true, PICTURE)), true);
  assert.equal(isUsable({ ...empty(), auto: true }), true);
});

test("undo takes clicks back one by one, then the box", () => {
  let selection = boxed(empty(), { x: 1, y: 1 }, { x: 90, y: 90 }, PICTURE);
  selection = clicked(selection, { x: 9, y: 9 }, true, PICTURE);
  selection = undone(selection);
  assert.deepEqual(toParams(selection), { box: "[1,1,90,90]" });
  assert.equal(isEmpty(undone(selection)), true);
});
