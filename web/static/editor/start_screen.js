// The start screen: open a picture by drop, paste, file, camera, or choose a sample or a recent project.

import { el, icon } from "./elements.js";

/** @import { Editor } from "./editor.js" */
/** @import { ListedProject } from "./types.js" */

const MEBIBYTE = 1024 * 1024;
export const ACCEPTED_TYPES =
  "image/jpeg,image/png,image/webp,image/avif,image/heic,image/heif,image/bmp,image/gif,image/tiff," +
  ".heic,.heif,.avif,.bmp,.tif,.tiff";

export class StartScreen {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.model = editor.model;
    this.fileInput = this.#buildInput("Picture", { accept: ACCEPTED_TYPES });
    this.cameraInput = this.#buildInput("Camera", { accept: "image/*", capture: "environment" });
    this.opening = el("p", { class: "busy", role: "status", hidden: true }, "Opening …");
    this.recent = el("div", { class: "recent" });
    this.element = this.#build();
    this.#listen();
    this.model.on("project", () => this.#refresh());
    this.#refresh();
  }

  get #maxMebibytes() {
    return Math.floor(this.model.limits.fileBytes / MEBIBYTE);
  }

  /** @param {File} file */
  open(file) {
    if (file.size > this.model.limits.fileBytes) {
      const message = `The file is too large. At most ${this.#maxMebibytes} MiB are allowed.`;
      this.model.emit("error", { code: "FILE_TOO_LARGE", message });
      return;
    }
    this.model.openFile(file);
  }

  async paste() {
    try {
      for (const item of await navigator.clipboard.read()) {
        const type = item.types.find((one) => one.startsWith("image/"));
        if (!type) continue;
        this.open(new File([await item.getType(type)], "pasted.png", { type }));
        return;
      }
      this.model.emit("notice", "There is no picture on the clipboard.");
    } catch {
      this.model.emit("notice", "Press Ctrl+V to paste a picture.");
    }
  }

  /**
   * @param {string} label
   * @param {Record<string, string>} attributes
   */
  #buildInput(label, attributes) {
    const input = el("input", { type: "file", hidden: true, "aria-label": label, ...attributes });
    input.addEventListener("change", () => {
      const file = input.files?.[0];
      if (file) this.open(file);
      input.value = "";
    });
    return input;
  }

  #build() {
    const samples = this.model.session.samples.map((sample) =>
      thumbnailButton(sample.title, sample.url, () => this.model.openSample(sample.name)),
    );
    return el(
      "main",
      { class: "start-screen" },
      el(
        "div",
        { class: "drop" },
        el("h1", {}, "Open a picture"),
        el(
          "p",
          {},
          "Drop it anywhere, paste it, or choose a file: JPEG, PNG, WebP, AVIF, HEIC, BMP, GIF or TIFF, ",
          `up to ${this.#maxMebibytes} MiB.`,
        ),
        el(
          "div",
          { class: "ways" },
          el(
            "button",
            { type: "button", class: "primary", onclick: () => this.fileInput.click() },
            icon("open"),
            "Choose a file",
          ),
          el(
            "button",
            { type: "button", class: "quiet", onclick: () => this.paste() },
            icon("paste"),
            "Paste",
          ),
          el(
            "button",
            { type: "button", class: "quiet camera", onclick: () => this.cameraInput.click() },
            icon("camera"),
            "Camera",
          ),
        ),
        this.opening,
        this.fileInput,
        this.cameraInput,
      ),
      el(
        "section",
        {},
        el("h2", {}, this.model.isGuest ? "Try a sample for free" : "Or try a sample"),
        el("div", { class: "samples" }, samples),
      ),
      this.recent,
    );
  }

  async #refresh() {
    const isShown = !this.model.project;
    this.element.hidden = !isShown;
    this.opening.hidden = !this.model.isOpening;
    if (!isShown || this.model.isOpening) return;
    try {
      this.#showRecent(await this.model.client.projects());
    } catch {
      this.#showRecent([]);
    }
  }

  /** @param {ListedProject[]} projects */
  #showRecent(projects) {
    const buttons = projects.map((project) =>
      thumbnailButton(project.name, project.thumbnailUrl, () => this.model.openProject(project.id)),
    );
    const section = el(
      "section",
      {},
      el("h2", {}, "Continue where you left off"),
      el("div", { class: "samples" }, buttons),
    );
    this.recent.replaceChildren(...(buttons.length ? [section] : []));
  }

  /** Files can be dropped and pasted anywhere on the page, also while another picture is open. */
  #listen() {
    const hasFiles = (/** @type {DragEvent} */ event) => Boolean(event.dataTransfer?.types.includes("Files"));
    let depth = 0; // dragenter and dragleave also arrive from the elements inside the page
    const setDepth = (/** @type {number} */ next) => {
      depth = next;
      this.editor.root.classList.toggle("dropping", depth > 0);
    };
    window.addEventListener("dragenter", (event) => hasFiles(event) && setDepth(depth + 1));
    window.addEventListener("dragleave", (event) => hasFiles(event) && setDepth(depth - 1));
    window.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
    window.addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setDepth(0);
      const [file, ...others] = event.dataTransfer?.files ?? [];
      if (!file) return;
      this.open(file);
      if (others.length)
        this.model.emit("notice", `Only ${file.name} was opened. Drop one picture at a time.`);
    });
    window.addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      const file = files.find((one) => one.type.startsWith("image/"));
      if (file) this.open(file);
    });
  }
}

/**
 * @param {string} title
 * @param {string} url
 * @param {() => void} onclick
 */
function thumbnailButton(title, url, onclick) {
  return el(
    "button",
    { type: "button", class: "sample", title, onclick },
    el("img", { src: url, alt: title, loading: "lazy" }),
  );
}
