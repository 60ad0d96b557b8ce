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
const PENDING = "bgeraser.pending-runs";
const CANCELLED = "bgeraser.cancelled-runs";
const POST = "POST /editor/projects/p1/runs";
const SESSION = { "GET /editor/session": () => ok({ csrfToken: "t", account: ACCOUNT, limits: LIMITS }) };
const STOPPED = "Crop: stopped. Nothing was charged.";
const WAITING =
  "Crop: cancelled. If the server had received it already, it is stopped as soon as the connection is back.";

/** The server's routes for the one key of the test, which the page chooses. */
const routesOfKey = (routes, answer) =>
  new Proxy(routes, {
    get: (known, route) => known[route] ?? (/^DELETE .*[/]runs[?]key=/.test(route) ? answer : undefined),
  });

/** A model whose "DELETE …/runs?key=" is answered by `answer(request)`. */
async function opened(routes, answer, options = {}) {
  const made = modelWith(
    routesOfKey({ ...SESSION, ...routes, "POST /editor/projects": () => ok(project()) }, answer),
    options,
  );
  await made.model.openSample("coffee");
  const said = [];
  for (const name of ["waiting", "waited", "notice"]) made.model.on(name, (text) => said.push([name, text]));
  const sent = (method) =>
    made.requests.filter((one) => one.method === method && one.path.startsWith("/editor/projects/p1/runs"));
  return { ...made, said, sent };
}

const unreachable = () => Promise.reject(new TypeError("Failed to fetch"));
/** After more turns than everything that is under way needs: the pauses of these models last one each. */
const settled = async () => {
  for (let turn = 0; turn < 100; turn += 1) await new Promise(setImmediate);
};
const accepted = (model) => new Promise((resolve) => model.on("run", () => model.run?.id && resolve()));
const disconnected = (model) =>
  new Promise((resolve) => model.on("run", () => model.run?.isDisconnected && resolve()));

test("a run that is cancelled while the server is away is cancelled there by its key, and never sent again", async () => {
  let isAway = true;
  const { model, said, sent, storage } = await opened({ [POST]: unreachable }, () =>
    isAway ? unreachable() : ok(run("cancelled", { creditsAvailable: 15 })),
  );
  const away = disconnected(model);
  const applied = model.apply(CROP);
  await away;
  model.cancel();
  assert.equal(await applied, null);
  assert.deepEqual([model.run, model.unknownRun, storage.has(PENDING)], [null, "", false], "Apply is usable");
  assert.deepEqual(said, [["waiting", WAITING]]);
  const posts = sent("POST");
  await model.resumeRun(); // as the event "online" does
  isAway = false;
  await settled();
  assert.deepEqual(sent("POST"), posts);
  const [{ path }] = sent("DELETE");
  assert.equal(path, `/editor/projects/p1/runs?key=${posts[0].headers["Idempotency-Key"]}`);
  assert.ok(sent("DELETE").length > 1);
  assert.deepEqual(said.slice(1), [
    ["waited", WAITING],
    ["notice", STOPPED],
  ]);
  assert.equal(storage.has(CANCELLED), false);
});

test("a cancelled run is still cancelled after a reload", async () => {
  const cancelled = { projectId: "p1", title: "Crop", key: "k1", body: { stepId: "a" } };
  const stored = { "bgeraser.project": "p1", [CANCELLED]: JSON.stringify([cancelled]) };
  const active = { ...run("running"), tool: "crop" };
  const { model, requests, named, storage } = modelWith(
    {
      "GET /editor/projects/p1": ok(project({ run: active })),
      "DELETE /editor/projects/p1/runs?key=k1": [
        unreachable,
        refused(503, "OVERLOADED"),
        ok(run("cancelled")),
      ],
    },
    { stored },
  );
  await model.resume();
  assert.equal(model.run, null);
  await settled();
  assert.deepEqual(named("notice"), [STOPPED]);
  assert.equal(storage.has(CANCELLED), false);
  assert.deepEqual(
    requests.map(({ method }) => method),
    ["GET", "DELETE", "DELETE", "DELETE"],
  );
});

