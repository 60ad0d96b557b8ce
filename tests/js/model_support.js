// A model in node: its server, storage and address are values that the test passes in.

import assert from "node:assert/strict";

import { ApiClient } from "../../web/static/editor/api.js";
import { Model } from "../../web/static/editor/model.js";

export const LIMITS = { retentionHours: 24, creditsPerRun: 1 };
export const SESSION = {
  packs: [],
  previews: { side: 1024, aDay: 5, waitSeconds: 0 },
  brandColorsMax: 12,
  scenes: [],
  presets: [],
};
export const ACCOUNT = { email: "a@example.com", plan: "free", creditsAvailable: 15 };
export const step = (id, parentId = null, more = {}) => ({
  id,
  parentId,
  tool: parentId && "crop",
  isAvailable: true,
  isMask: false,
  ...more,
});
export const project = (more = {}) => ({
  id: "p1",
  name: "cup.jpg",
  sample: null,
  currentStepId: "a",
  steps: [step("a")],
  run: null,
  ...more,
});
export const run = (status, more = {}) => ({
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

export const ok = (data) => Response.json({ success: true, data });
export const refused = (status, code) =>
  Response.json({ success: false, error: { code, message: `It is ${code}.` } }, { status });

/** A promise that the test settles itself. */
export function deferred() {
  return Promise.withResolvers();
}

/**
 * A model whose server answers as `routes` says: "METHOD /path" to a value, an array of values for one request
 * after another, or a function of the request. What happens is recorded.
 */
export function modelWith(routes, { account = ACCOUNT, hash = "", stored = {} } = {}) {
  const requests = [];
  const events = [];
  const addresses = [];
  const delays = [];
  const announced = [];
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
  const location = { pathname: "/app/", search: "", hash };
  const enter = (_data, _title, address) => {
    addresses.push(address);
    location.hash = address.split("#")[1] ? `#${address.split("#")[1]}` : "";
  };
  const model = new Model(
    { csrfToken: "token", account, samples: [], tools: [], prompts: {}, limits: LIMITS, ...SESSION },
    {
      client: new ApiClient(fetch),
      storage: {
        getItem: (key) => storage.get(key) ?? null,
        setItem: (key, value) => storage.set(key, value),
        removeItem: (key) => storage.delete(key),
      },
      location,
      announce: (projectId) => announced.push(projectId),
      browserHistory: { replaceState: enter, pushState: enter },
      sleep: (milliseconds) => {
        delays.push(milliseconds);
        assert.ok(delays.length < 500, "it is tried again for ever");
        return new Promise(setImmediate);
      },
    },
  );
  for (const name of ["project", "step", "run", "account", "error", "notice"]) {
    model.on(name, (detail) => events.push([name, detail]));
  }
  const named = (name) => events.filter(([one]) => one === name).map(([, detail]) => detail);
  return { model, requests, events, addresses, delays, location, storage, named, announced };
}

/** A model with an open project. */
export async function openModel(routes, { opened = project(), ...options } = {}) {
  const made = modelWith({ ...routes, "POST /editor/projects": () => ok(opened) }, options);
  await made.model.openSample("coffee");
  return made;
}
