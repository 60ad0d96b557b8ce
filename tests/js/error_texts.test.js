import assert from "node:assert/strict";
import { test } from "node:test";

import { errorText } from "../../web/static/editor/error_texts.js";

const text = (code, message, param = null) => errorText({ code, message, param });

test("errors are sentences without codes and names of parameters", () => {
  for (const [code, message, param, expected] of [
    ["INSUFFICIENT_CREDITS", "available 0", null, "You have no credits left."],
    ["MISSING_IMAGE", "Send it as image_url or image_id.", null, "This file is empty. Choose another one."],
    [
      "INVALID_PARAMETER",
      "bg_scene: cannot be combined with bg_color",
      "bg_scene",
      "Background scene: cannot be combined with background color.",
    ],
    [
      "INVALID_PARAMETER",
      "strokes covers the whole image; a part must remain uncovered",
      "strokes",
      "What you marked covers the whole image; a part must remain uncovered.",
    ],
    ["INVALID_PARAMETER", "grow_mask: is too large", "grow_mask", "Room around your marks: is too large."],
    ["INVALID_PARAMETER", "A project has at most 200 steps.", "project", "A project has at most 200 steps."],
    [
      "RATE_LIMITED",
      "At most 60 a minute; try again in 1 s.",
      null,
      "At most 60 a minute; try again in 1 s.",
    ],
    // How operators install it is not for customers.
    [
      "MODEL_UNAVAILABLE",
      "lama is missing. Install it with: bgeraser models pull lama",
      null,
      "This is not installed on this server. Nothing was charged.",
    ],
    ["UNHEARD_OF", "", null, "Something went wrong."],
  ])
    assert.equal(text(code, message, param), expected);
  assert.equal(errorText({}), "Something went wrong.");
  assert.equal(errorText(new TypeError("it broke")), "It broke.");
});
