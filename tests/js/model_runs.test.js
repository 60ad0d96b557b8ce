import assert from "node:assert/strict";
import { test } from "node:test";

import {
  ACCOUNT,
  deferred,
  LIMITS,
  modelWith,
  ok,
  openModel,
  project,
  refused,
  run,
  step,
} from "./model_support.js";

const CROP = { tool: "crop", params: { width: "50" }, title: "Crop" };

const methodsAndPaths = (requests) => requests.map(({ method, path }) => `${method} ${path}`);

test("a run is watched until it is done; its step becomes the current one", async () => {
  const made = step("b", "a");
  const { model, requests, named, storage } = await openModel({
    "POST /editor/projects/p1/runs": ok(run("queued", { queuePosition: 2, version: 0 })),
    "GET /editor/projects/p1/runs/r1?seen=0": ok(run("running", { stage: "cropping", version: 3 })),
    "GET /editor/projects/p1/runs/r1?seen=3": ok(
      run("done", { creditsCharged: 1, creditsAvailable: 14, stepId: "b", step: made }),
    ),
  });
  const states = [];
  model.on("run", () => states.push(model.run && [model.run.status, model.run.title]));
  assert.equal((await model.apply(CROP)).id, "b");
  assert.deepEqual(states, [["queued", "Crop"], ["queued", "Crop"], ["running", "Crop"], null]);
  assert.equal(model.step.id, "b");
  assert.deepEqual(named("step").at(-1), { made });
  assert.deepEqual(named("notice"), ["Crop: done. 1 credit."]);
  assert.deepEqual(requests[1].body, { stepId: "a", tool: "crop", params: { width: "50" } });
  assert.match(requests[1].headers["Idempotency-Key"], /^[0-9a-f]{32}$/);
  assert.equal(storage.has("bgeraser.pending-runs"), false);
});

test("the balance comes from the run's answer, without asking for it again", async () => {
  const { model, requests, named } = await openModel({
    "POST /editor/projects/p1/runs": ok(run("running")),
    "GET /editor/projects/p1/runs/r1?seen=1": ok(
      run("done", { creditsCharged: 1, creditsAvailable: 7, step: step("b", "a") }),
    ),
  });
  await model.apply(CROP);
  assert.equal(model.account.creditsAvailable, 7);
  assert.equal(model.account.email, ACCOUNT.email);
  assert.equal(named("account").length, 1);
  assert.equal(methodsAndPaths(requests).includes("GET /editor/session"), false);
});

test("a run that is done at once is fetched once more for its step", async () => {
  const { model } = await openModel({
    "POST /editor/projects/p1/runs": ok(run("done", { stepId: "b" })),
    "GET /editor/projects/p1/runs/r1?seen=-1": ok(run("done", { stepId: "b", step: step("b", "a") })),
  });
  await model.apply(CROP);
  assert.equal(model.step.id, "b");
});

test("a mask is added without becoming the current step", async () => {
  const mask = step("m", "a", { isMask: true });
  const { model, named } = await openModel({
    "POST /editor/projects/p1/runs": ok(run("running")),
    "GET /editor/projects/p1/runs/r1?seen=1": ok(run("done", { step: mask })),
  });
  await model.apply(CROP);
  assert.deepEqual([model.step.id, model.steps.length], ["a", 2]);
  assert.deepEqual(named("step").at(-1), { made: mask });
});

test("a run whose tab was closed is followed by the next one, and not started again", async () => {
  const active = { ...run("running"), tool: "upscale" };
  const { model, requests, named } = await openModel(
    {
      "GET /editor/projects/p1/runs/r1?seen=1": ok(
        run("done", { step: step("b", "a"), creditsCharged: 1, creditsAvailable: 14 }),
      ),
    },
    { opened: project({ run: active }) },
  );
  assert.deepEqual([model.step.id, model.run, model.account.creditsAvailable], ["b", null, 14]);
  assert.deepEqual(named("notice"), ["Enlarge: done. 1 credit."]);
  assert.deepEqual(methodsAndPaths(requests), [
    "POST /editor/projects",
    "GET /editor/projects/p1/runs/r1?seen=1",
  ]);
});

test("a failed run is reported and changes no step", async () => {
  const error = { status: 500, code: "PROCESSING_FAILED", message: "It failed." };
  const { model, named } = await openModel({
    "POST /editor/projects/p1/runs": ok(run("running")),
    "GET /editor/projects/p1/runs/r1?seen=1": ok(run("failed", { error, creditsAvailable: 15 })),
  });
  assert.equal(await model.apply(CROP), null);
  assert.deepEqual(
    named("error").map(({ status, code, message }) => [status, code, message]),
    [[500, "PROCESSING_FAILED", "It failed."]],
  );
  assert.deepEqual([model.steps.length, model.run, named("notice")], [1, null, []]);
});

