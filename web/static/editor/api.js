// The client of the server's /editor routes: JSON, the session's cookie, and a CSRF token for every change.

/** @import { ApiErrorBody, DownloadOptions, Fields, ListedProject, Project, Run, RunBody } from "./types.js" */
/** @import { Session, Step } from "./types.js" */

/** A request that did not succeed: the API's `code`, and a `message` for people. */
export class ApiError extends Error {
  /**
   * @param {number} status 0 if the server could not be reached
   * @param {ApiErrorBody} error
   * @param {number | null} [retryAfterSeconds] when the server says that the request may succeed
   */
  constructor(status, error, retryAfterSeconds = null) {
    super(error.message);
    this.status = status;
    this.retryAfterSeconds = retryAfterSeconds;
    this.code = error.code;
    this.param = error.param ?? null;
  }
}

/**
 * Whether a request was aborted on purpose, which is not worth reporting.
 * @param {unknown} thrown
 */
export function isAbort(thrown) {
  return thrown instanceof Error && thrown.name === "AbortError";
}

export class ApiClient {
  /** @param {typeof fetch} fetch */
  constructor(fetch) {
    this.fetch = fetch;
    this.csrfToken = "";
  }

  /** @returns {Promise<Session>} */
  async session() {
    const session = await this.send("GET", "/editor/session");
    this.csrfToken = session.csrfToken;
    return session;
  }

  /** @returns {Promise<ListedProject[]>} */
  projects() {
    return this.send("GET", "/editor/projects");
  }

  /**
   * @param {string} id
   * @returns {Promise<Project>}
   */
  project(id) {
    return this.send("GET", `/editor/projects/${encodeURIComponent(id)}`);
  }

  /**
   * @param {string} name
   * @returns {Promise<Project>}
   */
  openSample(name) {
    return this.send("POST", "/editor/projects", { body: { sample: name } });
  }

  /**
   * @param {File} file
   * @returns {Promise<Project>}
   */
  openFile(file) {
    const name = file.name || "picture";
    return this.send("POST", `/editor/projects?name=${encodeURIComponent(name)}`, {
      body: fileForm(file, name),
    });
  }

  /**
   * @param {File} file
   * @returns {Promise<{ imageId: string, thumbnailUrl: string, previewUrl: string }>}
   */
  storeBackground(file) {
    return this.send("POST", "/editor/backgrounds", { body: fileForm(file, file.name || "background") });
  }

  /** @returns {Promise<{ imageId: string, thumbnailUrl: string, previewUrl: string }[]>} */
  backgrounds() {
    return this.send("GET", "/editor/backgrounds");
  }

  /**
   * @param {string[]} colors
   * @returns {Promise<{ colors: string[] }>}
   */
  setBrandColors(colors) {
    return this.send("PUT", "/editor/brand-colors", { body: { colors } });
  }

  /** @param {string} id */
  deleteProject(id) {
    return this.send("DELETE", `/editor/projects/${encodeURIComponent(id)}`);
  }

  /**
   * @param {string} id
   * @param {string} stepId
   */
  setCurrentStep(id, stepId) {
    return this.send("PUT", `/editor/projects/${id}/current`, { body: { stepId } });
  }

  /**
   * Adds another look of a cut-out as a step.
   * @param {string} id
   * @param {string} stepId
   * @param {Fields} params
   * @returns {Promise<{ step: Step, removedId: string | null }>}
   */
  addLook(id, stepId, params) {
    const body = { stepId, params };
    return this.send("POST", `/editor/projects/${id}/looks`, { body, keepalive: true });
  }

  /**
   * Lets the server draw a look that the browser cannot draw.
   * @param {string} id
   * @param {string} stepId
   * @returns {Promise<{ step: Step }>}
   */
  renderLook(id, stepId) {
    return this.send("POST", `/editor/projects/${id}/steps/${stepId}/rendering`);
  }

  /**
   * Creates an API key; its text is answered only this once.
   * @param {string} name
   * @returns {Promise<{ key: string }>}
   */
  createKey(name) {
    return this.send("POST", "/editor/keys", { body: { name } });
  }

  /**
   * Starts a run, or finds the one that was started with the same idempotency key.
   * @param {string} id
   * @param {RunBody} body
   * @param {string} idempotencyKey
   * @returns {Promise<Run>}
   */
  startRun(id, body, idempotencyKey) {
    const headers = { "Idempotency-Key": idempotencyKey };
    return this.send("POST", `/editor/projects/${id}/runs`, { body, headers });
  }

  /**
   * The run as soon as its version is newer than `seen`; the server answers after a while in any case.
   * @param {string} id
   * @param {string} runId
   * @param {number} seen
   * @returns {Promise<Run>}
   */
  watchRun(id, runId, seen) {
    return this.send("GET", `/editor/projects/${id}/runs/${runId}?seen=${seen}`);
  }

  /**
   * @param {string} id
   * @param {string} runId
   * @returns {Promise<Run>}
   */
  cancelRun(id, runId) {
    return this.send("DELETE", `/editor/projects/${id}/runs/${runId}`);
  }

  /**
   * Cancels the run that was started with this key, or will be: a request that starts it may arrive later.
   * @param {string} id
   * @param {string} key
   * @returns {Promise<Run>} one that was done before has its step
   */
  cancelRunOfKey(id, key) {
    return this.send("DELETE", `/editor/projects/${id}/runs?key=${encodeURIComponent(key)}`);
  }

