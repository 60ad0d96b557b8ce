// The editor's own routes: JSON, the session's cookie, and the token without which nothing changes.

let csrfToken = "";

/** What a route answered instead of data: `code` of the API, `message` for people. */
export class Refusal extends Error {
  constructor(status, error) {
    super(error.message);
    this.status = status;
    this.code = error.code;
    this.param = error.param ?? null;
  }
}

export async function session() {
  const data = await send("GET", "/editor/session");
  csrfToken = data.csrfToken;
  return data;
}

export const projects = () => send("GET", "/editor/projects");
export const project = (id) => send("GET", `/editor/projects/${encodeURIComponent(id)}`);
export const openSample = (name) => send("POST", "/editor/projects", { sample: name });
export const standAt = (id, stepId) => send("PUT", `/editor/projects/${id}/current`, { stepId });
export const makeKey = (name) => send("POST", "/editor/keys", { name });

export function openFile(file) {
  const form = new FormData();
  form.append("image", file, file.name || "picture");
  return send("POST", `/editor/projects?name=${encodeURIComponent(file.name || "picture")}`, form);
}

export function storeBackground(file) {
  const form = new FormData();
  form.append("image", file, file.name || "background");
  return send("POST", "/editor/backgrounds", form);
}

export function startRun(id, request, key) {
  return send("POST", `/editor/projects/${id}/runs`, request, { "Idempotency-Key": key });
}

/** The run, as soon as there is something newer than `seen`. */
export const watchRun = (id, runId, seen) => send("GET", `/editor/projects/${id}/runs/${runId}?seen=${seen}`);
export const cancelRun = (id, runId) => send("DELETE", `/editor/projects/${id}/runs/${runId}`);

export function overlay(id, stepId, params, signal) {
  return send("POST", `/editor/projects/${id}/overlay`, { stepId, params }, {}, signal);
}

/** Where the full-size picture of a step is downloaded from. */
export function downloadAddress(id, stepId, format, quality) {
  return `/editor/projects/${id}/steps/${stepId}/file?format=${format}&quality=${quality}`;
}

async function send(method, path, body = undefined, headers = {}, signal = undefined) {
  const isForm = body instanceof FormData;
  const answer = await reach(path, {
    method,
    signal,
    headers: {
      Accept: "application/json",
      ...(method === "GET" ? {} : { "X-CSRF-Token": csrfToken }),
      ...(body === undefined || isForm ? {} : { "Content-Type": "application/json" }),
      ...headers,
    },
    body: body === undefined || isForm ? body : JSON.stringify(body),
  });
  const told = await answer.json().catch(() => null);
  if (told?.success) return told.data;
  throw new Refusal(
    answer.status,
    told?.error ?? { code: "UNREACHABLE", message: "The server did not answer." },
  );
}

async function reach(path, options) {
  try {
    return await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, {
      code: "UNREACHABLE",
      message: "The server cannot be reached. Is the network there?",
    });
  }
}
