// The bar above the picture: open, undo, redo, compare, zoom, API, download, account.

import { accountMenu } from "./account_menu.js";
import { DownloadPanel } from "./download_panel.js";
import { el, iconButton, setPressed } from "./elements.js";
import * as history from "./history.js";

/** @import { Editor } from "./editor.js" */
/** @import { FileType, Step } from "./types.js" */

export class TopBar {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.model = editor.model;
    const { model } = this;
    this.download = new DownloadPanel(editor);
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
    this.modes = this.#buildModes();
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
      iconButton("The same with the API", "code", () => editor.showApi(), { class: "icon for-developers" }),
      this.download.element,
    );
    this.element = el(
      "header",
      { class: "topbar" },
      el(
        "a",
        { class: "brand", href: "/", title: "bgeraser" },
        el("img", { src: "/static/icon.svg", alt: "bgeraser", width: 24, height: 24 }),
      ),
      this.modes,
      this.openButton,
      this.name,
      this.editing,
      this.exporting,
      iconButton("Help and keys", "help", () => editor.showHelp(), { shortcut: "?" }),
      this.account,
    );
    for (const event of ["project", "step", "run"]) model.on(event, () => this.refresh());
    model.on("account", () => this.#showAccount());
    model.on("project", () => model.isGuest && this.#showAccount()); // the links lead back to it
    this.#showAccount();
    this.showMode("picture");
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

  #buildModes() {
    const { editor } = this;
    const mode = (
      /** @type {string} */ name,
      /** @type {string} */ text,
      /** @type {() => void} */ onclick,
    ) => el("button", { type: "button", "data-mode": name, onclick }, text);
    return el(
      "nav",
      { class: "modes segments", "aria-label": "Mode" },
      mode("picture", "Picture", () => editor.batch.isShown && editor.batch.close()),
      mode("batch", "Batch", () => !editor.batch.isShown && editor.batch.open("batch")),
    );
  }

  /** @param {"picture" | "batch"} mode */
  showMode(mode) {
    for (const button of this.modes.querySelectorAll("button")) {
      setPressed(button, button.dataset.mode === mode);
    }
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
      ? accountMenu(account, this.model.client.csrfToken, () => this.model.close())
      : [
          el("a", { href: this.editor.logInUrl() }, "Log in"),
          el("a", { class: "primary", href: this.editor.signUpUrl() }, "Sign up"),
        ];
    this.account.replaceChildren(...content);
  }
}

/**
 * Formats that can be opened but not saved, and what replaces them.
 * @type {Record<string, FileType>}
 */
const REPLACED_FORMATS = { heic: "jpg", bmp: "jpg", tiff: "jpg", gif: "png" };

/**
 * The file type to suggest: one with transparency if the picture has any, else that of the original.
 * @param {Step[]} steps
 * @param {boolean} hasTransparency
 * @returns {FileType}
 */
export function suggestFormat(steps, hasTransparency) {
  const original = history.originalOf(steps)?.format ?? "png";
  const format = /** @type {FileType} */ (REPLACED_FORMATS[original] ?? original);
  return hasTransparency && format === "jpg" ? "png" : format;
}
