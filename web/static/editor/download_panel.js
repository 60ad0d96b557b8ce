// Choosing what to download: file type, quality, width, colour behind transparency and name, with the file's size before
// it is saved. The file is fetched for its size, and saved or copied from there.

import { ApiError, downloadUrl, isAbort } from "./api.js";
import { copyPicture } from "./clipboard.js";
import { el, newId, segments, slider } from "./elements.js";

/** @import { DownloadOptions, FileType } from "./types.js" */
/** @import { Editor } from "./editor.js" */

/** @type {Record<FileType, string>} */
const FILE_TYPES = { png: "PNG", jpg: "JPEG", webp: "WebP", avif: "AVIF" };
export const DEFAULT_QUALITY = 90;
const MIN_QUALITY = 40;
const WIDTHS = [2048, 1080, 512];
const WHITE = "#ffffff";
const BLOB_KEPT_MS = 60_000; // browsers read it after the click
/** Waiting longer than this is announced. */
const SLOW_MS = 800;
const PREPARING = "Preparing the file …";
const FETCH_DELAY_MS = 300; // several changes in a row become one request

/** The values that the user chose are kept for the next download, except for the file type and the name. */
export class DownloadPanel {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.model = editor.model;
    /**
     * The file type that the user chose for this picture.
     * @type {FileType | null}
     */
    this.format = null;
    this.quality = DEFAULT_QUALITY;
    /** 0 for the picture's own width. */
    this.width = 0;
    this.background = WHITE;
    /**
     * The file of the present choice, once it was fetched.
     * @type {{ url: string, blob: Blob } | null}
     */
    this.file = null;
    /** @type {AbortController | null} */
    this.request = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    this.size = el("p", { class: "sizes", role: "status" });
    this.name = el("input", {
      id: newId("name"),
      type: "text",
      autocomplete: "off",
      spellcheck: "false",
      placeholder: "…",
    });
    this.extension = el("span", { class: "extension" });
    const id = newId("download");
    this.menu = el("div", { class: "menu", id, popover: "auto", role: "dialog", "aria-label": "Download" });
    this.menu.addEventListener("beforetoggle", (event) => {
      if (/** @type {ToggleEvent} */ (event).newState === "open") this.#prepare();
      else this.#abort();
    });
    // Only now is the menu open, which what follows checks.
    this.menu.addEventListener("toggle", (event) => {
      if (/** @type {ToggleEvent} */ (event).newState === "open") void this.#fill();
    });
    const title = "Download (Ctrl+S)";
    this.button = el(
      "button",
      { type: "button", class: "primary downloader", title, popovertarget: id },
      "Download",
    );
    this.element = el("div", { class: "group" }, this.button, this.menu);
  }

  /** @returns {FileType} */
  get chosenFormat() {
    return this.format ?? this.editor.suggestedFormat();
  }

  /** Another picture may need another file type than the one that was chosen. */
  resetFormat() {
    if (this.menu.matches(":popover-open")) return; // a look that was just chosen becomes a step meanwhile
    this.format = null;
    this.width = 0;
  }

  /** Downloads the picture at full resolution without asking, as the keyboard shortcut does. */
  async save() {
    await this.#announced(() => this.#saveWhole());
  }

  async #saveWhole() {
    const chosen = this.format; // a look that becomes a step meanwhile resets it
    await this.editor.settled(); // Whether the picture has transparency is known only once it is shown.
    const { project, step } = this.model;
    if (!project || !step) return;
    const format = chosen ?? this.chosenFormat;
    await this.#save(downloadUrl(project.id, step.id, { format, quality: this.#quality(format) }));
  }

  /**
   * Saves a file that the server draws. The browser would not say why it could not, as the editor's messages do.
   * @param {string} url
   * @param {string} [name] "" for the one that the server proposes
   */
  async #save(url, name = "") {
    const { file } = this;
    const isFetched = name !== "" && file?.url === url;
    const fetched = isFetched ? { blob: file.blob, name } : await this.model.client.file(url);
    saveBlob(fetched.blob, name || fetched.name);
  }

  /**
   * Does something that may take seconds, and says so then. Reports why it failed.
   * @param {() => Promise<void>} work
   */
  async #announced(work) {
    let isAnnounced = false;
    const timer = setTimeout(() => {
      isAnnounced = true;
      this.model.emit("waiting", PREPARING);
    }, SLOW_MS);
    try {
      await work();
    } catch (error) {
      this.model.reportError(error);
    }
    clearTimeout(timer);
    if (isAnnounced) this.model.emit("waited", PREPARING);
  }

  show() {
    this.menu.showPopover();
  }

  /** @param {FileType} format */
  #quality(format) {
    return format === "png" ? DEFAULT_QUALITY : this.quality;
  }

  #prepare() {
    this.name.value = "";
    this.size.textContent = "";
    this.#build();
  }

  async #fill() {
    await this.editor.settled(); // the look that is shown is that of the step
    if (!this.menu.matches(":popover-open")) return;
    this.#build();
    this.#fetchSoon(0);
  }

  #build() {
    const { step } = this.model;
    if (!step) return;
    const format = this.chosenFormat;
    const widths = WIDTHS.filter((width) => width < step.width);
    if (!widths.includes(this.width)) this.width = 0;
    /** @type {Record<string, string>} */
    const sizes = { 0: "Full", ...Object.fromEntries(widths.map((width) => [width, `${width} px`])) };
    const quality = slider({
      label: "Quality",
      min: MIN_QUALITY,
      max: 100,
      value: this.quality,
      onChange: (value) => {
        this.quality = value;
        this.#fetchSoon();
      },
    }).element;
    quality.hidden = format === "png";
    this.extension.textContent = `.${format}`;
    this.menu.replaceChildren(
      segments("File type", FILE_TYPES, format, (chosen) => {
        this.format = chosen;
        this.#rebuild("File type");
      }),
      ...(widths.length ? [this.#buildWidths(sizes)] : []),
      quality,
      ...(format === "jpg" && this.editor.stage.hasTransparency ? [this.#buildBackground()] : []),
      el(
        "div",
        { class: "field" },
        el("label", { for: this.name.id }, "Name"),
        el("div", { class: "file-name" }, this.name, this.extension),
      ),
      this.size,
      el(
        "div",
        { class: "row" },
        el("button", { type: "button", class: "primary", onclick: () => this.#download() }, "Download"),
        el("button", { type: "button", class: "quiet", onclick: () => this.#copy() }, "Copy"),
      ),
    );
  }

  /**
   * Builds the panel again; the focus stays in the group that was used.
   * @param {string} group
   */
  #rebuild(group) {
    this.#build();
    const pressed = this.menu.querySelector(`[aria-label="${group}"] [aria-pressed=true]`);
    if (pressed instanceof HTMLElement) pressed.focus();
    this.#fetchSoon();
  }

  /** @param {Record<string, string>} sizes the text of each width */
  #buildWidths(sizes) {
    return segments("Width", sizes, `${this.width}`, (width) => {
      this.width = Number(width);
      this.#rebuild("Width");
    });
  }

  #buildBackground() {
    const id = newId("color");
    const input = el("input", {
      id,
      type: "color",
      value: this.background,
      onchange: () => {
        this.background = input.value;
        this.#fetchSoon();
      },
    });
    return el("div", { class: "field inline" }, el("label", { for: id }, "Color behind the cut-out"), input);
  }

  /**
   * The address of the file as it was chosen.
   * @param {Partial<DownloadOptions>} [changes]
   */
  #url(changes = {}) {
    const { project, step } = this.model;
    if (!project || !step) return "";
    const format = changes.format ?? this.chosenFormat;
    const hasBackground = format === "jpg" && this.editor.stage.hasTransparency && this.background !== WHITE;
    return downloadUrl(project.id, step.id, {
      format,
      quality: this.#quality(format),
      width: this.width || undefined,
      background: hasBackground ? this.background : undefined,
    });
  }

  #fetchSoon(delay = FETCH_DELAY_MS) {
    this.#abort();
    const { step } = this.model;
    if (!step) return;
    const width = this.width || step.width;
    const pixels = `${width} × ${Math.max(1, Math.round((step.height * width) / step.width))}`;
    this.size.textContent = `${pixels}, …`;
    this.timer = setTimeout(() => this.#fetch(this.#url(), pixels), delay);
  }

  #abort() {
    clearTimeout(this.timer);
    this.request?.abort();
    this.request = null;
    this.file = null;
  }

  /**
   * @param {string} url
   * @param {string} pixels
   */
  async #fetch(url, pixels) {
    const request = new AbortController();
    this.request = request;
    try {
      const { blob, name } = await this.model.client.file(url, request.signal);
      if (request.signal.aborted) return;
      this.file = { url, blob };
      this.size.textContent = `${pixels}, ${fileSize(blob.size)}`;
      const stem = name.replace(/\.[^.]*$/, "");
      if (!this.name.value) this.name.value = stem;
    } catch (error) {
      if (isAbort(error) || request.signal.aborted) return;
      const isRefused = error instanceof ApiError && error.status === 429;
      this.size.textContent = isRefused ? pixels : `${pixels}. The size is not known yet.`;
    }
  }

  async #download() {
    await this.#announced(async () => {
      await this.editor.settled(); // the look that was chosen last may not be a step yet
      const stem = this.name.value.trim();
      const [url, name] = [this.#url(), stem && `${stem}.${this.chosenFormat}`];
      this.menu.hidePopover();
      await this.#save(url, name);
    });
  }

  async #copy() {
    await this.#announced(async () => {
      // A promise, because browsers allow copying only at once after a click.
      const png = this.editor
        .settled()
        .then(() => this.model.client.file(this.#url({ format: "png" })))
        .then(({ blob }) => blob);
      const isCopied = await copyPicture(png);
      this.model.emit(
        "notice",
        isCopied ? "Copied." : "This browser cannot copy pictures. Download it instead.",
      );
    });
    this.menu.hidePopover();
  }
}

/**
 * @param {string} url
 * @param {string} name "" for the one that the server proposes
 */
function saveLink(url, name) {
  const link = el("a", { href: url });
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
}

/**
 * @param {Blob} blob
 * @param {string} name
 */
function saveBlob(blob, name) {
  const url = URL.createObjectURL(blob);
  saveLink(url, name);
  setTimeout(() => URL.revokeObjectURL(url), BLOB_KEPT_MS);
}

/**
 * "812 KB", "1.4 MB".
 * @param {number} bytes
 */
export function fileSize(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  if (bytes < 1e6) return `${Math.round(bytes / 1000)} KB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
