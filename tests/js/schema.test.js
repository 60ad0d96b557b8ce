import assert from "node:assert/strict";
import { test } from "node:test";

import { controlsOf, labelOf, toFields } from "../../web/static/editor/schema.js";

const PARAMETERS = {
  properties: {
    op: { enum: ["erase", "paint"], type: "string", description: "What it does." },
    bg_color: { anyOf: [{ type: "string" }, { type: "null" }], default: null },
    bg_blur: { type: "integer", minimum: 0, maximum: 100, default: 0 },
    decontaminate: { type: "boolean", default: true },
    target_width: {
      anyOf: [{ type: "integer", minimum: 1, maximum: 65535 }, { type: "null" }],
      default: null,
    },
    preset: { anyOf: [{ const: "marketplace", type: "string" }, { type: "null" }], default: null },
    strength: {
      anyOf: [{ type: "number", exclusiveMinimum: 0, maximum: 1 }, { type: "null" }],
      default: null,
    },
    model: { type: "string", default: "auto" },
  },
  required: ["op"],
};

test("each parameter becomes the control that suits it", () => {
  const kinds = Object.fromEntries(controlsOf(PARAMETERS).map((control) => [control.name, control.kind]));
  assert.deepEqual(kinds, {
    op: "choice",
    bg_color: "color",
    bg_blur: "range",
    decontaminate: "switch",
    target_width: "number",
    preset: "choice",
    strength: "number",
    model: "text",
  });
});

test("bounds, help and defaults are the catalogue's", () => {
  const [op, , blur, , width] = controlsOf(PARAMETERS);
  assert.deepEqual([op.help, op.isRequired, op.options], ["What it does.", true, ["erase", "paint"]]);
  assert.deepEqual([blur.least, blur.most, blur.initial], [0, 100, "0"]);
  assert.deepEqual([width.least, width.most, width.isOptional], [1, 65535, true]);
});

test("only what differs from the default is sent", () => {
  const controls = controlsOf(PARAMETERS);
  const values = { op: "erase", bg_blur: "0", bg_color: "", decontaminate: "false", model: "auto" };
  assert.deepEqual(toFields(controls, values), { op: "erase", decontaminate: "false" });
});

test("names are words for people", () => {
  assert.equal(labelOf("bg_color"), "Background color");
  assert.equal(labelOf("shift_edge"), "Shift edge");
});
