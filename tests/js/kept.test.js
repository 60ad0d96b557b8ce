// Results that are kept as long as what they depend on stays the same.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Kept } from "../../web/static/editor/kept.js";
import { finished } from "../../web/static/editor/steps.js";

/** Gets a value that says how often it was computed. */
function getter(limits) {
  const kept = new Kept(limits);
  let computed = 0;
  const get = (key, source) =>
    finished(
      kept.get("blur", key, source, function* compute() {
        yield;
        computed += 1;
        return computed;
      }),
    );
  return { kept, get };
}

test("a result is computed once for each key and source", () => {
  const { get } = getter({ blur: 3 });
  const [one, other] = [{}, {}];
  assert.deepEqual([get("a", one), get("a", one), get("b", one), get("a", other)], [1, 1, 2, 3]);
});

test("the results used last are kept", () => {
  const { kept, get } = getter({ blur: 2 });
  const source = {};
  get("a", source);
  get("b", source);
  get("a", source);
  get("c", source);
  assert.deepEqual(
    ["a", "b", "c"].map((key) => kept.has("blur", key, source)),
    [true, false, true],
  );
});

test("a computation that another one overtakes leaves one result", () => {
  const { kept } = getter({ blur: 2 });
  const source = {};
  function* compute() {
    yield;
    return "slow";
  }
  const slow = kept.get("blur", "a", source, compute);
  slow.next();
  kept.keep("blur", "b", source, "other");
  kept.keep("blur", "a", source, "fast");
  assert.equal(finished(slow), "slow");
  assert.ok(kept.has("blur", "b", source));
});
