// The start screen: open a picture by drop, paste, file, camera, or choose a sample or a recent project.

import { dropped, isPicture } from "./batch/files.js";
import { el, icon, iconButton } from "./elements.js";
import { isViewer } from "./roles.js";

/** @import { Editor } from "./editor.js" */
/** @import { ListedProject } from "./types.js" */

const MEBIBYTE = 1024 * 1024;
export const ACCEPTED_TYPES =
  "image/jpeg,image/png,image/webp,image/avif,image/heic,image/heif,image/bmp,image/gif,image/tiff," +
  ".heic,.heif,.avif,.bmp,.tif,.tiff";

/**
 * What people come for, each with a sample that shows it.
 * @typedef {object} Task
 * @property {string} sample
 * @property {string} tool
 * @property {string} title
 * @property {string} hint
 */

/** @type {Task[]} */
const TASKS = [
  {
    sample: "coffee",
    tool: "bg-removal",
    title: "Product picture",
    hint: "White background, shadow, shop sizes",
  },
  {
    sample: "astronaut",
    tool: "bg-removal",
    title: "Person with hair",
    hint: "Cut out down to the single hair",
  },
  { sample: "cat", tool: "bg-removal", title: "Pet", hint: "Fur on any background" },
  { sample: "rocket", tool: "generative-fill", title: "Outdoors", hint: "Remove what disturbs the view" },
];

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

  /**
   * Opens one picture. Several, and folders, become a batch.
   * @param {ReturnType<typeof dropped>} drop
   */
  async receive(drop) {
    if (isViewer(this.model.account)) {
      this.model.emit("notice", "Your role in this account is for viewing. Nothing was opened.");
      return;
    }
    const { batch } = this.editor;
    const pictures = drop.files.filter(isPicture);
    if (drop.hasFolder || pictures.length > 1 || (batch.isShown && pictures.length)) {
      await batch.add(await drop.all(this.model.limits.batchPictures));
      return;
    }
    if (drop.files.length > 1 && !pictures.length) {
      this.model.emit("error", { message: "None of these files is a picture. Nothing was opened." });
      return;
    }
    const file = pictures[0] ?? drop.files[0];
    if (file) this.open(file);
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
    return el(
      "div",
      { class: "start-screen", tabindex: "-1" },
      ...(isViewer(this.model.account) ? [this.#buildViewersNote()] : this.#buildWays()),
      this.recent,
    );
  }

  /** What viewers get instead of ways to open a picture. */
  #buildViewersNote() {
    const email = this.model.account?.places.find((place) => place.isChosen)?.email;
    return el(
      "div",
      { class: "drop" },
      el("h1", {}, "Look at pictures"),
      el(
        "p",
        {},
        `You are a viewer in the account of ${email}. You see its pictures and usage; you cannot open or change pictures here.`,
      ),
      el(
        "p",
        {},
        "To edit, choose your own account in the menu at the top, or ask the owner to make you a member.",
      ),
      this.opening,
    );
  }

  #buildWays() {
    return [
      el(
        "div",
        { class: "drop" },
        el("h1", {}, "Open a picture"),
        el(
          "p",
          {},
          "Drop it anywhere, paste it, or choose a file: JPEG, PNG, WebP, AVIF, HEIC, BMP, GIF or TIFF, ",
          `up to ${this.#maxMebibytes} MiB. Several pictures or a folder become a batch.`,
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
          el(
            "button",
            { type: "button", class: "quiet", onclick: () => void this.editor.batch.open("batch") },
            icon("batch"),
            "Many pictures",
          ),
        ),
        this.opening,
        this.fileInput,
        this.cameraInput,
      ),
      el(
        "section",
        {},
        el("h2", {}, this.model.isGuest ? "Try it for free" : "Or try a sample"),
        el("div", { class: "tasks" }, this.#buildTasks()),
      ),
    ];
  }

  #buildTasks() {
    return TASKS.flatMap((task) => {
      const sample = this.model.session.samples.find((one) => one.name === task.sample);
      if (!sample || !this.editor.toolNames.includes(task.tool)) return [];
      return [
        el(
          "button",
          { type: "button", class: "task", "data-sample": sample.name, onclick: () => this.#startTask(task) },
          el("img", { src: sample.url, alt: sample.title, loading: "lazy" }),
          el("strong", {}, task.title),
          el("span", {}, task.hint),
        ),
      ];
    });
  }

  /** @param {Task} task */
  async #startTask(task) {
    await this.model.openSample(task.sample);
    if (this.model.project?.sample === task.sample) this.editor.choose(task.tool);
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
    const items = projects.map((project) => this.#buildRecent(project));
    const section = el(
      "section",
      {},
      el("h2", {}, isViewer(this.model.account) ? "Pictures in this account" : "Continue where you left off"),
      el("ul", { class: "recents" }, items),
    );
    const none = isViewer(this.model.account)
      ? [el("p", {}, "There are no pictures in this account now.")]
      : [];
    this.recent.replaceChildren(...(items.length ? [section] : none));
  }

  /** @param {ListedProject} project */
  #buildRecent(project) {
    const item = el(
      "li",
      { class: "recent-picture" },
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
      el(
        "div",
        { class: "caption" },
        el("span", { class: "name", title: project.name }, project.name),
        el("span", { class: "expiry" }, timeLeft(project.expiresAt, Date.now())),
        isViewer(this.model.account)
          ? null
          : iconButton(`Delete ${project.name}`, "trash", () => this.#confirmDeletion(project, item)),
      ),
    );
    return item;
  }

  /**
   * Asks in place of the picture whether to delete it.
   * @param {ListedProject} project
   * @param {HTMLElement} item
   */
  #confirmDeletion(project, item) {
    const kept = [...item.children];
    const keep = el(
      "button",
      { type: "button", class: "quiet", onclick: () => item.replaceChildren(...kept) },
      "Keep",
    );
    const remove = async () => {
      if (!(await this.model.deleteProject(project.id))) return item.replaceChildren(...kept);
      const neighbour = item.nextElementSibling ?? item.previousElementSibling;
      item.remove();
      (neighbour ?? this.element).querySelector("button")?.focus();
      this.model.emit("notice", `${project.name} was deleted with everything made from it.`);
      if (!this.recent.querySelector("li")) this.recent.replaceChildren();
    };
    item.replaceChildren(
      el(
        "div",
        { class: "question", role: "group", "aria-label": `Delete ${project.name}?` },
        el("p", {}, "Delete this picture and everything made from it?"),
        el(
          "div",
          { class: "row" },
          el("button", { type: "button", class: "danger", onclick: remove }, "Delete"),
          keep,
        ),
      ),
    );
    keep.focus();
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
      void this.receive(dropped(event.dataTransfer));
    });
    window.addEventListener("paste", (event) => {
      const pasted = dropped(event.clipboardData);
      if (pasted.files.some(isPicture)) void this.receive(pasted);
    });
  }
}

/**
 * How long a picture is still kept.
 * @param {string} expiresAt
 * @param {number} now in milliseconds
 */
export function timeLeft(expiresAt, now) {
  const minutes = Math.floor((Date.parse(expiresAt) - now) / 60_000);
  if (minutes < 1) return "expires now";
  if (minutes < 60) return `kept ${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `kept ${hours} h` : `kept ${Math.floor(hours / 24)} days`;
}