test("another run can be applied while a cancelled one is not confirmed", async () => {
  const answer = deferred();
  const made = step("b", "a");
  const { model, sent } = await opened(
    { [POST]: [unreachable, ok(run("done", { id: "r2", step: made }))] },
    () => answer.promise,
  );
  const away = disconnected(model);
  const applied = model.apply(CROP);
  await away;
  model.cancel();
  await applied;
  assert.equal((await model.apply(CROP)).id, "b");
  const keys = sent("POST").map((one) => one.headers["Idempotency-Key"]);
  assert.equal(new Set(keys).size, 2);
  answer.resolve(ok(run("cancelled")));
  await settled();
  assert.equal(model.step.id, "b");
});

test("a cancelled run that the server had done is shown, and said to be charged", async () => {
  const { model, said, storage } = await opened({ [POST]: unreachable }, () =>
    ok(run("done", { stepId: "b", step: step("b", "a"), creditsCharged: 1, creditsAvailable: 14 })),
  );
  const away = disconnected(model);
  const applied = model.apply(CROP);
  await away;
  model.cancel();
  await applied;
  await settled();
  assert.deepEqual([model.step.id, model.account.creditsAvailable], ["b", 14]);
  assert.deepEqual(said.at(-1), ["notice", "Crop was done before it could be cancelled. 1 credit."]);
  assert.equal(storage.has(CANCELLED), false);
});

test("a charged run without a step is fetched by the request that started it", async () => {
  const { model, sent } = await opened(
    { [POST]: [unreachable, ok(run("done", { step: step("b", "a") }))] },
    () => ok(run("done")),
  );
  const away = disconnected(model);
  const applied = model.apply(CROP);
  await away;
  model.cancel();
  await applied;
  await settled();
  assert.equal(model.step.id, "b");
  assert.equal(new Set(sent("POST").map((one) => one.headers["Idempotency-Key"])).size, 1);
});

test("cancelling a run that the server has accepted is repeated until it is answered", async () => {
  const watched = deferred();
  let attempts = 0;
  const { model, said, sent, storage } = await opened(
    {
      [POST]: ok(run("running")),
      "GET /editor/projects/p1/runs/r1?seen=1": () => watched.promise,
      "GET /editor/projects/p1/runs/r1?seen=2": ok(run("cancelled", { creditsAvailable: 15 })),
    },
    () => ((attempts += 1) < 4 ? unreachable() : ok(run("running"))),
  );
  const started = accepted(model);
  const applied = model.apply(CROP);
  await started;
  model.cancel();
  const states = [];
  model.on("run", () => states.push(model.run && [model.run.version, model.run.isCancelled]));
  await settled();
  assert.deepEqual([sent("DELETE").length, model.run.id, model.run.isCancelled], [4, "r1", true]);
  assert.equal(storage.has(CANCELLED), true, "for a reload");
  watched.resolve(ok(run("running", { version: 2 })));
  assert.equal(await applied, null);
  assert.deepEqual(states, [[2, true], null], "progress that was already on its way changes nothing");
  assert.deepEqual(said, [["notice", STOPPED]]);
  assert.equal(storage.has(CANCELLED), false);
});

test("a run that ends while its cancelling is lost is shown", async () => {
  const watched = deferred();
  const { model, said, storage, sent } = await opened(
    { [POST]: ok(run("running")), "GET /editor/projects/p1/runs/r1?seen=1": () => watched.promise },
    unreachable,
  );
  const started = accepted(model);
  const applied = model.apply(CROP);
  await started;
  model.cancel();
  await new Promise(setImmediate);
  watched.resolve(ok(run("done", { step: step("b", "a"), creditsCharged: 1 })));
  assert.equal((await applied).id, "b");
  assert.deepEqual(said, [["notice", "Crop was done before it could be cancelled. 1 credit."]]);
  await settled();
  const count = sent("DELETE").length;
  await settled();
  assert.deepEqual([sent("DELETE").length, storage.has(CANCELLED)], [count, false]);
});

