// Pictures out of what was dropped or chosen: files and whole folders, and the pieces that they are uploaded in.

/** @import { Limits, Picture } from "../types.js" */

const EXTENSIONS = /\.(jpe?g|png|webp|avif|hei[cf]|bmp|gif|tiff?)$/i;
/** What operating systems leave in folders. */
const LITTER = /^(\.|thumbs\.db$|desktop\.ini$)/i;

/**
 * A file and its path in the folder that was dropped.
 * @typedef {object} Picked
 * @property {File} file
 * @property {string} name
 */

/** @param {File} file */
export function isPicture(file) {
  if (LITTER.test(file.name)) return false;
  return (file.type.startsWith("image/") && !file.type.startsWith("image/svg")) || EXTENSIONS.test(file.name);
}

/**
 * The pictures among the files in the order of their names, and how many other files there are.
 * @param {Picked[]} picked
 */
export function picturesOf(picked) {
  const order = new Intl.Collator(undefined, { numeric: true }).compare;
  const pictures = picked.filter(({ file }) => isPicture(file)).sort((a, b) => order(a.name, b.name));
  const others = picked.filter(({ file }) => !isPicture(file) && !LITTER.test(file.name)).length;
  return { pictures, others };
}

/**
 * The files that a field has chosen, with their paths if it chooses folders.
 * @param {Iterable<File>} files
 * @returns {Picked[]}
 */
export function chosen(files) {
  return [...files].map((file) => ({ file, name: file.webkitRelativePath || file.name }));
}

/**
 * What was dropped. Call it in the event's listener: afterwards the event has nothing any more.
 * @param {DataTransfer | null} transfer
 */
export function dropped(transfer) {
  const entries = [...(transfer?.items ?? [])].map((item) => item.webkitGetAsEntry());
  const folders = entries.filter((entry) => entry?.isDirectory);
  const files = [...(transfer?.files ?? [])];
  return {
    hasFolder: folders.length > 0,
    files,
    /**
     * All files with those in the folders, at most about `limit`.
     * @param {number} limit
     */
    async all(limit) {
      if (!folders.length) return chosen(files);
      /** @type {Picked[]} */
      const found = [];
      for (const entry of entries) if (entry) await walk(entry, "", found, limit);
      return found;
    },
  };
}

/**
 * @param {FileSystemEntry} entry
 * @param {string} folder
 * @param {Picked[]} found
 * @param {number} limit
 */
async function walk(entry, folder, found, limit) {
  if (found.length > limit) return;
  if (entry.isFile) {
    const { file: read } = /** @type {FileSystemFileEntry} */ (entry);
    /** @type {File | null} */
    const file = await new Promise((resolve) => read.call(entry, resolve, () => resolve(null)));
    if (file) found.push({ file, name: folder + file.name });
    return;
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  for (;;) {
    // A reader lists a folder in parts, and ends with an empty one.
    /** @type {FileSystemEntry[]} */
    const part = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (!part.length) return;
    for (const each of part) await walk(each, `${folder}${entry.name}/`, found, limit);
  }
}

/**
 * The pictures in pieces, each of which is one request. A larger file is a piece of its own.
 * @param {Picture[]} pictures
 * @param {Pick<Limits, "pieceFiles" | "pieceBytes">} limits
 */
export function piecesOf(pictures, { pieceFiles, pieceBytes }) {
  /** @type {Picture[][]} */
  const pieces = [];
  let bytes = 0;
  for (const picture of pictures) {
    const last = pieces.at(-1);
    if (last && last.length < pieceFiles && bytes + picture.file.size <= pieceBytes) {
      last.push(picture);
      bytes += picture.file.size;
    } else {
      pieces.push([picture]);
      bytes = picture.file.size;
    }
  }
  return pieces;
}
