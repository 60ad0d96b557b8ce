// How long recent pictures are kept, in words.

import assert from "node:assert/strict";
import test from "node:test";

import { timeLeft } from "../../web/static/editor/start_screen.js";

test("the time that a picture is still kept is said in its largest unit", () => {
  const now = Date.parse("2026-01-01T00:00:00Z");
  assert.equal(timeLeft("2026-01-01T00:00:30Z", now), "expires now");
  assert.equal(timeLeft("2026-01-01T00:59:00Z", now), "kept 59 min");
  assert.equal(timeLeft("2026-01-01T23:30:00Z", now), "kept 23 h");
  assert.equal(timeLeft("2026-01-04T01:00:00Z", now), "kept 3 days");
});
