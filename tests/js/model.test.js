import assert from "node:assert/strict";
import { test } from "node:test";

import { ApiClient } from "../../web/static/editor/api.js";
import { credits, Model } from "../../web/static/editor/model.js";

const LIMITS = { retentionHours: 24, creditsPerRun: 1 };
const ACCOUNT = { email: "a@example.com", plan: "free", creditsAvailable: 15 };
const step = (id, parentId = null, more = {}) => ({
  id,
  parentId,
  tool: parentId && "crop",
  isAvailable: true,
  isMask: false,
  ...more,
});
const project = (more = {}) => ({
  id: "p1",
  name: "cup.jpg",
  sample: null,
  currentStepId: "a",
  steps: [step("a")],
  ...more,
});
const run = (status, more = {}) => ({
  id: "r1",
  status,
  stage: "",
  fraction: 0,
  queuePosition: 0,
  version: 1,
  stepId: null,
  error: null,
  creditsCharged: 0,
  ...more,
});
const CROP = { tool: "crop", params: { width: "50" }, title: "Crop" };

const ok = (data) => Response.json({ success: true, data });
const refused = (status, code) =>
  Response.json({ success: false, error: { code, message: `It is ${code}.` } }, { status });

/** A promise that the test settles itself. */
function deferred() {
  return Promise.withResolvers();
}

/**
 * A model whose server answers as `routes` says: "METHOD /path" to a value, an array of values for one request
 * after another, or a function of the request. What happens is recorded.
 */
function modelWith(routes, { account = ACCOUNT, hash = "", stored = {} } = {}) {
  const requests = [];
  const events = [];
  const addresses = [];
  const storage = new Map(Object.entries(stored));
  const fetch = async (path, options) => {
    const request = { method: options.method, path, headers: options.headers };
    if (typeof options.body === "string") request.body = JSON.parse(options.body);
    requests.push(request);
    const route = routes[`${options.method} ${path}`];
    assert.notEqual(route, undefined, `an unexpected request: ${options.method} ${path}`);
    const answer = Array.isArray(route) ? route.shift() : route;
    return typeof answer === "function" ? answer(request) : answer;
  };
  const model = new Model(
    { csrfToken: "token", account, samples: [], tools: [], prompts: {}, limits: LIMITS },
    {
      client: new ApiClient(fetch),
      storage: {
        getItem: (key) => storage.get(key) ?? null,
        setItem: (key, value) => storage.set(key, value),
        removeItem: (key) => storage.delete(key),
      },
      location: { pathname: "/app/", search: "", hash },
      browserHistory: { replaceState: (_data, _title, address) => addresses.push(address) },
    },
  );
  for (const name of ["project", "step", "run", "restyle", "account", "error", "notice"]) {
    model.on(name, (detail) => events.push([name, detail]));
  }
  const named = (name) => events.filter(([one]) => one === name).map(([, detail]) => detail);
  return { model, requests, events, addresses, storage, named };
}

/** A model with an open project. */
async function openModel(routes, { opened = project(), ...options } = {}) {
  const made = modelWith({ ...routes, "POST /editor/projects": () => ok(opened) }, options);
  await made.model.openSample("coffee");
  return made;
}

const methodsAndPaths = (requests) => requests.map(({ method, path }) => `${method} ${path}`);

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

test("a project that is gone is forgotten silently, any other failure is reported", async () => {
  for (const [status, code, reported] of [
    [404, "NOT_FOUND", 0],
    [503, "OVERLOADED", 1],
  ]) {
    const routes = { "GET /editor/projects/p1": refused(status, code) };
    const made = modelWith(routes, { stored: { "bgeraser.project": "p1" } });
    assert.equal(await made.model.resume(), false);
    assert.equal(made.storage.has("bgeraser.project"), false);
    assert.deepEqual(made.addresses, ["/app/"]);
    assert.equal(made.named("error").length, reported, code);
  }
});

