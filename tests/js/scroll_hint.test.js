// A row that scrolls sideways shows where there is more of it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { hiddenEnds } from "../../web/static/editor/scroll_hint.js";

test("the ends that hide something are named", () => {
  assert.equal(hiddenEnds({ scrollLeft: 0, clientWidth: 360, scrollWidth: 430 }), "end");
  assert.equal(hiddenEnds({ scrollLeft: 30, clientWidth: 360, scrollWidth: 430 }), "start end");
  assert.equal(hiddenEnds({ scrollLeft: 69.5, clientWidth: 360, scrollWidth: 430 }), "start");
});

test("nothing is hidden in a row that fits, or by less than its padding", () => {
  assert.equal(hiddenEnds({ scrollLeft: 0, clientWidth: 430, scrollWidth: 430 }), "");
  assert.equal(hiddenEnds({ scrollLeft: 0.5, clientWidth: 424, scrollWidth: 430 }), "");
});
