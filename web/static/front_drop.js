// The drop area of the front page: opens a picture, or a batch of several, in the editor.

import { ApiClient } from "./editor/api.js";

const area = /** @type {HTMLElement | null} */ (document.querySelector("[data-drop]"));
const input = area?.querySelector("input");
const status = area?.querySelector("output");

/** @param {string} text */
function say(text) {
  if (status) status.textContent = text;
}

/**
 * Hands several pictures over to the editor's batch tab.
 * @param {File[]} files
 */
async function openBatch(files) {
  const { keepDraft } = await import("./editor/batch/kept_files.js");
  const pictures = files.map((file) => ({ file, name: file.name }));
  if (await keepDraft({ pictures, steps: [] })) window.location.assign("/app/#batch");
  else say("Open the editor, and drop them there.");
}

/** @param {File[]} files */
async function open(files) {
  const pictures = files.filter(
    (file) => file.type.startsWith("image/") || /\.(heic|heif|avif)$/i.test(file.name),
  );
  if (!files.length) return;
  if (!pictures.length) return say("This is not a picture.");
  say("Opening …");
  if (pictures.length > 1) return openBatch(pictures);
  try {
    const client = new ApiClient(window.fetch.bind(window));
    const { limits } = await client.session();
    if (pictures[0].size > limits.fileBytes) return say("The file is too large.");
    const project = await client.openFile(pictures[0]);
    window.location.assign(`/app/#${project.id}`);
  } catch (error) {
    const failure = /** @type {Error} */ (error);
    // Few visitors need these words, and without the server they cannot be loaded.
    const words = import("./editor/error_texts.js").then((texts) => texts.errorText(failure));
    say(await words.catch(() => failure.message));
  }
}

if (area && input) {
  const setOver = (/** @type {boolean} */ isOver) => area.classList.toggle("over", isOver);
  input.addEventListener("change", () => {
    open([...(input.files ?? [])]);
    input.value = "";
  });
  // Also beside the area: a browser would leave the page to show a file that is dropped there.
  window.addEventListener("dragover", (event) => {
    event.preventDefault();
    setOver(true);
  });
  window.addEventListener("dragleave", () => setOver(false));
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    setOver(false);
    open([...(event.dataTransfer?.files ?? [])]);
  });
  window.addEventListener("paste", (event) => open([...(event.clipboardData?.files ?? [])]));
}
