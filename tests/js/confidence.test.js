// The editor states how far a result can be trusted, and asks to check uncertain ones.

import assert from "node:assert/strict";
import { test } from "node:test";

import { withConfidence } from "../../web/static/editor/confidence.js";

test("a certain result is stated with its percentage", () => {
  assert.equal(withConfidence("Cut out", 0.874), "Cut out, 87 % sure.");
  assert.equal(withConfidence("Selected", 1), "Selected, 100 % sure.");
});

test("an uncertain result is to be checked", () => {
  assert.equal(withConfidence("Cut out", 0.41), "Cut out, 41 % sure. Please check it.");
  assert.equal(withConfidence("Selected", 0), "Selected, 0 % sure. Please check it.");
});
