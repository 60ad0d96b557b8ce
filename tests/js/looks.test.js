// What the fields of a look mean at a preview's size.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as looks from "../../web/static/editor/looks.js";

const PRESETS = [
  {
    name: "marketplace",
    title: "Any shop",
    rule: "",
    fields: { output_size: "2000x2000", scale: "85%" },
    background: "#ffffff",
  },
];

test("a preset stands for its fields and its background, which a look's own ones replace", () => {
  assert.deepEqual(looks.resolved({ feather: "2", crop: "" }, PRESETS), { feather: "2" });
  const plain = looks.resolved({ preset: "marketplace" }, PRESETS);
  assert.deepEqual([plain.output_size, plain.scale, plain.bg_color], ["2000x2000", "85%", "#ffffff"]);
  const own = looks.resolved({ preset: "marketplace", bg_blur: "9", scale: "70%" }, PRESETS);
  assert.deepEqual([own.scale, own.bg_color, own.bg_blur], ["70%", undefined, "9"]);
});

test("a look is moved if its subject is, whatever its neutral values are", () => {
  for (const still of [
    {},
    { subject_x: "0", subject_scale: "100", subject_rotate: "0" },
    { subject_y: "0%" },
  ])
    assert.equal(looks.isMoved(still), false);
  for (const moved of [{ subject_x: "-3%" }, { subject_scale: "80" }, { subject_rotate: "90" }])
    assert.equal(looks.isMoved(moved), true);
});

test("an unplaced look is that of the photo's frame, on its background", () => {
  const look = { bg_color: "red", crop: "true", subject_x: "5%", subject_rotate: "9" };
  assert.deepEqual(looks.unplaced(look), { bg_color: "red" });
  const preset = looks.resolved({ preset: "marketplace" }, PRESETS);
  assert.deepEqual(looks.unplaced(preset), { bg_color: "#ffffff" });
});

test("looks are compared without order, encoding and empty fields", () => {
  const one = { bg_color: "red", feather: "2" };
  assert.ok(looks.isSameLook(one, { feather: "2", format: "png", bg_color: "red", shadow: "" }));
  assert.ok(!looks.isSameLook(one, { bg_color: "red" }));
});

test("lengths are whole pixels of the picture or percentages of a side", () => {
  assert.equal(looks.lengthPixels("12.6", 200), 13);
  assert.equal(looks.lengthPixels("-2.5%", 200), -5);
  assert.equal(looks.objectSize({ x: 0, y: 0, width: 40, height: 10 }, 0.5), 40);
});

test("a shadow has the server's defaults, at the preview's scale", () => {
  const box = { x: 0, y: 0, width: 100, height: 100 };
  assert.equal(looks.shadowOf({}, box, 1), null);
  const shadow = looks.shadowOf({ shadow: "drop" }, box, 0.5);
  assert.deepEqual(shadow, { kind: "drop", x: 2, y: 4, blur: 5, opacity: 0.5, color: "#000000" });
  assert.equal(looks.shadowOf({ shadow: "contact" }, box, 1).blur, 3);
});

test("a moved subject turns clockwise about its middle", () => {
  const move = looks.moveOf(
    { subject_x: "10%", subject_y: "20", subject_scale: "200", subject_rotate: "90" },
    { width: 300, height: 200 },
    1,
  );
  assert.deepEqual(move, { x: 30, y: 20, scale: 2, degrees: 90 });
  const { x, y } = looks.movedPoint({ x: 110, y: 100 }, { x: 100, y: 100 }, move);
  assert.deepEqual([Math.round(x), Math.round(y)], [130, 140]);
});

test("a gradient's line ends as in CSS", () => {
  const down = looks.gradientOf("fff #000", { width: 40, height: 20 });
  assert.deepEqual(
    [Math.round(down.from.y) + 0, Math.round(down.to.y), down.colors],
    [0, 20, ["#fff", "#000"]],
  );
  const right = looks.gradientOf("red, blue, 90deg", { width: 40, height: 20 });
  assert.deepEqual([right.from.x, right.to.x], [0, 40]);
  assert.equal(looks.gradientOf("red", { width: 1, height: 1 }), null);
});

test("a background picture fills the canvas and is cut evenly", () => {
  const part = looks.coverPart({ width: 300, height: 100 }, { width: 100, height: 100 });
  assert.deepEqual(part, { x: 100, y: 0, width: 100, height: 100 });
});

test("the background's blur has the same reduced size at every scale", () => {
  const whole = looks.backgroundBlur(40, { width: 3000, height: 2000 });
  const preview = looks.backgroundBlur(40, { width: 1500, height: 1000 });
  assert.deepEqual(whole, preview);
  assert.equal(looks.backgroundBlur(1, { width: 300, height: 200 }).size.width, 300);
});
