// Planes at other sizes.

import assert from "node:assert/strict";
import { test } from "node:test";

import { enlarged, reduced } from "../../web/static/editor/plane_sizes.js";

test("reducing averages areas and enlarging interpolates", () => {
  const ramp = Float32Array.from({ length: 16 }, (_, at) => at);
  const small = reduced(ramp, { width: 16, height: 1 }, { width: 4, height: 1 });
  assert.deepEqual([...small], [1.5, 5.5, 9.5, 13.5]);
  const large = enlarged(small, { width: 4, height: 1 }, { width: 16, height: 1 });
  assert.ok([...large.slice(2, 14)].every((value, at) => Math.abs(value - (at + 2)) < 0.01));
});