  /**
   * How long a run would take; null if the server does not know.
   * @param {string} id
   * @param {RunBody} body
   * @returns {Promise<{ expectedSeconds: number | null }>}
   */
  expectation(id, body) {
    return this.send("POST", `/editor/projects/${id}/expectation`, { body });
  }

  /**
   * Prepares a step's picture for selections.
   * @param {string} id
   * @param {string} stepId
   */
  prepareSelection(id, stepId) {
    return this.send("POST", `/editor/projects/${id}/encoding`, { body: { stepId } });
  }

  /**
   * What clicks and a box select, as a mask to draw over the picture.
   * @param {string} id
   * @param {string} stepId
   * @param {Fields} params
   * @param {AbortSignal} signal
   * @returns {Promise<{ mask: string, confidence: number | null, bbox: [number, number, number, number] }>}
   */
  overlay(id, stepId, params, signal) {
    return this.send("POST", `/editor/projects/${id}/overlay`, { body: { stepId, params }, signal });
  }

  /**
   * A file, the name that the server proposes for it, and what else it says about it.
   * @param {string} path
   * @param {AbortSignal} [signal]
   */
  async file(path, signal) {
    const response = await this.#fetch(path, { signal, credentials: "same-origin" });
    if (!response.ok) {
      const answer = await response.json().catch(() => null);
      throw new ApiError(response.status, errorOf(answer), retryAfter(response));
    }
    return { blob: await response.blob(), name: proposedName(response), headers: response.headers };
  }

  /**
   * Asks one of the server's routes. Rejects with an `ApiError`.
   * @param {string} method
   * @param {string} path
   * @param {object} [options]
   * @param {object} [options.body]
   * @param {Record<string, string>} [options.headers]
   * @param {AbortSignal} [options.signal]
   * @param {boolean} [options.keepalive] whether the request is sent even if the page is left meanwhile
   * @returns {Promise<any>} the answer's `data`
   */
  async send(method, path, { body, headers = {}, signal, keepalive = false } = {}) {
    const isJson = body !== undefined && !(body instanceof FormData);
    const response = await this.#fetch(path, {
      method,
      signal,
      keepalive,
      credentials: "same-origin",
      headers: {
        Accept: "application/json",
        ...(method === "GET" ? {} : { "X-CSRF-Token": this.csrfToken }),
        ...(isJson ? { "Content-Type": "application/json" } : {}),
        ...headers,
      },
      body: isJson ? JSON.stringify(body) : /** @type {FormData | undefined} */ (body),
    });
    const answer = await response.json().catch(() => null);
    if (answer?.success) return answer.data;
    throw new ApiError(response.status, errorOf(answer), retryAfter(response));
  }

  /**
   * @param {string} path
   * @param {RequestInit} options
   */
  async #fetch(path, options) {
    try {
      return await this.fetch(path, options);
    } catch (error) {
      if (isAbort(error)) throw error;
      throw new ApiError(0, {
        code: "UNREACHABLE",
        message: "The server cannot be reached. Check your network connection.",
      });
    }
  }
}

/**
 * The error in an answer; one of its own for an answer that is not the server's.
 * @param {{ error?: ApiErrorBody } | null} answer
 * @returns {ApiErrorBody}
 */
function errorOf(answer) {
  return answer?.error ?? { code: "UNREACHABLE", message: "The server did not answer." };
}

/** @param {Response} response */
function retryAfter(response) {
  const seconds = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  return Number.isNaN(seconds) ? null : seconds;
}

/**
 * Where a step's picture is downloaded from.
 * @param {string} id
 * @param {string} stepId
 * @param {DownloadOptions} options
 */
export function downloadUrl(id, stepId, { format, quality, width, background }) {
  const query = new URLSearchParams({ format, quality: `${quality}` });
  if (width) query.set("width", `${width}`);
  if (background) query.set("bg_color", background);
  return `/editor/projects/${id}/steps/${stepId}/file?${query}`;
}

/**
 * Where the picture of a preview's signed address is served in the same size without loss.
 * @param {string} previewUrl
 */
export function losslessUrl(previewUrl) {
  return previewUrl.replace("/api/images/", "/editor/backgrounds/");
}

/**
 * The file name that an answer proposes, or "".
 * @param {Response} response
 */
function proposedName(response) {
  const header = response.headers.get("Content-Disposition") ?? "";
  const encoded = /filename\*=UTF-8''([^;]+)/i.exec(header)?.[1];
  return encoded ? decodeURIComponent(encoded) : (/filename="([^"]*)"/i.exec(header)?.[1] ?? "");
}

/**
 * @param {File} file
 * @param {string} name
 */
function fileForm(file, name) {
  const form = new FormData();
  form.append("image", file, name);
  return form;
}

/**
 * Whether what a request asked for does not exist, or not any more.
 * @param {unknown} thrown
 */
export function isMissing(thrown) {
  return thrown instanceof ApiError && thrown.status === 404;
}

/**
 * Whether a request failed because the server is busy or away.
 * @param {unknown} thrown
 */
export function isTemporary(thrown) {
  return thrown instanceof ApiError && [0, 429, 503].includes(thrown.status);
}
