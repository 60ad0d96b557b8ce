import assert from "node:assert/strict";
import { test } from "node:test";

import { credits } from "../../web/static/editor/words.js";
import { ACCOUNT, deferred, modelWith, ok, openModel, project, refused, step } from "./model_support.js";

test("opening a project shows its current step and remembers it in the tab and the address", async () => {
  const { model, addresses, storage, named } = await openModel({});
  assert.equal(model.step.id, "a");
  assert.equal(storage.get("bgeraser.project"), "p1");
  assert.deepEqual(addresses, ["/app/#p1"]);
  assert.equal(named("step").length, 1);
  assert.equal(model.isOpening, false);
});

test("only one project is opened at a time", async () => {
  const answer = deferred();
  const { model, requests } = modelWith({ "GET /editor/projects/p1": () => answer.promise });
  const first = model.openProject("p1");
  assert.equal(model.isOpening, true);
  await model.openProject("p1");
  assert.equal(requests.length, 1);
  answer.resolve(ok(project()));
  await first;
  assert.equal(model.project.id, "p1");
});

test("a project that cannot be opened is reported, and opening is over", async () => {
  const { model, named } = modelWith({ "POST /editor/projects": refused(422, "UNREADABLE_IMAGE") });
  await model.openSample("coffee");
  assert.deepEqual(
    named("error").map((error) => [error.status, error.code]),
    [[422, "UNREADABLE_IMAGE"]],
  );
  assert.deepEqual([model.project, model.isOpening], [null, false]);
});

test("the address names the project to resume, before the one of the tab", async () => {
  const options = { hash: "#p1", stored: { "bgeraser.project": "p2" } };
  const { model } = modelWith({ "GET /editor/projects/p1": ok(project()) }, options);
  assert.equal(await model.resume(), true);
  assert.equal(model.project.id, "p1");
});

test("without a project to resume nothing is requested", async () => {
  const { model, requests } = modelWith({});
  assert.equal(await model.resume(), false);
  assert.equal(requests.length, 0);
});

test("a project that is gone is forgotten silently, one that is refused with a message", async () => {
  for (const [status, code, reported] of [
    [404, "NOT_FOUND", 0],
    [403, "FORBIDDEN", 1],
  ]) {
    const routes = { "GET /editor/projects/p1": refused(status, code) };
    const made = modelWith(routes, { stored: { "bgeraser.project": "p1" } });
    assert.equal(await made.model.resume(), false);
    assert.equal(made.storage.has("bgeraser.project"), false);
    assert.deepEqual(made.addresses, ["/app/"]);
    assert.equal(made.named("error").length, reported, code);
  }
});

test("a project is resumed although the server is away for a moment", async () => {
  const routes = {
    "GET /editor/projects/p1": [
      refused(503, "OVERLOADED"),
      () => new Response("<html>Bad gateway</html>", { status: 502 }),
      ok(project()),
    ],
  };
  const { model, delays, named } = modelWith(routes, { stored: { "bgeraser.project": "p1" } });
  const opening = [];
  model.on("project", () => opening.push(model.isOpening));
  assert.equal(await model.resume(), true);
  assert.deepEqual([model.project.id, delays, named("error")], ["p1", [500, 1000], []]);
  assert.deepEqual([opening[0], opening.at(-1)], [true, false]);
});

test("a look that was being recorded when the page was left is waited for, but not for long", async () => {
  const recorded = project({ currentStepId: "b", steps: [step("a"), step("b", "a")] });
  for (const [answers, shown, waits] of [
    [[project(), project(), recorded], "b", 2],
    [[recorded], "b", 0],
    [Array(9).fill(project()), "a", 8],
  ]) {
    const left = await openModel({});
    left.model.leaveUnrecorded();
    const routes = { "GET /editor/projects/p1": answers.map(ok) };
    const made = modelWith(routes, { stored: Object.fromEntries(left.storage) });
    assert.equal(await made.model.resume(), true);
    assert.equal(made.model.step.id, shown);
    assert.equal(made.delays.length, waits);
    assert.equal(made.storage.has("bgeraser.unrecorded"), false);
  }
});

test("a page that was left with everything recorded is resumed at once", async () => {
  const left = await openModel({});
  const routes = { "GET /editor/projects/p1": () => ok(project()) };
  const made = modelWith(routes, { stored: Object.fromEntries(left.storage) });
  assert.equal(await made.model.resume(), true);
  assert.deepEqual(made.delays, []);
});

