// The bar above the picture: where one is, back and forth, looking, taking away.

import { downloadAddress } from "./api.js";
import { el, iconButton, newId, segments, slider } from "./elements.js";
import * as history from "./history.js";

const FORMATS = { png: "PNG", jpg: "JPEG", webp: "WebP", avif: "AVIF" };

export class TopBar {
  constructor(editor) {
    this.editor = editor;
    this.model = editor.model;
    const { model } = this;
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
    this.opener = iconButton("Open another picture", "open", () => editor.startAgain(), {
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
    this.download = this.#downloadMenu();
    this.work = el(
      "div",
      { class: "work" },
      el("div", { class: "group" }, this.undoButton, this.redoButton, this.restartButton),
      el("div", { class: "group" }, this.compareButton),
      zoom,
    );
    this.ends = el(
      "div",
      { class: "ends" },
      iconButton("The same with the API", "code", () => editor.showApi()),
      this.download,
    );
    this.element = el(
      "header",
      { class: "topbar" },
      el(
        "a",
        { class: "brand", href: "/", title: "bgeraser" },
        el("img", { src: "/static/icon.svg", alt: "bgeraser", width: 24, height: 24 }),
      ),
      this.opener,
      this.name,
      this.work,
      this.ends,
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
    const hasPicture = Boolean(model.step);
    for (const part of [this.opener, this.work, this.ends]) part.hidden = !hasPicture;
    this.name.textContent = model.project?.name ?? "";
    if (!hasPicture) return;
    const isBusy = model.run !== null;
    this.undoButton.disabled = isBusy || !(model.undoTarget || this.editor.tool?.hasDrawn);
    this.redoButton.disabled = isBusy || !model.redoTarget;
    this.restartButton.disabled = isBusy || !model.step.parentId;
    this.compareButton.disabled = !this.editor.canCompare();
  }

  showCompare(isOn) {
    this.compareButton.setAttribute("aria-pressed", `${isOn}`);
  }

  showScale(scale) {
    this.scale.textContent = `${Math.round(scale * 100)} %`;
  }

  #showAccount() {
    const { account } = this.model;
    const content = account
      ? [
          el(
            "a",
            { href: "/app/dashboard", title: account.email },
            el("strong", {}, `${account.creditsAvailable}`),
            " credits",
          ),
        ]
      : [
          el("a", { href: this.editor.logInAddress() }, "Sign in"),
          el("a", { class: "primary", href: this.editor.signUpAddress() }, "Sign up"),
        ];
    this.account.replaceChildren(...content);
  }

  #downloadMenu() {
    const id = newId("download");
    const format = () => this.format ?? this.editor.ownFormat();
    const menu = el("div", { class: "menu", id, popover: "auto", "aria-label": "Download" });
    const build = () => {
      const quality = slider({
        label: "Quality",
        least: 40,
        most: 100,
        value: this.quality ?? 90,
        change: (value) => (this.quality = value),
      });
      quality.hidden = format() === "png";
      const choose = (value) => {
        this.format = value;
        quality.hidden = value === "png";
      };
      const step = this.model.step;
      menu.replaceChildren(
        el("p", { class: "sizes" }, `${step.width} × ${step.height}, full resolution`),
        segments("Type of file", FORMATS, format(), choose),
        quality,
        el(
          "button",
          { type: "button", class: "primary", onclick: () => (menu.hidePopover(), this.save()) },
          "Download",
        ),
      );
    };
    menu.addEventListener("beforetoggle", (event) => event.newState === "open" && build());
    const button = el(
      "button",
      { type: "button", class: "primary downloader", title: "Download (Ctrl+S)", popovertarget: id },
      "Download",
    );
    return el("div", { class: "group" }, button, menu);
  }

  /** Forgets a chosen type of file: another picture may need another one. */
  forgetFormat() {
    this.format = null;
  }

  /** Saves the picture at full resolution. */
  async save() {
    await this.editor.shown; // only then is known whether it has transparency
    const { project, step } = this.model;
    if (!step) return;
    const format = this.format ?? this.editor.ownFormat();
    const quality = format === "png" ? 90 : (this.quality ?? 90);
    const link = el("a", { href: downloadAddress(project.id, step.id, format, quality), download: "" });
    document.body.append(link);
    link.click();
    link.remove();
  }
}

/** The type of file to propose: transparency needs one that has it, else what was opened. */
export function proposedFormat(steps, hasTransparency) {
  const opened = history.original(steps)?.format ?? "png";
  if (hasTransparency) return opened === "webp" || opened === "avif" ? opened : "png";
  return opened === "heic" ? "jpg" : opened;
}
