// The open picture's steps as steps of a batch.

import assert from "node:assert/strict";
import test from "node:test";

import { recipeOf, sentSteps } from "../../web/static/editor/batch/recipe.js";

const step = (id, parentId, tool, params = {}, more = {}) => ({
  ...{ id, parentId, tool, params, title: tool ?? "Original", answer: {}, width: 400, height: 200 },
  ...more,
});

test("lengths in pixels become shares, and file types are left to the batch", () => {
  const steps = [
    step("1", null, null),
    step("2", "1", "crop", { x: "100", y: "50", width: "200", height: "100", format: "png", rotate: "90" }),
    step("3", "2", "generative-expand", { left: "20", top: "10%", format: "png" }, { width: 220 }),
  ];
  steps[1] = { ...steps[1], width: 200, height: 100 };
  assert.deepEqual(recipeOf(steps, "3"), {
    steps: [
      { tool: "crop", params: { x: "25%", y: "25%", width: "50%", height: "50%", rotate: "90" } },
      { tool: "generative-expand", params: { left: "10%", top: "10%" } },
    ],
    leftOut: [],
  });
  assert.deepEqual(recipeOf(steps, "1"), { steps: [], leftOut: [] });
});

test("looks of a cut-out are one step with the last look", () => {
  const cutout = (look) => ({ cutout: { look } });
  const steps = [
    step("1", null, null),
    step(
      "2",
      "1",
      "bg-removal",
      { model: "quality", format: "png", shadow: "drop" },
      cutout({ shadow: "drop" }),
    ),
    step("3", "2", "bg-removal", { bg_color: "#ffffff" }, cutout({ bg_color: "#ffffff", bg_image_id: "" })),
    step("4", "3", "upscale", { scale: "2" }),
  ];
  assert.deepEqual(recipeOf(steps, "4").steps, [
    { tool: "bg-removal", params: { model: "quality", bg_color: "#ffffff" } },
    { tool: "upscale", params: { scale: "2" } },
  ]);
});

test("what was marked in one picture is left out and named once", () => {
  const steps = [
    step("1", null, null),
    step("2", "1", "brush", { op: "erase", strokes: "[]" }),
    step("3", "2", "brush", { op: "erase", strokes: "[]" }),
    step("4", "3", "generative-fill", {}),
    step("5", "4", "upscale", {}),
  ];
  const { steps: recipe, leftOut } = recipeOf(steps, "5");
  assert.deepEqual(recipe, [{ tool: "upscale", params: {} }]);
  assert.deepEqual(leftOut, ["Erase", "Remove object"]);
});

test("only the last step decides the file type, and nothing is lost between the steps", () => {
  const steps = [
    { tool: "crop", params: { flip: "h" } },
    { tool: "upscale", params: {} },
  ];
  assert.deepEqual(sentSteps(steps, "webp"), [
    { tool: "crop", params: { flip: "h", quality: "100" } },
    { tool: "upscale", params: { format: "webp" } },
  ]);
  assert.deepEqual(sentSteps(steps, "")[1], { tool: "upscale", params: {} });
});
