// The client of the server's /editor/batches routes.

/** @import { ApiClient } from "../api.js" */
/** @import { Batch, BatchItem, BatchStep, Picture, Project, Quote, Size } from "../types.js" */
/** @import { Stored } from "./uploads.js" */

const BATCHES = "/editor/batches";

export class BatchClient {
  /** @param {ApiClient} client */
  constructor(client) {
    this.client = client;
  }

  /** @returns {Promise<Batch[]>} the newest ones first */
  list() {
    return this.client.send("GET", BATCHES);
  }

  /**
   * @param {string} id
   * @returns {Promise<Batch>}
   */
  show(id) {
    return this.client.send("GET", place(id));
  }

  /**
   * A page of the pictures after this position, of all or of those that failed.
   * @param {string} id
   * @param {number} after
   * @param {boolean} failed
   * @returns {Promise<{ items: BatchItem[], hasMore: boolean }>}
   */
  items(id, after, failed) {
    return this.client.send("GET", `${place(id)}/items?after=${after}&failed=${failed}`);
  }

  /**
   * @param {Picture[]} pictures
   * @param {AbortSignal} signal
   * @returns {Promise<Stored[]>}
   */
  upload(pictures, signal) {
    const body = new FormData();
    for (const { file } of pictures) body.append("images", file, file.name || "picture");
    return this.client.send("POST", `${BATCHES}/images`, { body, signal });
  }

  /**
   * What a batch of pictures of this size would cost; checks the steps.
   * @param {BatchStep[]} steps
   * @param {number} count
   * @param {Size} size
   * @returns {Promise<Quote>}
   */
  quote(steps, count, { width, height }) {
    const body = { steps: JSON.stringify(steps), count, width, height };
    return this.client.send("POST", `${BATCHES}/quote`, { body });
  }

  /**
   * Starts a batch, or finds the one that was started with the same idempotency key.
   * @param {BatchStep[]} steps
   * @param {Picture[]} pictures
   * @param {string} idempotencyKey
   * @returns {Promise<Batch>}
   */
  start(steps, pictures, idempotencyKey) {
    const named = pictures.map(({ name, imageId, refused }) =>
      imageId ? { name, imageId } : { name, refused },
    );
    const body = { steps: JSON.stringify(steps), pictures: JSON.stringify(named) };
    return this.client.send("POST", BATCHES, { body, headers: { "Idempotency-Key": idempotencyKey } });
  }

  /**
   * @param {string} id
   * @param {"pause" | "resume" | "retry" | "cancel"} action
   * @returns {Promise<Batch>}
   */
  control(id, action) {
    return this.client.send("POST", `${place(id)}/${action}`);
  }

  /**
   * Deletes a batch with its results, and cancels it before if it runs.
   * @param {string} id
   */
  delete(id) {
    return this.client.send("DELETE", place(id));
  }

  /**
   * A new project of a picture's result.
   * @param {string} id
   * @param {number} position
   * @returns {Promise<Project>}
   */
  openResult(id, position) {
    return this.client.send("POST", `${place(id)}/items/${position}/project`);
  }
}

/** @param {string} id */
function place(id) {
  return `${BATCHES}/${encodeURIComponent(id)}`;
}

/**
 * @param {string} id
 * @param {"results.zip" | "manifest.csv"} file
 */
export function fileUrl(id, file) {
  return `${place(id)}/${file}`;
}
