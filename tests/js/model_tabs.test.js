// A project that is open in two tabs.

import assert from "node:assert/strict";
import { test } from "node:test";

import { deferred, ok, openModel, project, refused, run, step } from "./model_support.js";

const CROP = { tool: "crop", params: { width: "50" }, title: "Crop" };

test("another step is shown if the current one was removed by another tab", async () => {
  const after = project({ currentStepId: "c", steps: [step("b"), step("c", "b")] });
  const { model, named } = await openModel({ "GET /editor/projects/p1": ok(after) });
  await model.synchronize();
  assert.equal(model.step?.id, "c");
  assert.equal(named("step").length, 2);
});

test("the steps that another tab has made are added without leaving the current one", async () => {
  const both = project({ currentStepId: "b", steps: [step("a"), step("b", "a")] });
  const { model, named } = await openModel({ "GET /editor/projects/p1": () => ok(both) });
  const shown = named("step").length;
  await model.synchronize();
  assert.deepEqual([model.step.id, model.steps.map((one) => one.id)], ["a", ["a", "b"]]);
  const built = named("project").length;
  await model.synchronize();
  assert.deepEqual([named("step").length, named("project").length], [shown, built], "nothing was new");
});

test("the steps that another tab has made during a run are added after it", async () => {
  const watched = deferred();
  const made = step("b", "a");
  const all = project({ currentStepId: "b", steps: [step("a"), made, step("c", "a")] });
  const { model } = await openModel({
    "POST /editor/projects/p1/runs": ok(run("running")),
    "GET /editor/projects/p1/runs/r1?seen=1": () => watched.promise,
    "GET /editor/projects/p1": ok(all),
  });
  const added = new Promise((resolve) => model.on("project", () => model.steps.length === 3 && resolve()));
  const applied = model.apply(CROP);
  await model.synchronize(); // another tab announces a step
  watched.resolve(ok(run("done", { step: made })));
  await applied;
  await added;
  assert.deepEqual(
    model.steps.map((one) => one.id),
    ["a", "b", "c"],
  );
});

test("a picture that another tab has deleted is closed here, too", async () => {
  const { model, named, announced } = await openModel({
    "GET /editor/projects/p1": refused(404, "NOT_FOUND"),
    "DELETE /editor/projects/p2": ok({}),
  });
  await model.synchronize();
  assert.equal(model.project, null);
  assert.match(named("notice")[0], /was deleted or has expired/);
  await model.deleteProject("p2");
  assert.deepEqual(announced, ["p2"]);
});

test("a picture that another device has deleted is closed once a request for it is refused", async () => {
  const gone = refused(404, "NOT_FOUND");
  const { model, named } = await openModel({
    "POST /editor/projects/p1/runs": gone,
    "GET /editor/projects/p1": gone,
  });
  const closed = new Promise((resolve) => model.on("project", () => model.project === null && resolve()));
  assert.equal(await model.apply(CROP), null);
  await closed;
  assert.match(named("notice")[0], /was deleted or has expired/);
});
