// Presets as thumbnails, and what choosing one resets.

import assert from "node:assert/strict";
import test from "node:test";

import { thumbnailOf, withPreset } from "../../web/static/editor/tools/preset_chooser.js";

const AMAZON = {
  name: "amazon",
  title: "Amazon",
  rule: "White.",
  fields: { output_size: "2000x2000", scale: "88%", position: "center" },
  background: "#ffffff",
};
const STORY = {
  ...AMAZON,
  name: "story",
  fields: { output_size: "1080x1920", scale: "80%" },
  background: null,
};

test("a marketplace's preset leaves no yellow and no shadow of another look", () => {
  const look = {
    bg_color: "#ffd84d",
    shadow: "drop",
    shadow_blur: "9%",
    outline_width: "2%",
    crop: "true",
    feather: "2",
  };
  const changed = withPreset(look, AMAZON);
  assert.equal(changed.preset, "amazon");
  assert.equal(changed.bg_color, "#ffffff");
  assert.equal(changed.shadow, "none");
  for (const name of ["shadow_blur", "outline_width", "crop", "subject_x", "output_size"])
    assert.equal(changed[name], "", name);
  assert.equal(changed.feather, "2", "the edge is not ruled");
});

test("a preset that rules no background keeps it, and the shadow", () => {
  const changed = withPreset({ bg_scene: "sky", shadow: "drop", scale: "50%" }, STORY);
  assert.equal(changed.bg_scene, "sky");
  assert.equal(changed.shadow, "drop");
  assert.equal(changed.scale, "");
});

test("leaving a preset resets its frame", () => {
  assert.equal(withPreset({ preset: "story", output_size: "1080x1920" }, null).preset, "");
});

test("a thumbnail has the preset's shape", () => {
  assert.deepEqual(thumbnailOf(STORY.fields), { width: 56.25, height: 100, object: 80, isAtBottom: false });
  assert.equal(thumbnailOf({ output_size: "827x1063", scale: "90%", position: "50% 100%" }).isAtBottom, true);
});