test("a project that is out of reach for longer is opened when the page is loaded again", async () => {
  const routes = { "GET /editor/projects/p1": () => refused(503, "OVERLOADED") };
  const made = modelWith(routes, { hash: "#p1", stored: { "bgeraser.project": "p1" } });
  assert.equal(await made.model.resume(), false);
  assert.equal(made.named("error").length, 1);
  assert.deepEqual([made.storage.get("bgeraser.project"), made.location.hash], ["p1", "#p1"]);
});

test("closing forgets the project", async () => {
  const { model, storage, addresses } = await openModel({});
  model.close();
  assert.deepEqual([model.project, model.step, model.steps], [null, null, []]);
  assert.equal(storage.has("bgeraser.project"), false);
  assert.equal(addresses.at(-1), "/app/");
});

test("Back leads to the start screen and Forward to the project again", async () => {
  const routes = { "GET /editor/projects/p1": () => ok(project()) };
  const { model, location, addresses } = await openModel(routes);
  location.hash = "";
  await model.navigate();
  assert.equal(model.project, null);
  location.hash = "#p1";
  await model.navigate();
  assert.equal(model.step.id, "a");
  const entered = addresses.length;
  await model.navigate();
  assert.equal(addresses.length, entered, "an address that is shown already changes nothing");
});

test("Back does not leave a project while a tool is running", async () => {
  const { model, location, named } = await openModel({
    "POST /editor/projects/p1/runs": () => new Promise(() => {}),
  });
  model.apply({ tool: "crop", params: {}, title: "Crop" });
  location.hash = "";
  await model.navigate();
  assert.deepEqual([model.project.id, location.hash], ["p1", "#p1"]);
  assert.match(named("notice").at(-1), /Crop is running/);
});

test("a tool is remembered for its project", async () => {
  const { model } = await openModel({ "GET /editor/projects/p2": ok(project({ id: "p2" })) });
  model.rememberTool("crop");
  assert.equal(model.rememberedTool, "crop");
  await model.openProject("p2");
  assert.equal(model.rememberedTool, "");
});

test("guests get previews of their own pictures, and results of samples", async () => {
  for (const [account, sample, getsPreviews] of [
    [null, null, true],
    [null, "coffee", false],
    [ACCOUNT, null, false],
  ]) {
    const { model } = await openModel({}, { account, opened: project({ sample }) });
    assert.equal(model.getsPreviews, getsPreviews);
    assert.equal(model.ownAddress, "/app/#p1");
  }
});

test("undo and redo move the current step and tell the server", async () => {
  const opened = project({ currentStepId: "c", steps: [step("a"), step("b", "a"), step("c", "a")] });
  const { model, requests } = await openModel(
    { "PUT /editor/projects/p1/current": () => ok(null) },
    { opened },
  );
  model.goTo("b");
  model.undo();
  assert.equal(model.step.id, "a");
  assert.equal(model.undoTarget, null);
  model.redo();
  assert.equal(model.step.id, "b", "redo returns to where undo came from, not to the newest step");
  model.startOver();
  assert.equal(model.step.id, "a");
  assert.deepEqual(
    requests.slice(1).map(({ body }) => body.stepId),
    ["b", "a", "b", "a"],
  );
});

test("undo does not lead to a deleted step", async () => {
  const steps = [step("a", null, { isAvailable: false }), step("b", "a")];
  const { model, requests } = await openModel({}, { opened: project({ currentStepId: "b", steps }) });
  assert.equal(model.undoTarget, null);
  model.undo();
  assert.deepEqual([model.step.id, requests.length], ["b", 1]);
});

test("a deleted step cannot become the current one", async () => {
  const opened = project({ steps: [step("a"), step("b", "a", { isAvailable: false })] });
  const { model, requests, named } = await openModel({}, { opened });
  await model.goTo("b");
  assert.equal(model.step.id, "a");
  assert.match(named("notice")[0], /24 hours/);
  assert.equal(requests.length, 1);
  assert.equal(model.redoTarget, null);
});

test("an aborted request is not reported", () => {
  const { model, named } = modelWith({});
  model.reportError(new DOMException("It was aborted.", "AbortError"));
  assert.equal(named("error").length, 0);
});

test("credits are counted in words", () => {
  assert.deepEqual([1, 2, 0].map(credits), ["1 credit", "2 credits", "0 credits"]);
});