test("a cancelled run that the server has forgotten is not started again", async () => {
  const answers = [ok(run("running")), ok(run("cancelled"))];
  const watched = deferred();
  const { model, said, sent } = await opened(
    { [POST]: ok(run("running")), "GET /editor/projects/p1/runs/r1?seen=1": () => watched.promise },
    () => answers.shift(),
  );
  const started = accepted(model);
  const applied = model.apply(CROP);
  await started;
  model.cancel();
  await settled();
  watched.resolve(refused(404, "NOT_FOUND"));
  assert.equal(await applied, null);
  await settled();
  assert.deepEqual([sent("POST").length, sent("DELETE").length], [1, 2]);
  assert.deepEqual(said.at(-1), ["notice", STOPPED]);
});

test("a run that was sent but is not answered yet is cancelled by its key", async () => {
  const started = deferred();
  const { model, said, sent } = await opened({ [POST]: () => started.promise }, () => ok(run("cancelled")));
  const applied = model.apply(CROP);
  model.cancel();
  assert.equal(await applied, null);
  assert.deepEqual([sent("DELETE").length, said], [1, [["notice", STOPPED]]]);
  started.resolve(ok(run("cancelled")));
  await settled();
  assert.deepEqual([model.run, said.length], [null, 1]);
});

test("a run that another tab has started is cancelled by its id", async () => {
  const watched = deferred();
  const active = { ...run("running"), tool: "upscale" };
  const { model, named, requests, storage } = modelWith({
    ...SESSION,
    "POST /editor/projects": ok(project({ run: active })),
    "GET /editor/projects/p1/runs/r1?seen=1": () => watched.promise,
    "DELETE /editor/projects/p1/runs/r1": [unreachable, ok(run("running"))],
  });
  const shown = accepted(model);
  const followed = model.openSample("coffee");
  await shown;
  model.cancel();
  await settled();
  assert.equal(requests.filter(({ method }) => method === "DELETE").length, 2);
  watched.resolve(ok(run("cancelled")));
  await followed;
  assert.deepEqual(named("notice"), ["Enlarge: stopped. Nothing was charged."]);
  assert.equal(storage.has(CANCELLED), false);
});

test("a run that waits because it came too soon can be cancelled", async () => {
  let attempts = 0;
  const tooSoon = () => {
    attempts += 1;
    if (attempts === 2) setImmediate(() => model.cancel());
    const error = { code: "RATE_LIMITED", message: "At most 60 a minute." };
    return Response.json({ success: false, error }, { status: 429, headers: { "Retry-After": "1" } });
  };
  const { model, storage, named } = await openModel({ [POST]: tooSoon, ...SESSION });
  assert.equal(await model.apply(CROP), null);
  assert.deepEqual([attempts, model.unknownRun, storage.has(PENDING)], [2, "", false]);
  assert.deepEqual(named("notice"), ["Crop: cancelled. Nothing was charged."]);
  assert.equal(storage.has(CANCELLED), false, "the server has surely not accepted it");
});

test("the balance is fetched again some time after a run was lost or has failed", async () => {
  const error = { status: 500, code: "PROCESSING_FAILED", message: "It failed." };
  for (const [answer, fetched] of [
    [refused(500, "INTERNAL_ERROR"), 3],
    [ok(run("failed", { error, creditsAvailable: 14 })), 2],
  ]) {
    const { model, requests, delays } = await openModel({ ...SESSION, [POST]: answer });
    await model.apply(CROP);
    await settled();
    assert.deepEqual(delays, [10_000, 50_000]);
    assert.equal(requests.filter(({ path }) => path === "/editor/session").length, fetched);
    assert.equal(model.account.creditsAvailable, 15);
  }
});
