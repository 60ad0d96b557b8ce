// Frames of looks, and where the photo is on their previews. test_placement.py compares the frames with the server's.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as placement from "../../web/static/editor/placement.js";

const PICTURE = { width: 4000, height: 3000 };
const BOX = { x: 1000, y: 500, width: 2000, height: 1500 };

test("a look has a frame of its own if anything places the subject", () => {
  for (const look of [{}, { crop: "false" }, { scale: "original" }, { position: "original" }])
    assert.equal(placement.isFramed(look), false, JSON.stringify(look));
  for (const look of [{ crop: "true" }, { output_size: "9x9" }, { scale: "80%" }, { position: "0%" }])
    assert.equal(placement.isFramed(look), true, JSON.stringify(look));
});

test("the preview of a crop has the scale of the photo's", () => {
  const framing = placement.framingOf(
    placement.placementOf({ crop: "true" }, BOX, PICTURE),
    PICTURE,
    0.4,
    false,
  );
  assert.deepEqual(framing.canvas, { width: 2000, height: 1500 });
  assert.deepEqual(framing.size, { width: 800, height: 600 });
  assert.deepEqual(framing.picture, { x: -400, y: -200, width: 1600, height: 1200 });
  assert.ok(framing.keepsPixels);
  assert.deepEqual(placement.placedBox(BOX, PICTURE, framing), { x: 0, y: 0, width: 2000, height: 1500 });
});

test("the preview of a large result is limited", () => {
  const look = { output_size: "8000x8000", scale: "80%" };
  const placed = placement.placementOf(look, BOX, PICTURE);
  const framing = placement.framingOf(placed, PICTURE, 0.4, false);
  assert.ok(framing.size.width * framing.size.height < 2_000_000);
  assert.ok(placement.framingOf(placed, PICTURE, 0.4, true).size.width > framing.size.width);
  assert.equal(framing.keepsPixels, false);
  const { x, width } = placement.placedBox(BOX, PICTURE, framing);
  assert.deepEqual([Math.round(x), Math.round(width)], [800, 6400]);
});
