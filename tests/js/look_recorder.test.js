// Recording looks: at once on the screen, one step for several changes in a row, nothing lost or out of order.

import assert from "node:assert/strict";
import { test } from "node:test";

import { LookRecorder } from "../../web/static/editor/look_recorder.js";
import { deferred, modelWith, ok, openModel, project, refused, step } from "./model_support.js";

const CUT = step("b", "a", { tool: "bg-removal", cutout: { url: "/cut", look: {} } });
const LOOKS = "POST /editor/projects/p1/looks";
const look = (id, parentId) => step(id, parentId, { cutout: { url: "/cut", look: {} } });
const recorded = (id, parentId) => ok({ step: look(id, parentId), removedId: null });

async function recorderWith(answers) {
  const opened = project({ currentStepId: "b", steps: [step("a"), CUT] });
  const made = modelWith({ "GET /editor/projects/p1": ok(opened), [LOOKS]: answers });
  await made.model.openProject("p1");
  const timers = [];
  const recorder = new LookRecorder(
    made.model,
    (callback) => timers.push(callback) - 1,
    (timer) => timer !== null && (timers[timer] = () => {}),
  );
  const looks = () => made.requests.filter((request) => request.path.endsWith("/looks"));
  return { ...made, recorder, timers, looks };
}

test("several changes in a row become one step", async () => {
  const { recorder, model, timers, looks } = await recorderWith(recorded("c", "b"));
  for (const color of ["red", "green", "blue"]) recorder.schedule(CUT, { bg_color: color });
  assert.equal(looks().length, 0);
  timers.forEach((callback) => callback());
  await recorder.settle();
  assert.deepEqual(
    looks().map((request) => request.body),
    [{ stepId: "b", params: { bg_color: "blue" } }],
  );
  assert.deepEqual([model.step.id, recorder.isBehind], ["c", false]);
});

test("a look that follows another is made of it, so that undo leads through both", async () => {
  const first = deferred();
  const { recorder, model, looks } = await recorderWith([() => first.promise, recorded("d", "c")]);
  recorder.schedule(CUT, { bg_color: "red" });
  const settled = recorder.settle();
  recorder.schedule(CUT, { bg_color: "blue" });
  first.resolve(recorded("c", "b"));
  await settled;
  assert.deepEqual(
    looks().map((request) => [request.body.stepId, request.body.params.bg_color]),
    [
      ["b", "red"],
      ["c", "blue"],
    ],
  );
  assert.equal(model.step.id, "d");
  model.undo();
  assert.equal(model.step.id, "c");
});

test("a busy or absent server only delays the newest look", async () => {
  const lost = () => {
    throw new TypeError("network");
  };
  const answers = [refused(429, "RATE_LIMITED"), lost, lost, recorded("c", "b")];
  const { recorder, model, looks, named } = await recorderWith(answers);
  const said = [];
  for (const name of ["waiting", "waited"]) model.on(name, (text) => said.push([name, text, looks().length]));
  recorder.schedule(CUT, { bg_color: "red" });
  await recorder.settle();
  assert.equal(looks().length, 4);
  // Only of an absent server, once, and until the look is saved.
  const unsaved = "Not saved yet: the server cannot be reached. It is tried again.";
  assert.deepEqual(said, [
    ["waiting", unsaved, 2],
    ["waited", unsaved, 4],
  ]);
  assert.deepEqual([model.step.id, named("error")], ["c", []]);
});

test("undo does not wait for a server that is away, and takes back only the look that is shown", async () => {
  const lost = () => {
    throw new TypeError("network");
  };
  const { recorder, model, looks } = await recorderWith([lost, lost, recorded("c", "b")]);
  const shown = [];
  recorder.onRefused = (source) => shown.push(source.id);
  recorder.schedule(CUT, { bg_color: "red" });
  assert.equal(await recorder.trySettle(), false);
  recorder.withdraw();
  assert.deepEqual([shown, recorder.isBehind], [["b"], false]);
  recorder.schedule(CUT, { bg_color: "blue" });
  await recorder.settle();
  assert.deepEqual(
    looks().map((request) => request.body.params.bg_color),
    ["red", "blue", "blue"],
  );
  assert.equal(model.step.id, "c");
});

test("a look that was taken back while the server was away is not said to be unsaved", async () => {
  const { recorder, model } = await recorderWith([
    () => {
      throw new TypeError("network");
    },
  ]);
  const said = [];
  for (const name of ["waiting", "waited"]) model.on(name, () => said.push(name));
  model.on("waiting", () => setImmediate(() => recorder.discard()));
  recorder.schedule(CUT, { bg_color: "red" });
  await recorder.settle();
  assert.deepEqual(said, ["waiting", "waited"]);
});

test("a look that is not recorded yet can be taken back", async () => {
  const { recorder, timers, looks } = await recorderWith(recorded("c", "b"));
  assert.equal(recorder.discard(), false);
  recorder.schedule(CUT, { bg_color: "red" });
  assert.equal(recorder.discard(), true);
  timers.forEach((callback) => callback());
  await recorder.settle();
  assert.equal(looks().length, 0);
});

test("a refused look is reported, and the panel told to show the stored one", async () => {
  const { recorder, named } = await recorderWith(refused(422, "INVALID_PARAMETER"));
  const seen = [];
  recorder.onRefused = (source) => seen.push(source.id);
  recorder.schedule(CUT, { bg_color: "?" });
  await recorder.settle();
  assert.deepEqual([seen, named("error").length], [["b"], 1]);
});

test("a look that the server has drawn replaces its step", async () => {
  const drawn = step("c", "b", { isRendered: false, previewUrl: "/cut" });
  const { model } = await openModel(
    { "POST /editor/projects/p1/steps/c/rendering": ok({ step: { ...drawn, previewUrl: "/drawn" } }) },
    { opened: project({ currentStepId: "c", steps: [step("a"), CUT, drawn] }) },
  );
  assert.equal((await new LookRecorder(model).render(drawn)).previewUrl, "/drawn");
  assert.deepEqual([model.steps.length, model.step.previewUrl], [3, "/drawn"]);
});