test("closing forgets the project", async () => {
  const { model, storage, addresses } = await openModel({});
  model.close();
  assert.deepEqual([model.project, model.step, model.steps], [null, null, []]);
  assert.equal(storage.has("bgeraser.project"), false);
  assert.equal(addresses.at(-1), "/app/");
});

test("guests may apply tools to samples only", async () => {
  for (const [account, sample, mayApply] of [
    [null, null, false],
    [null, "coffee", true],
    [ACCOUNT, null, true],
  ]) {
    const { model } = await openModel({}, { account, opened: project({ sample }) });
    assert.equal(model.mayApply, mayApply);
  }
});

test("undo and redo move the current step and tell the server", async () => {
  const opened = project({ currentStepId: "b", steps: [step("a"), step("b", "a"), step("c", "a")] });
  const { model, requests } = await openModel(
    { "PUT /editor/projects/p1/current": () => ok(null) },
    { opened },
  );
  model.undo();
  assert.equal(model.step.id, "a");
  assert.equal(model.undoTarget, null);
  model.redo();
  assert.equal(model.step.id, "b", "redo returns to where undo came from, not to the newest step");
  model.startOver();
  assert.equal(model.step.id, "a");
  assert.deepEqual(
    requests.slice(1).map(({ body }) => body.stepId),
    ["a", "b", "a"],
  );
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
  assert.match(requests[1].headers["Idempotency-Key"], /^[0-9a-f-]{36}$/);
  assert.equal(storage.has("bgeraser.pending-run"), false);
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
  assert.equal(storage.has("bgeraser.pending-run"), false);
});

test("a server that cannot be reached is reported as such", async () => {
  const { model, named } = await openModel(
    {
      "POST /editor/projects/p1/runs": () => {
        throw new TypeError("fetch failed");
      },
    },
    { account: null, opened: project({ sample: "coffee" }) },
  );
  await model.apply(CROP);
  assert.deepEqual([named("error")[0].code, named("error")[0].status, model.run], ["UNREACHABLE", 0, null]);
});

test("cancelling waits for the server to confirm it", async () => {
  const watched = deferred();
  const { model, named } = await openModel({
    "POST /editor/projects/p1/runs": ok(run("running")),
    "GET /editor/projects/p1/runs/r1?seen=1": () => watched.promise,
    "DELETE /editor/projects/p1/runs/r1": () => ok(run("running")),
  });
  const started = new Promise((resolve) => model.on("run", () => model.run?.id && resolve()));
  const applied = model.apply(CROP);
  await started;
  await model.cancel();
  assert.deepEqual([model.run.id, model.run.isCancelled], ["r1", true]);
  watched.resolve(ok(run("cancelled", { creditsAvailable: 15 })));
  assert.equal(await applied, null);
  assert.match(named("notice")[0], /stopped. Nothing was charged/);
});

test("a run that the server has not accepted yet cannot be cancelled", async () => {
  const started = deferred();
  const { model, requests } = await openModel({
    "POST /editor/projects/p1/runs": () => started.promise,
    "GET /editor/session": () => ok({ csrfToken: "t", account: ACCOUNT, limits: LIMITS }),
  });
  const applied = model.apply(CROP);
  await model.cancel();
  assert.equal(methodsAndPaths(requests).filter((one) => one.startsWith("DELETE")).length, 0);
  started.resolve(refused(503, "OVERLOADED"));
  await applied;
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
  const pending = {
    project: "p1",
    body: { stepId: "a", tool: "crop", params: {} },
    title: "Crop",
    key: "k1",
  };
  const stored = { "bgeraser.project": "p1", "bgeraser.pending-run": JSON.stringify(pending) };
  const routes = {
    "GET /editor/projects/p1": ok(project()),
    "POST /editor/projects/p1/runs": ok(run("done", { step: step("b", "a") })),
  };
  const { model, requests, storage } = modelWith(routes, { stored });
  await model.resume();
  assert.equal(requests[1].headers["Idempotency-Key"], "k1");
  assert.deepEqual(requests[1].body, pending.body);
  assert.equal(model.step.id, "b");
  assert.equal(storage.has("bgeraser.pending-run"), false);
});

