// Uploads the pictures of a batch in pieces, a few at a time. A file that is refused does not stop the others.

import { ApiError, isTemporary } from "../api.js";
import { piecesOf } from "./files.js";

/** @import { Limits, Picture } from "../types.js" */

/**
 * What became of a file.
 * @typedef {{ imageId?: string, error?: { code: string, message: string } }} Stored
 */

/**
 * @typedef {object} Progress
 * @property {number} files that are settled
 * @property {number} total
 * @property {number} bytes
 * @property {number} totalBytes
 */

const AT_ONCE = 3;
const RETRIES = 6;
const RETRY_MS = 1000;

export class Uploads {
  /**
   * @param {(files: Picture[], signal: AbortSignal) => Promise<Stored[]>} send uploads one piece
   * @param {(milliseconds: number) => Promise<void>} sleep
   */
  constructor(send, sleep) {
    this.send = send;
    this.sleep = sleep;
  }

  /**
   * Gives each picture its `imageId` or the code that it was `refused` with. Those that have one already are skipped.
   * Rejects if nothing more can be uploaded; what was uploaded is kept for the next time.
   * @param {Picture[]} pictures
   * @param {Pick<Limits, "pieceFiles" | "pieceBytes" | "fileBytes">} limits
   * @param {(progress: Progress) => void} onProgress
   * @param {AbortSignal} signal
   */
  async run(pictures, limits, onProgress, signal) {
    for (const picture of pictures) {
      if (picture.file.size > limits.fileBytes) picture.refused = "FILE_TOO_LARGE";
    }
    const waiting = piecesOf(pictures.filter(isUnsettled), limits);
    const report = () => onProgress(progressOf(pictures));
    report();
    const stopping = new AbortController();
    const either = AbortSignal.any([signal, stopping.signal]);
    const work = async () => {
      for (let piece = waiting.shift(); piece; piece = waiting.shift()) {
        either.throwIfAborted();
        await this.#upload(piece, either);
        report();
      }
    };
    try {
      await Promise.all(Array.from({ length: AT_ONCE }, work));
    } catch (error) {
      stopping.abort(); // the other pieces would be refused, too
      throw error;
    }
  }

  /**
   * @param {Picture[]} piece
   * @param {AbortSignal} signal
   */
  async #upload(piece, signal) {
    /** @type {Picture[]} */
    const readable = [];
    for (const picture of piece) {
      if (await isReadable(picture.file)) readable.push(picture);
      else picture.refused = "MISSING_IMAGE";
    }
    if (!readable.length) return;
    const stored = await patiently(() => this.send(readable, signal), this.sleep, signal);
    for (const [at, picture] of readable.entries()) {
      const { imageId, error } = stored[at];
      if (imageId) picture.imageId = imageId;
      else picture.refused = error?.code ?? "MISSING_IMAGE";
    }
  }
}

/**
 * Sends a request again while the server is busy or away, and when the rate of calls allows it.
 * @template Answer
 * @param {() => Promise<Answer>} send
 * @param {(milliseconds: number) => Promise<void>} sleep
 * @param {AbortSignal} signal
 */
export async function patiently(send, sleep, signal) {
  for (let failures = 0; ; ) {
    signal.throwIfAborted();
    try {
      return await send();
    } catch (error) {
      if (!(error instanceof ApiError) || !isTemporary(error)) throw error;
      // Being asked to wait for the rate is not a failure.
      if (error.status !== 429) failures += 1;
      if (failures > RETRIES) throw error;
      await sleep(error.retryAfterSeconds ? error.retryAfterSeconds * 1000 : RETRY_MS * 2 ** failures);
    }
  }
}

/** @param {Picture} picture */
function isUnsettled({ imageId, refused }) {
  return !imageId && !refused;
}

/**
 * @param {Picture[]} pictures
 * @returns {Progress}
 */
function progressOf(pictures) {
  const bytesOf = (/** @type {Picture[]} */ some) => some.reduce((sum, { file }) => sum + file.size, 0);
  const settled = pictures.filter((picture) => !isUnsettled(picture));
  return {
    files: settled.length,
    total: pictures.length,
    bytes: bytesOf(settled),
    totalBytes: bytesOf(pictures),
  };
}

/**
 * Whether a file is still there and can be read: it may have been moved since it was chosen.
 * @param {Blob} file
 */
async function isReadable(file) {
  if (!file.size) return false;
  try {
    await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}
