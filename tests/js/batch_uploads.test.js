// Uploads of a batch: a few pieces at a time, patient with a busy server, and not stopped by single files.

import assert from "node:assert/strict";
import test from "node:test";

import { ApiError } from "../../web/static/editor/api.js";
import { Uploads } from "../../web/static/editor/batch/uploads.js";

const LIMITS = { pieceFiles: 1, pieceBytes: 100, fileBytes: 1000 };
const picture = (name, content = "x") => ({ name, file: new File([content], name) });
const never = new AbortController().signal;
const accepted = (files) => files.map(({ name }) => ({ imageId: `img_${name}` }));

const run = (send, pictures, { signal = never, onProgress = () => {}, sleep = async () => {} } = {}) =>
  new Uploads(send, sleep).run(pictures, LIMITS, onProgress, signal);

test("at most three pieces are sent at a time, and every picture gets its own id", async () => {
  let open = 0;
  let most = 0;
  const send = async (files) => {
    most = Math.max(most, (open += 1));
    await new Promise((resolve) => setTimeout(resolve, 1));
    open -= 1;
    return accepted(files);
  };
  const pictures = Array.from({ length: 10 }, (_, at) => picture(`${at}.png`));
  const reports = [];
  await run(send, pictures, { onProgress: (progress) => reports.push(progress.files) });
  assert.equal(most, 3);
  assert.deepEqual(
    pictures.map(({ imageId }) => imageId),
    pictures.map(({ name }) => `img_${name}`),
  );
  assert.equal(reports[0], 0);
  assert.equal(reports.at(-1), 10);
});

test("a file that is refused, empty, too large or gone does not stop the others", async () => {
  const gone = { name: "gone.png", file: new File(["x"], "gone.png") };
  gone.file.slice = () => ({ arrayBuffer: () => Promise.reject(new Error("NotReadableError")) });
  const large = picture("large.png", "x".repeat(1001));
  const pictures = [picture("bad.png"), picture("empty.png", ""), large, gone, picture("good.png")];
  const sent = [];
  const send = async (files) => {
    sent.push(...files.map(({ name }) => name));
    return files.map(({ name }) =>
      name === "bad.png" ? { error: { code: "UNSUPPORTED_FORMAT", message: "" } } : { imageId: "img_good" },
    );
  };
  await run(send, pictures);
  assert.deepEqual(
    pictures.map(({ imageId, refused }) => refused ?? imageId),
    ["UNSUPPORTED_FORMAT", "MISSING_IMAGE", "FILE_TOO_LARGE", "MISSING_IMAGE", "img_good"],
  );
  assert.deepEqual(sent.sort(), ["bad.png", "good.png"]);
  await run(send, pictures); // nothing is left to send
  assert.equal(sent.length, 2);
});

test("a piece waits for the rate of calls and is sent again while the server is away", async () => {
  const answers = [
    new ApiError(429, { code: "RATE_LIMITED", message: "" }, 7),
    new ApiError(0, { code: "UNREACHABLE", message: "" }),
  ];
  const pauses = [];
  const send = async (files) => {
    const error = answers.shift();
    if (error) throw error;
    return accepted(files);
  };
  const pictures = [picture("a.png")];
  await run(send, pictures, { sleep: async (milliseconds) => pauses.push(milliseconds) });
  assert.equal(pictures[0].imageId, "img_a.png");
  assert.equal(pauses[0], 7000);
  assert.equal(pauses.length, 2);
});

test("a full storage ends the upload, and what was uploaded is kept for the next time", async () => {
  const full = new ApiError(413, { code: "STORAGE_FULL", message: "full" });
  let calls = 0;
  const send = async (files) => {
    calls += 1;
    if (calls > 1) throw full;
    return accepted(files);
  };
  const pictures = Array.from({ length: 20 }, (_, at) => picture(`${at}.png`));
  await assert.rejects(run(send, pictures), full);
  assert.ok(calls <= 4);
  assert.equal(pictures.filter(({ imageId }) => imageId).length, 1);
});

test("a cancelled upload sends no further piece", async () => {
  const ending = new AbortController();
  let calls = 0;
  const send = async (files) => {
    calls += 1;
    ending.abort();
    return accepted(files);
  };
  const pictures = Array.from({ length: 20 }, (_, at) => picture(`${at}.png`));
  await assert.rejects(run(send, pictures, { signal: ending.signal }), { name: "AbortError" });
  assert.ok(calls <= 3);
});
