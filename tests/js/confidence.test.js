// The editor states how far a result can be trusted, and asks to check uncertain ones.

import assert from "node:assert/strict";
import { test } from "node:test";

import { describeCutout, withConfidence } from "../../web/static/editor/confidence.js";

test("a certain result is stated with its percentage", () => {
  assert.equal(withConfidence("Cut out", 0.874), "Cut out, 87 % sure.");
  assert.equal(withConfidence("Selected", 1), "Selected, 100 % sure.");
});

test("an uncertain result is to be checked", () => {
  assert.equal(withConfidence("Cut out", 0.41), "Cut out, 41 % sure. Please check it.");
  assert.equal(withConfidence("Selected", 0), "Selected, 0 % sure. Please check it.");
});

const photo = { tool: null, answer: {}, cutout: null };
const cut = { tool: "bg-removal", answer: { confidence: 0.19 }, cutout: {} };
const look = { tool: "bg-removal", answer: {}, cutout: {} };
const crop = { tool: "crop", answer: {}, cutout: {} };

test("looks and crops do not change how certain a cut-out is", () => {
  const text = "Cut out, 19 % sure. Please check it.";
  for (const path of [
    [photo, cut],
    [photo, cut, look, crop],
  ])
    assert.equal(describeCutout(path), text);
});

test("after retouching, the network's confidence is not stated any more", () => {
  for (const tool of ["brush", "magic-select"]) {
    const retouched = { tool, answer: {}, cutout: {} };
    assert.equal(describeCutout([photo, cut, retouched, look]), "Cut out, retouched by hand.");
  }
  const edited = { tool: "brush", answer: {}, cutout: null };
  assert.equal(describeCutout([edited, cut]), "Cut out, 19 % sure. Please check it.");
});

test("a cut-out from a selection has no confidence", () => {
  assert.equal(describeCutout([photo, { tool: "magic-select", answer: {}, cutout: {} }]), "Cut out.");
});
