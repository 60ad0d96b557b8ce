// Which of the chosen files become pictures of a batch, and in which pieces they are uploaded.

import assert from "node:assert/strict";
import test from "node:test";

import { chosen, isPicture, picturesOf, piecesOf } from "../../web/static/editor/batch/files.js";

const file = (name, type = "", size = 10) => ({ name, type, size, webkitRelativePath: "" });
const LIMITS = { pieceFiles: 3, pieceBytes: 100 };

test("pictures are told by their type or extension, and what systems leave in folders is not one", () => {
  const names = ["a.jpg", "b.HEIC", "c.tif", "d", "notes.txt", "vector.svg", ".hidden.png", "Thumbs.db"];
  const types = { d: "image/png", "vector.svg": "image/svg+xml" };
  const found = names.filter((name) => isPicture(file(name, types[name])));
  assert.deepEqual(found, ["a.jpg", "b.HEIC", "c.tif", "d"]);
});

test("pictures are sorted as people count, and other files are counted but not litter", () => {
  const files = ["p10.jpg", "p2.jpg", "notes.txt", ".DS_Store"].map((name) => file(name));
  const { pictures, others } = picturesOf(chosen(files));
  assert.deepEqual(
    pictures.map(({ name }) => name),
    ["p2.jpg", "p10.jpg"],
  );
  assert.equal(others, 1);
});

test("files of a folder keep their path", () => {
  const inFolder = { ...file("a.jpg"), webkitRelativePath: "shoes/red/a.jpg" };
  assert.deepEqual(
    chosen([inFolder, file("b.jpg")]).map(({ name }) => name),
    ["shoes/red/a.jpg", "b.jpg"],
  );
});

test("pieces stay within both limits, and a large file is a piece of its own", () => {
  const sizes = [40, 40, 40, 500, 1, 1, 1, 1];
  const pictures = sizes.map((size) => ({ name: "", file: file("a.jpg", "", size) }));
  const pieces = piecesOf(pictures, LIMITS).map((piece) => piece.map((one) => one.file.size));
  assert.deepEqual(pieces, [[40, 40], [40], [500], [1, 1, 1], [1]]);
  assert.deepEqual(piecesOf([], LIMITS), []);
});