test("a pending run of another project is left alone", async () => {
  const stored = {
    "bgeraser.project": "p1",
    "bgeraser.pending-run": JSON.stringify({ project: "p2", body: {}, title: "Crop", key: "k1" }),
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

const CUTOUT = step("b", "a", { tool: "bg-removal", previewUrl: "/old" });

test("restyling a cut-out replaces its step, free of charge", async () => {
  const restyled = { ...CUTOUT, previewUrl: "/new" };
  const { model, requests } = await openModel(
    {
      "POST /editor/projects/p1/runs": ok(run("running")),
      "GET /editor/projects/p1/runs/r1?seen=1": ok(run("done", { step: restyled })),
    },
    { opened: project({ currentStepId: "b", steps: [step("a"), CUTOUT] }) },
  );
  await model.restyle(CUTOUT, { bg_color: "#ffffff" });
  assert.deepEqual(requests[1].body, {
    tool: "bg-removal",
    params: { bg_color: "#ffffff" },
    stepId: "a",
    lookOf: "b",
  });
  assert.deepEqual([model.steps.length, model.step.previewUrl, model.restyleRun], [2, "/new", null]);
});

test("a newer change supersedes one that still runs, whose failure is not reported", async () => {
  const watched = deferred();
  const cancelled = deferred();
  const error = { status: 500, code: "PROCESSING_FAILED", message: "It failed." };
  const { model, named } = await openModel(
    {
      "POST /editor/projects/p1/runs": [ok(run("running")), ok(run("running", { id: "r2" }))],
      "GET /editor/projects/p1/runs/r1?seen=1": () => watched.promise,
      "GET /editor/projects/p1/runs/r2?seen=1": ok(
        run("done", { id: "r2", step: { ...CUTOUT, previewUrl: "/second" } }),
      ),
      "DELETE /editor/projects/p1/runs/r1": () => {
        cancelled.resolve();
        return refused(404, "NOT_FOUND");
      },
    },
    { opened: project({ currentStepId: "b", steps: [step("a"), CUTOUT] }) },
  );
  const first = model.restyle(CUTOUT, { bg_color: "#ffffff" });
  while (!model.restyleRun.id) await new Promise(setImmediate);
  await model.restyle(CUTOUT, { bg_color: "#000000" });
  await cancelled.promise;
  watched.resolve(ok(run("failed", { error })));
  await first;
  assert.deepEqual([model.step.previewUrl, model.restyleRun, named("error")], ["/second", null, []]);
});

test("every change is sent with the session's token, reading is not", async () => {
  const seen = [];
  const client = new ApiClient(async (path, { method, headers }) => {
    seen.push([method, headers["X-CSRF-Token"]]);
    return ok(path === "/editor/session" ? { csrfToken: "secret" } : null);
  });
  await client.session();
  await client.setCurrentStep("p1", "a");
  await client.projects();
  assert.deepEqual(seen, [
    ["GET", undefined],
    ["PUT", "secret"],
    ["GET", undefined],
  ]);
});

test("an aborted request is no error, and an answer that is not JSON is one", async () => {
  const aborting = modelWith({});
  aborting.model.reportError(new DOMException("It was aborted.", "AbortError"));
  assert.equal(aborting.named("error").length, 0);
  const broken = modelWith({ "POST /editor/projects": new Response("<html>", { status: 502 }) });
  await broken.model.openSample("coffee");
  assert.deepEqual([broken.named("error")[0].code, broken.named("error")[0].status], ["UNREACHABLE", 502]);
});

test("credits are counted in words", () => {
  assert.deepEqual([1, 2, 0].map(credits), ["1 credit", "2 credits", "0 credits"]);
});
