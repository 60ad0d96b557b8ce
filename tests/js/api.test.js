import assert from "node:assert/strict";
import { test } from "node:test";

import { ApiClient, downloadUrl, losslessUrl } from "../../web/static/editor/api.js";

const ok = (data) => Response.json({ success: true, data });

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

test("an error of the API is thrown with its code, parameter and status", async () => {
  const error = { code: "INVALID_PARAMETER", message: "It is too small.", param: "width" };
  const client = new ApiClient(async () => Response.json({ success: false, error }, { status: 422 }));
  await assert.rejects(client.projects(), { status: 422, ...error });
});

test("an error has the time after which the request may succeed", async () => {
  const error = { code: "RATE_LIMITED", message: "Too many." };
  const answer = (headers) => Response.json({ success: false, error }, { status: 429, headers });
  const seconds = async (headers) =>
    new ApiClient(async () => answer(headers)).projects().catch((thrown) => thrown.retryAfterSeconds);
  assert.deepEqual([await seconds({ "Retry-After": "7" }), await seconds({})], [7, null]);
});

test("a look is sent even if the page is left meanwhile", async () => {
  const seen = [];
  const client = new ApiClient(async (_path, { keepalive }) => {
    seen.push(keepalive);
    return ok({ step: {}, removedId: null });
  });
  await client.addLook("p1", "a", {});
  await client.projects();
  assert.deepEqual(seen, [true, false]);
});

test("an answer that is not JSON, and none at all, are reported as an unreachable server", async () => {
  const proxy = new ApiClient(async () => new Response("<html>", { status: 502 }));
  await assert.rejects(proxy.projects(), { status: 502, code: "UNREACHABLE" });
  const offline = new ApiClient(async () => {
    throw new TypeError("fetch failed");
  });
  await assert.rejects(offline.projects(), { status: 0, code: "UNREACHABLE" });
});

test("aborting a request rejects with the abort itself", async () => {
  const client = new ApiClient(async (_path, { signal }) => {
    signal.throwIfAborted();
  });
  const signal = AbortSignal.abort();
  await assert.rejects(client.overlay("p1", "a", {}, signal), { name: "AbortError" });
});

test("files are sent as a form, with a name for those that have none", async () => {
  const sent = [];
  const client = new ApiClient(async (path, { body, headers }) => {
    sent.push([path, body.get("image").name, headers["Content-Type"]]);
    return ok(null);
  });
  await client.openFile(new File(["x"], "my cup.jpg"));
  await client.openFile(new File(["x"], ""));
  assert.deepEqual(sent, [
    ["/editor/projects?name=my%20cup.jpg", "my cup.jpg", undefined],
    ["/editor/projects?name=picture", "picture", undefined],
  ]);
});

test("a download names its format and quality", () => {
  const place = "/editor/projects/p1/steps/a/file";
  assert.equal(downloadUrl("p1", "a", { format: "jpg", quality: 80 }), `${place}?format=jpg&quality=80`);
  assert.equal(
    downloadUrl("p1", "a", { format: "jpg", quality: 80, width: 512, background: "#ff0000" }),
    `${place}?format=jpg&quality=80&width=512&bg_color=%23ff0000`,
  );
});

test("a background without loss has the signature of its preview", () => {
  assert.equal(losslessUrl("/api/images/img_1?w=1600&sig=a"), "/editor/backgrounds/img_1?w=1600&sig=a");
});
