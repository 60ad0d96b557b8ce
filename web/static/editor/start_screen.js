// Opening a picture: drop, paste, file, camera, a sample, or one of the last day.

import * as api from "./api.js";
import { drawn, el } from "./elements.js";

export const ACCEPTED = "image/jpeg,image/png,image/webp,image/avif,image/heic,image/heif,.heic,.heif,.avif";
const LARGEST_BYTES = 25 * 1024 * 1024;

export class Opening {
  constructor(editor) {
    this.editor = editor;
    this.model = editor.model;
    this.chooser = el("input", { type: "file", accept: ACCEPTED, hidden: true, "aria-label": "Picture" });
    this.camera = el("input", {
      type: "file",
      accept: "image/*",
      capture: "environment",
      hidden: true,
      "aria-label": "Camera",
    });
    for (const input of [this.chooser, this.camera]) {
      input.addEventListener("change", () => {
        if (input.files[0]) this.open(input.files[0]);
        input.value = "";
      });
    }
    this.recent = el("div", { class: "recent" });
    this.element = this.#build();
    this.#listen();
    this.model.on("project", () => this.#refresh());
    this.#refresh();
  }

  open(file) {
    if (file.size > LARGEST_BYTES) {
      this.model.problem({ code: "FILE_TOO_LARGE", message: "The file is too large: at most 25 MiB." });
      return;
    }
    this.model.openFile(file);
  }

  async paste() {
    try {
      for (const item of await navigator.clipboard.read()) {
        const type = item.types.find((one) => one.startsWith("image/"));
        if (type) return this.open(new File([await item.getType(type)], "pasted.png", { type }));
      }
      this.model.tell("notice", "There is no picture on the clipboard.");
    } catch {
      this.model.tell("notice", "Press Ctrl+V to paste a picture.");
    }
    return undefined;
  }

  #build() {
    const samples = this.model.session.samples.map((sample) =>
      el(
        "button",
        {
          type: "button",
          class: "sample",
          title: sample.title,
          onclick: () => this.model.openSample(sample.name),
        },
        el("img", { src: sample.url, alt: sample.title, loading: "lazy" }),
      ),
    );
    this.busy = el("p", { class: "busy", role: "status", hidden: true }, "Opening …");
    return el(
      "main",
      { class: "opening" },
      el(
        "div",
        { class: "drop" },
        el("h1", {}, "Open a picture"),
        el("p", {}, "Drop it anywhere, paste it, or choose one. JPEG, PNG, WebP, AVIF or HEIC, up to 25 MB."),
        el(
          "div",
          { class: "ways" },
          el(
            "button",
            { type: "button", class: "primary", onclick: () => this.chooser.click() },
            drawn("open"),
            "Choose a file",
          ),
          el(
            "button",
            { type: "button", class: "quiet", onclick: () => this.paste() },
            drawn("paste"),
            "Paste",
          ),
          el(
            "button",
            { type: "button", class: "quiet camera", onclick: () => this.camera.click() },
            drawn("camera"),
            "Camera",
          ),
        ),
        this.busy,
        this.chooser,
        this.camera,
      ),
      el(
        "section",
        {},
        el("h2", {}, this.model.isGuest ? "Try it on a sample, for nothing" : "Or try a sample"),
        el("div", { class: "samples" }, samples),
      ),
      this.recent,
    );
  }

  async #refresh() {
    const isShown = !this.model.project;
    this.element.hidden = !isShown;
    this.busy.hidden = !this.model.isOpening;
    if (!isShown || this.model.isOpening) return;
    try {
      this.#showRecent(await api.projects());
    } catch {
      this.#showRecent([]);
    }
  }

  #showRecent(projects) {
    const frames = projects.map((project) =>
      el(
        "button",
        {
          type: "button",
          class: "sample",
          title: project.name,
          onclick: () => this.model.openProject(project.id),
        },
        el("img", { src: project.thumbnailUrl, alt: project.name, loading: "lazy" }),
      ),
    );
    this.recent.replaceChildren(
      ...(frames.length
        ? [el("section", {}, el("h2", {}, "Go on where you were"), el("div", { class: "samples" }, frames))]
        : []),
    );
  }

  #listen() {
    const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    let depth = 0;
    const mark = (isOver) => this.editor.root.classList.toggle("dropping", isOver);
    window.addEventListener("dragenter", (event) => {
      if (hasFiles(event)) mark(++depth > 0);
    });
    window.addEventListener("dragleave", (event) => {
      if (hasFiles(event)) mark(--depth > 0);
    });
    window.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
    window.addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      mark(Boolean((depth = 0)));
      if (event.dataTransfer.files[0]) this.open(event.dataTransfer.files[0]);
    });
    window.addEventListener("paste", (event) => {
      const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
      if (file) this.open(file);
    });
  }
}