test("a run that is refused is reported, and the balance is fetched", async () => {
  const { model, named, storage } = await openModel({
    "POST /editor/projects/p1/runs": refused(402, "INSUFFICIENT_CREDITS"),
    "GET /editor/session": ok({
      csrfToken: "t",
      account: { ...ACCOUNT, creditsAvailable: 0 },
      limits: LIMITS,
    }),
  });
  const balance = new Promise((resolve) =>
    model.on("account", () => resolve(model.account.creditsAvailable)),
  );
  assert.equal(await model.apply(CROP), null);
  assert.equal(named("error")[0].code, "INSUFFICIENT_CREDITS");
  assert.equal(await balance, 0);
  assert.equal(storage.has("bgeraser.pending-runs"), false);
});

const unreachable = () => {
  throw new TypeError("fetch failed");
};
const failing = (status, body) => () => new Response(body, { status });
const PENDING = "bgeraser.pending-runs";

test("a run that could not be started is started again with the same key", async () => {
  const { model, requests, delays, named, storage } = await openModel({
    "POST /editor/projects/p1/runs": [
      unreachable,
      failing(502, "<html>Bad gateway</html>"),
      ok(run("done", { step: step("b", "a"), creditsCharged: 1 })),
    ],
  });
  const states = [];
  model.on("run", () => states.push(model.run?.isDisconnected));
  assert.equal((await model.apply(CROP)).id, "b");
  const keys = requests.slice(1).map((one) => one.headers["Idempotency-Key"]);
  assert.deepEqual([keys.length, new Set(keys).size], [3, 1]);
  assert.deepEqual(delays, [500, 1000]);
  assert.deepEqual(states, [false, true, undefined]);
  assert.deepEqual([named("error"), storage.has(PENDING)], [[], false]);
});

test("polls that fail are repeated, so that a paid run is not abandoned", async () => {
  const { model, requests, delays, named } = await openModel({
    "POST /editor/projects/p1/runs": ok(run("running")),
    "GET /editor/projects/p1/runs/r1?seen=1": [
      unreachable,
      failing(504, ""),
      refused(503, "OVERLOADED"),
      refused(429, "RATE_LIMITED"),
      ok(run("done", { step: step("b", "a"), creditsCharged: 1 })),
    ],
  });
  assert.equal((await model.apply(CROP)).id, "b");
  assert.equal(requests.filter(({ method }) => method === "POST").length, 2, "one project and one run");
  assert.deepEqual(delays, [500, 1000, 2000, 4000]);
  assert.deepEqual(named("error"), []);
});

test("a run that comes a moment too soon is sent again", async () => {
  const tooSoon = (seconds) => () => {
    const error = { code: "RATE_LIMITED", message: "At most 60 a minute." };
    const headers = { "Retry-After": `${seconds}` };
    return Response.json({ success: false, error }, { status: 429, headers });
  };
  const made = step("b", "a");
  const { model, requests, named } = await openModel({
    "POST /editor/projects/p1/runs": [tooSoon(1), tooSoon(1), ok(run("done", { step: made }))],
  });
  const states = [];
  model.on("run", () => states.push(model.run?.isDisconnected));
  assert.equal((await model.apply(CROP)).id, "b");
  const keys = requests.map((one) => one.headers["Idempotency-Key"]).filter(Boolean);
  assert.deepEqual([keys.length, new Set(keys).size], [3, 1]);
  assert.deepEqual([states, named("error")], [[false, undefined], []]);
});

test("a run that was refused outright leaves nothing to look for", async () => {
  for (const [status, code] of [
    [429, "RATE_LIMITED"],
    [503, "OVERLOADED"],
    [401, "INVALID_API_KEY"],
  ]) {
    const { model, named, storage } = await openModel({
      "POST /editor/projects/p1/runs": refused(status, code),
      "GET /editor/session": () => ok({ csrfToken: "t", account: ACCOUNT, limits: LIMITS }),
    });
    assert.equal(await model.apply(CROP), null);
    assert.deepEqual([named("error")[0].code, storage.has(PENDING), model.unknownRun], [code, false, ""]);
  }
});

test("a refusal after an answer was lost leaves the outcome unknown", async () => {
  const { model, storage } = await openModel({
    "POST /editor/projects/p1/runs": [unreachable, refused(429, "RATE_LIMITED")],
    "GET /editor/session": () => ok({ csrfToken: "t", account: ACCOUNT, limits: LIMITS }),
  });
  assert.equal(await model.apply(CROP), null);
  assert.deepEqual([storage.has(PENDING), model.unknownRun], [true, "Crop"]);
});

test("a run that the server has forgotten is found by its key", async () => {
  const { model, requests } = await openModel({
    "POST /editor/projects/p1/runs": [
      ok(run("running")),
      ok(run("done", { id: "r2", step: step("b", "a") })),
    ],
    "GET /editor/projects/p1/runs/r1?seen=1": refused(404, "NOT_FOUND"),
  });
  assert.equal((await model.apply(CROP)).id, "b");
  const keys = requests.map((one) => one.headers["Idempotency-Key"]).filter(Boolean);
  assert.deepEqual([keys.length, new Set(keys).size], [2, 1]);
});

