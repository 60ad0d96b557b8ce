import assert from "node:assert/strict";
import { test } from "node:test";

test("every module of the editor imports only what the others export", async () => {
  const main = await import("../../web/static/editor/main.js");
  assert.equal(typeof main.start, "function");
});
