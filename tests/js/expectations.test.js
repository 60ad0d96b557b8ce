// When the server is asked how long a run would take.

import assert from "node:assert/strict";
import test from "node:test";

import { Expectations } from "../../web/static/editor/expectations.js";

const REQUEST = /** @type {any} */ ({ tool: "upscale", params: { scale: "2" } });

function asker() {
  const asked = /** @type {string[]} */ ([]);
  const model = /** @type {any} */ ({
    project: { id: "prj_1" },
    step: { id: "step_1" },
    client: {
      expectation: async (/** @type {string} */ id) => {
        asked.push(id);
        return { expectedSeconds: 4 };
      },
    },
    on() {},
  });
  return { asked, model };
}

test("a time is asked for once, after a pause, and kept", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { asked, model } = asker();
  const answered = new Promise((resolve) => {
    const expectations = new Expectations(model, () => resolve(expectations));
    assert.equal(expectations.of(REQUEST), null);
    assert.equal(expectations.of(REQUEST), null);
  });
  context.mock.timers.tick(1000);
  assert.equal((await answered).of(REQUEST), 4);
  assert.deepEqual(asked, ["prj_1"]);
});

test("nothing is asked about a picture that was closed meanwhile", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { asked, model } = asker();
  const expectations = new Expectations(model, () => {});
  expectations.of(REQUEST);
  model.project = null;
  context.mock.timers.tick(1000);
  assert.deepEqual(asked, []);
  // The picture is opened again: its question is a new one.
  model.project = { id: "prj_1" };
  expectations.of(REQUEST);
  context.mock.timers.tick(1000);
  assert.deepEqual(asked, ["prj_1"]);
});
