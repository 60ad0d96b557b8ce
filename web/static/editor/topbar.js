// The bar above the picture: open, undo, redo, compare, zoom, API, download, account.

import { accountMenu } from "./account_menu.js";
import { downloadUrl } from "./api.js";
import { el, iconButton, newId, segments, setPressed, slider } from "./elements.js";
import * as history from "./history.js";

/** @import { Editor } from "./editor.js" */
/** @import { Step } from "./types.js" */

/** @typedef {"png" | "jpg" | "webp" | "avif"} Format */

/** @type {Record<Format, string>} */
const FORMATS = { png: "PNG", jpg: "JPEG", webp: "WebP", avif: "AVIF" };
const DEFAULT_QUALITY = 90;
const MIN_QUALITY = 40;

export class TopBar {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.model = editor.model;
    const { model } = this;
    /**
     * The file type that the user chose for this picture.
     * @type {Format | null}
     */
    this.format = null;
    this.quality = DEFAULT_QUALITY;
    this.undoButton = iconButton("Undo", "undo", () => editor.undo(), { shortcut: "Ctrl+Z" });
    this.redoButton = iconButton("Redo", "redo", () => model.redo(), { shortcut: "Ctrl+Shift+Z" });
    this.restartButton = iconButton("Start over", "restart", () => model.startOver());
    this.compareButton = iconButton(
      "Compare with before",
      "compare",
      () => editor.compare(!editor.isComparing),
      { "aria-pressed": "false" },
    );
    this.scale = el(
      "button",
      { type: "button", class: "scale", title: "Actual pixels", onclick: () => editor.actualPixels() },
      "100 %",
    );
    this.openButton = iconButton("Open another picture", "open", () => editor.closeProject(), {
      class: "icon opener",
    });
    this.name = el("span", { class: "project-name" });
    this.account = el("span", { class: "account" });
    const zoom = el(
      "div",
      { class: "group zoom" },
      iconButton("Zoom out", "zoomOut", () => editor.stage.zoom(1 / 1.25), { shortcut: "−" }),
      this.scale,
      iconButton("Zoom in", "zoomIn", () => editor.stage.zoom(1.25), { shortcut: "+" }),
      iconButton("Fit", "fit", () => editor.stage.fit(), { shortcut: "0" }),
    );
    this.editing = el(
      "div",
      { class: "work" },
      el("div", { class: "group" }, this.undoButton, this.redoButton, this.restartButton),
      el("div", { class: "group" }, this.compareButton),
      zoom,
    );
    this.exporting = el(
      "div",
      { class: "ends" },
      iconButton("The same with the API", "code", () => editor.showApi()),
      this.#buildDownload(),
    );
    this.element = el(
      "header",
      { class: "topbar" },
      el(
        "a",
        { class: "brand", href: "/", title: "bgeraser" },
        el("img", { src: "/static/icon.svg", alt: "bgeraser", width: 24, height: 24 }),
      ),
      this.openButton,
      this.name,
      this.editing,
      this.exporting,
      iconButton("Help and keys", "help", () => editor.showHelp(), { shortcut: "?" }),
      this.account,
    );
    for (const event of ["project", "step", "run"]) model.on(event, () => this.refresh());
    model.on("account", () => this.#showAccount());
    this.#showAccount();
    this.refresh();
  }

  refresh() {
    const { model } = this;
    const { step } = model;
    for (const part of [this.openButton, this.editing, this.exporting]) part.hidden = !step;
    this.name.textContent = model.project?.name ?? "";
    if (!step) return;
    const isBusy = model.run !== null;
    this.undoButton.disabled = isBusy || !(model.undoTarget || this.editor.tool?.hasDrawn);
    this.redoButton.disabled = isBusy || !model.redoTarget;
    this.restartButton.disabled = isBusy || !step.parentId;
    this.compareButton.disabled = !this.editor.canCompare();
  }

  /** @param {boolean} isOn */
  showComparing(isOn) {
    setPressed(this.compareButton, isOn);
  }

  /** @param {number} scale */
  showScale(scale) {
    this.scale.textContent = `${Math.round(scale * 100)} %`;
  }

  #showAccount() {
    const { account } = this.model;
    const content = account
      ? accountMenu(account, this.model.client.csrfToken)
      : [
          el("a", { href: this.editor.logInUrl() }, "Log in"),
          el("a", { class: "primary", href: this.editor.signUpUrl() }, "Sign up"),
        ];
    this.account.replaceChildren(...content);
  }

  #buildDownload() {
    const id = newId("download");
    const menu = el("div", { class: "menu", id, popover: "auto", "aria-label": "Download" });
    menu.addEventListener("beforetoggle", (event) => {
      const { step } = this.model;
      if (/** @type {ToggleEvent} */ (event).newState === "open" && step) {
        menu.replaceChildren(...this.#buildDownloadMenu(menu, step));
      }
    });
    const button = el(
      "button",
      { type: "button", class: "primary downloader", title: "Download (Ctrl+S)", popovertarget: id },
      "Download",
    );
    return el("div", { class: "group" }, button, menu);
  }

  /**
   * @param {HTMLElement} menu
   * @param {Step} step
   */
  #buildDownloadMenu(menu, step) {
    const quality = slider({
      label: "Quality",
      min: MIN_QUALITY,
      max: 100,
      value: this.quality,
      onChange: (value) => (this.quality = value),
    }).element;
    quality.hidden = this.#chosenFormat === "png";
    const download = () => {
      menu.hidePopover();
      this.save();
    };
    return [
      el("p", { class: "sizes" }, `${step.width} × ${step.height}, full resolution`),
      segments("File type", FORMATS, this.#chosenFormat, (format) => {
        this.format = format;
        quality.hidden = format === "png";
      }),
      quality,
      el("button", { type: "button", class: "primary", onclick: download }, "Download"),
    ];
  }

  get #chosenFormat() {
    return this.format ?? this.editor.suggestedFormat();
  }

  /** Another picture may need another file type than the one that was chosen. */
  resetFormat() {
    this.format = null;
  }

  /** Downloads the picture at full resolution. */
  async save() {
    const chosen = this.format; // a look that becomes a step meanwhile resets it
    await this.editor.settled(); // Whether the picture has transparency is known only once it is shown.
    const { project, step } = this.model;
    if (!project || !step) return;
    const format = chosen ?? this.#chosenFormat;
    const quality = format === "png" ? DEFAULT_QUALITY : this.quality;
    const link = el("a", { href: downloadUrl(project.id, step.id, format, quality), download: "" });
    document.body.append(link);
    link.click();
    link.remove();
  }
}

/**
 * Formats that can be opened but not saved, and what replaces them.
 * @type {Record<string, Format>}
 */
const REPLACED_FORMATS = { heic: "jpg", bmp: "jpg", tiff: "jpg", gif: "png" };

/**
 * The file type to suggest: one with transparency if the picture has any, else that of the original.
 * @param {Step[]} steps
 * @param {boolean} hasTransparency
 * @returns {Format}
 */
export function suggestFormat(steps, hasTransparency) {
  const original = history.originalOf(steps)?.format ?? "png";
  const format = /** @type {Format} */ (REPLACED_FORMATS[original] ?? original);
  return hasTransparency && format === "jpg" ? "png" : format;
}
