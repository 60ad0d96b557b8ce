import assert from "node:assert/strict";
import { test } from "node:test";

import { percentOf, positionOf, sizeText, wordsOf, applies } from "../../web/static/editor/words.js";

test("a setting that only makes sense as text is not offered", () => {
  assert.equal(wordsOf({ name: "roi", label: "Region", help: "Two corners." }), null);
  assert.equal(wordsOf({ name: "grow_mask", label: "Grow mask", help: "" }).label, "Room around your marks");
  const unknown = { name: "new_setting", label: "New setting", help: "It is new." };
  assert.deepEqual(wordsOf(unknown), { label: "New setting", help: "It is new." });
});

test("a setting without effect is not sent, because the server refuses it", () => {
  const get = (values) => (name) => values[name] ?? "";
  assert.equal(applies("crop_margin", get({ crop: "false" })), false);
  assert.equal(applies("crop_margin", get({ crop: "true" })), true);
  assert.equal(applies("pad_color", get({ fit: "cover" })), false);
  assert.equal(applies("feather", get({})), true);
});

test("the API's texts become numbers and back", () => {
  assert.deepEqual([percentOf("12.5%", 5), percentOf("", 5), percentOf("20 40", 5)], [12.5, 5, 5]);
  assert.deepEqual(
    [positionOf("30% 70%"), positionOf("center")],
    [
      [30, 70],
      [50, 50],
    ],
  );
  assert.deepEqual([sizeText("800", "600"), sizeText("800", ""), sizeText("8.5", "6")], ["800x600", "", ""]);
});