test("a run that is forgotten again and again is given up", async () => {
  const { model, requests, named } = await openModel({
    "POST /editor/projects/p1/runs": () => ok(run("running")),
    "GET /editor/projects/p1/runs/r1?seen=1": () => refused(404, "NOT_FOUND"),
    "GET /editor/session": () => ok({ csrfToken: "t", account: ACCOUNT, limits: LIMITS }),
  });
  assert.equal(await model.apply(CROP), null);
  assert.equal(named("error")[0].code, "NOT_FOUND");
  assert.equal(requests.filter(({ headers }) => headers["Idempotency-Key"]).length, 4);
});

test("a session that ended keeps the key for after the next login", async () => {
  const { model, storage } = await openModel({
    "POST /editor/projects/p1/runs": ok(run("running")),
    "GET /editor/projects/p1/runs/r1?seen=1": refused(401, "UNAUTHORIZED"),
    "GET /editor/session": refused(401, "UNAUTHORIZED"),
  });
  await model.apply(CROP);
  assert.equal(storage.has(PENDING), true);
});

test("no other picture replaces the one that a tool is working on", async () => {
  const watched = deferred();
  const uploaded = deferred();
  const { model, named, requests } = await openModel({
    "POST /editor/projects/p1/runs": ok(run("running")),
    "GET /editor/projects/p1/runs/r1?seen=1": () => watched.promise,
    "GET /editor/projects/p2": [() => uploaded.promise, ok(project({ id: "p2", name: "dog.jpg" }))],
  });
  const opened = model.openProject("p2");
  const started = new Promise((resolve) => model.on("run", () => model.run?.id && resolve()));
  const applied = model.apply(CROP);
  await started;
  uploaded.resolve(ok(project({ id: "p2", name: "dog.jpg" })));
  await opened;
  assert.deepEqual([model.project.id, model.isOpening], ["p1", false]);
  assert.match(named("notice").at(-1), /^Crop is running.* dog.jpg is among your pictures/);
  const sent = requests.length;
  await model.openProject("p2");
  assert.deepEqual([model.project.id, requests.length], ["p1", sent]);
  watched.resolve(ok(run("done", { step: step("b", "a") })));
  assert.equal((await applied).id, "b");
  await model.openProject("p2");
  assert.equal(model.project.id, "p2");
});

test("one run at a time", async () => {
  const started = deferred();
  const { model, requests } = await openModel({
    "POST /editor/projects/p1/runs": () => started.promise,
  });
  const first = model.apply(CROP);
  assert.equal(await model.apply(CROP), null);
  assert.equal(requests.length, 2);
  started.resolve(ok(run("done", { step: step("b", "a") })));
  assert.equal((await first).id, "b");
});

test("a run that was going on before a reload is found by its idempotency key", async () => {
  const pending = { body: { stepId: "a", tool: "crop", params: {} }, title: "Crop", key: "k1" };
  const stored = { "bgeraser.project": "p1", [PENDING]: JSON.stringify({ p1: pending }) };
  const routes = {
    "GET /editor/projects/p1": ok(project()),
    "POST /editor/projects/p1/runs": ok(run("done", { step: step("b", "a") })),
  };
  const { model, requests, storage } = modelWith(routes, { stored });
  await model.resume();
  assert.equal(requests[1].headers["Idempotency-Key"], "k1");
  assert.deepEqual(requests[1].body, pending.body);
  assert.equal(model.step.id, "b");
  assert.equal(storage.has("bgeraser.pending-runs"), false);
});

test("a pending run of another project is left alone", async () => {
  const stored = {
    "bgeraser.project": "p1",
    [PENDING]: JSON.stringify({ p2: { body: {}, title: "Crop", key: "k1" } }),
  };
  const { model, requests } = modelWith({ "GET /editor/projects/p1": ok(project()) }, { stored });
  await model.resume();
  assert.deepEqual(methodsAndPaths(requests), ["GET /editor/projects/p1"]);
});

test("a run that ends after its project was closed changes nothing that is shown", async () => {
  const watched = deferred();
  const { model, named } = await openModel({
    "POST /editor/projects/p1/runs": ok(run("running")),
    "GET /editor/projects/p1/runs/r1?seen=1": () => watched.promise,
  });
  const applied = model.apply(CROP);
  model.close();
  const shown = named("step").length;
  watched.resolve(ok(run("done", { step: step("b", "a") })));
  await applied;
  assert.deepEqual([model.step, named("step").length], [null, shown]);
});

const CUTOUT = step("b", "a", { tool: "bg-removal", cutout: { url: "/cut", look: {} } });

test("a recorded look becomes the current step, and an old one makes room for it", async () => {
  const steps = [step("a"), CUTOUT, step("old", "b"), step("last", "old")];
  const { model } = await openModel({}, { opened: project({ currentStepId: "last", steps }) });
  model.addLook(model.project, step("new", "last"), "old");
  assert.deepEqual(
    model.steps.map((one) => [one.id, one.parentId]),
    [
      ["a", null],
      ["b", "a"],
      ["last", "b"],
      ["new", "last"],
    ],
  );
  assert.equal(model.step.id, "new");
  model.undo();
  assert.equal(model.step.id, "last", "undo leads to the look before");
});
