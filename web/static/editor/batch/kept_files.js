// What was chosen for a batch, kept in the browser while another page is shown: the sign-up, or before it the front page.

/** @import { BatchStep, Picture } from "../types.js" */

const DATABASE = "bgeraser.batch";
const STORE = "drafts";
const KEY = "draft";
const LONGEST_MS = 24 * 3600 * 1000;

/** @typedef {{ pictures: Pick<Picture, "file" | "name">[], steps: BatchStep[], at: number }} Draft */

/**
 * Keeps the draft; whether the browser could.
 * @param {Omit<Draft, "at">} draft
 */
export async function keepDraft(draft) {
  try {
    await inStore("readwrite", (store) => store.put({ ...draft, at: Date.now() }, KEY));
    return true;
  } catch {
    return false; // private windows and full disks
  }
}

/**
 * The draft that was kept, which is then forgotten. null without one.
 * @returns {Promise<Draft | null>}
 */
export async function takeDraft() {
  try {
    /** @type {Draft | undefined} */
    const draft = await inStore("readonly", (store) => store.get(KEY));
    if (!draft) return null;
    await inStore("readwrite", (store) => store.delete(KEY));
    return Date.now() - draft.at < LONGEST_MS ? draft : null;
  } catch {
    return null;
  }
}

/**
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => IDBRequest} request
 * @returns {Promise<any>}
 */
async function inStore(mode, request) {
  const database = await new Promise((resolve, reject) => {
    const opening = indexedDB.open(DATABASE, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(STORE, mode);
      const sent = request(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(sent.result);
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
  } finally {
    database.close();
  }
}
