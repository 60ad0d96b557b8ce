import assert from "node:assert/strict";
import { test } from "node:test";

import { stepTitle } from "../../web/static/editor/tool_names.js";

test("steps are named by what was done", () => {
  const title = "The server's";
  assert.equal(stepTitle({ tool: null, title: "Original", params: {} }), "Original");
  assert.equal(stepTitle({ tool: "upscale", title, params: {} }), "Enlarge");
  assert.equal(stepTitle({ tool: "brush", title, params: { op: "heal" } }), "Heal");
  assert.equal(stepTitle({ tool: "generative-fill", title, params: { prompt: "a cup" } }), "Generate");
  assert.equal(stepTitle({ tool: "generative-fill", title, params: {} }), "Remove object");
  assert.equal(stepTitle({ tool: "bg-removal", title, params: {}, answer: {} }), "Look");
  const cutOut = { tool: "bg-removal", title, params: {}, answer: { confidence: 0.9 } };
  assert.equal(stepTitle(cutOut), "Remove background");
  assert.equal(stepTitle({ tool: "later", title, params: {} }), title, "a tool that this page does not know");
});
