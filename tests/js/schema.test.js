import assert from "node:assert/strict";
import { test } from "node:test";

import { controlSpecs, labelOf, toFields } from "../../web/static/editor/schema.js";

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

test("each parameter gets a suitable control", () => {
  const kinds = Object.fromEntries(controlSpecs(PARAMETERS).map((control) => [control.name, control.kind]));
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

test("bounds, help and defaults come from the schema", () => {
  const [op, , blur, , width] = controlSpecs(PARAMETERS);
  assert.deepEqual([op.help, op.isRequired, op.options], ["What it does.", true, ["erase", "paint"]]);
  assert.deepEqual([blur.min, blur.max, blur.initial], [0, 100, "0"]);
  assert.deepEqual([width.min, width.max, width.isOptional], [1, 65535, true]);
});

test("only what differs from the default is sent", () => {
  const controls = controlSpecs(PARAMETERS);
  const values = { op: "erase", bg_blur: "0", bg_color: "", decontaminate: "false", model: "auto" };
  assert.deepEqual(toFields(controls, values), { op: "erase", decontaminate: "false" });
});

test("parameter names become readable labels", () => {
  assert.equal(labelOf("bg_color"), "Background color");
  assert.equal(labelOf("shift_edge"), "Shift edge");
});
