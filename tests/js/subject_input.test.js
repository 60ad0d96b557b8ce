// Dragging, scaling and turning the subject of a cut-out.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  actionAt,
  dragged,
  FINGER_HANDLES,
  MOUSE_HANDLES,
  nudged,
  outlineOf,
} from "../../web/static/editor/tools/subject_input.js";

const BOX = { x: 100, y: 50, width: 200, height: 100 };
const CANVAS = { width: 400, height: 200 };
const VIEW = { scale: 0.5, x: 10, y: 20 };
const STAGE = { width: 400, height: 300 };
const MIDDLE = { x: 200, y: 100 };

test("what is pressed decides what happens", () => {
  const outline = outlineOf(BOX, {}, CANVAS, VIEW, STAGE, MOUSE_HANDLES);
  assert.deepEqual(outline.corners[0], { x: 60, y: 45 });
  assert.equal(actionAt(outline, { x: 110, y: 70 }), "move");
  assert.equal(actionAt(outline, { x: 62, y: 47 }), "scale");
  assert.equal(actionAt(outline, outline.rotate), "rotate");
  assert.equal(actionAt(outline, { x: 250, y: 150 }), null);
});

test("the outline follows the subject", () => {
  const look = { subject_x: "25%", subject_scale: "50", subject_rotate: "90" };
  const { middle, corners } = outlineOf(BOX, look, CANVAS, VIEW, STAGE, MOUSE_HANDLES);
  assert.deepEqual([Math.round(middle.x), Math.round(middle.y)], [160, 70]);
  // Its top left corner is at the top right now, at half the distance.
  assert.deepEqual([Math.round(corners[0].x), Math.round(corners[0].y)], [173, 45]);
});

test("dragging moves the subject by shares of the picture, on top of where it was", () => {
  const look = { subject_x: "10%" };
  const fields = dragged("move", look, CANVAS, MIDDLE, { x: 200, y: 100 }, { x: 240, y: 90 });
  assert.deepEqual(fields, { subject_x: "20%", subject_y: "-5%" });
  const far = dragged("move", {}, CANVAS, MIDDLE, { x: 0, y: 0 }, { x: 9000, y: 0 });
  assert.equal(far.subject_x, "200%");
});

test("a corner scales about the middle, within limits", () => {
  const look = { subject_scale: "80" };
  const drag = (to) => dragged("scale", look, CANVAS, MIDDLE, { x: 300, y: 100 }, to);
  assert.deepEqual(drag({ x: 350, y: 100 }), { subject_scale: "120" });
  assert.deepEqual(drag({ x: 200, y: 100 }), { subject_scale: "5" });
  assert.deepEqual(drag({ x: 5000, y: 100 }), { subject_scale: "400" });
});

test("the handle turns the subject and snaps to right angles", () => {
  const drag = (look, to) => dragged("rotate", look, CANVAS, MIDDLE, { x: 200, y: 0 }, to);
  assert.deepEqual(drag({}, { x: 300, y: 98 }), { subject_rotate: "90" });
  assert.deepEqual(drag({}, { x: 271, y: 29 }), { subject_rotate: "45" });
  assert.deepEqual(drag({ subject_rotate: "170" }, { x: 271, y: 29 }), { subject_rotate: "-145" });
});

test("fingers get larger handles, and small subjects can still be moved", () => {
  const outline = outlineOf(BOX, {}, CANVAS, VIEW, STAGE, FINGER_HANDLES);
  assert.equal(actionAt(outline, { x: 40, y: 33 }), "scale");
  assert.equal(actionAt(outlineOf(BOX, {}, CANVAS, VIEW, STAGE, MOUSE_HANDLES), { x: 40, y: 33 }), null);
  const small = { x: 100, y: 50, width: 40, height: 40 };
  const around = outlineOf(small, {}, CANVAS, VIEW, STAGE, FINGER_HANDLES);
  assert.equal(actionAt(around, around.middle), "move");
});

test("the handle that turns is on the stage, whatever room is above the subject", () => {
  for (const handles of [MOUSE_HANDLES, FINGER_HANDLES]) {
    const { rotate } = outlineOf({ ...BOX, y: 0 }, {}, CANVAS, { ...VIEW, y: 14 }, STAGE, handles);
    assert.deepEqual(rotate, { x: 110, y: 14 + handles.distance });
  }
});

test("keys move the subject by small shares of the picture", () => {
  assert.deepEqual(nudged({ subject_x: "10%" }, CANVAS, { x: 2, y: -10 }), {
    subject_x: "11%",
    subject_y: "-10%",
  });
});
