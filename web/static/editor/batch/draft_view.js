// A batch that is not started yet: its pictures, its steps, what it costs; and the upload when it is started.

import { isAbort } from "../api.js";
import { el, icon, iconButton, keepFocus } from "../elements.js";
import { packButtons } from "../packs.js";
import { newKey } from "../pending_runs.js";
import { aboutSeconds } from "../progress.js";
import { isOfAnother, isViewer } from "../roles.js";
import { ACCEPTED_TYPES } from "../start_screen.js";
import { costOf, count, stepsProblem, uploadText } from "./batch_progress.js";
import { chosen, picturesOf } from "./files.js";
import { keepDraft, takeDraft } from "./kept_files.js";
import { PAGE_SIZE, pager, rangeText } from "./picture_pages.js";
import { sentSteps } from "./recipe.js";
import { StepList } from "./step_list.js";
import { sizeOf, Thumbnails } from "./thumbnails.js";
import { patiently, Uploads } from "./uploads.js";

/** @import { Picture, Quote, Size } from "../types.js" */
/** @import { BatchTab } from "./batch_tab.js" */
/** @import { Picked } from "./files.js" */
/** @import { Progress } from "./uploads.js" */

const QUOTE_AFTER_MS = 400;

export class DraftView {
  /** @param {BatchTab} tab */
  constructor(tab) {
    this.tab = tab;
    this.model = tab.model;
    this.client = tab.client;
    /** @type {Picture[]} */
    this.pictures = [];
    this.page = 0;
    this.thumbnails = new Thumbnails();
    this.uploads = new Uploads(
      (files, signal) => this.client.upload(files, signal),
      (milliseconds) => this.model.sleep(milliseconds),
    );
    /** @type {AbortController | null} */
    this.uploading = null;
    /** The key of the start: sent again, it starts no second batch. */
    this.key = newKey();
    /** @type {Quote | null} */
    this.quote = null;
    this.problem = "";
    /** Whether the browser keeps the draft as it is, or the user knows that it does not. */
    this.isKept = false;
    /** @type {Promise<Size> | null} */
    this.size = null;
    this.fileInput = this.#buildInput("Pictures of the batch", { accept: ACCEPTED_TYPES, multiple: true });
    this.folderInput = this.#buildInput("Folder of the batch", { webkitdirectory: true });
    this.list = new StepList(this.model, () => this.#changed());
    this.heading = el("h1", {}, "Many pictures at once");
    this.drop = this.#buildDrop();
    this.rows = el("div", {});
    this.foot = el("div", { class: "panel-foot" });
    this.recent = el("div", { class: "recent-batches" });
    this.panel = el(
      "section",
      { class: "batch-panel", "aria-label": "Steps and cost" },
      el("div", { class: "batch-steps" }, this.list.element),
      this.foot,
    );
    this.element = el(
      "div",
      { class: "batch-draft" },
      el("div", { class: "batch-pictures" }, this.heading, this.drop, this.rows, this.recent),
      this.panel,
    );
    this.model.on("account", () => this.refresh());
    window.addEventListener("beforeunload", (event) => this.#wouldBeLost && event.preventDefault());
    this.refresh();
  }

  /** Whether leaving the page would lose the chosen pictures. Those of guests are kept through the sign-up. */
  get #wouldBeLost() {
    return this.uploading !== null || (!this.model.isGuest && !this.isKept && this.pictures.length > 0);
  }

  /** Whether a new draft would lose one that is being uploaded. */
  get isBusy() {
    return this.uploading !== null;
  }

  /** Shows what was chosen before the sign-up, or dropped on the front page. */
  async restore() {
    if (this.pictures.length) return;
    const kept = await takeDraft();
    if (!kept) return;
    if (kept.steps.length) this.list.replace(kept.steps);
    this.#add(kept.pictures);
  }

  /** @param {Picked[]} picked */
  add(picked) {
    const { pictures, others } = picturesOf(picked);
    if (others) this.model.emit("notice", `${count(others, "file")} that cannot be a picture: left out.`);
    if (this.isBusy) this.model.emit("notice", "Wait until the pictures are uploaded, or cancel that first.");
    else this.#add(pictures);
  }

  /** @param {Picked[]} pictures */
  #add(pictures) {
    const { batchPictures } = this.model.limits;
    const room = batchPictures - this.pictures.length;
    if (pictures.length > room) {
      const message = `A batch here has at most ${batchPictures} pictures. The API takes up to 5,000.`;
      this.model.emit("error", { message });
    }
    this.pictures = [...this.pictures, ...pictures.slice(0, Math.max(0, room))];
    this.size = null;
    this.#changed();
  }

  /** Starts anew, after the batch was started. */
  clear() {
    this.pictures = [];
    this.page = 0;
    this.key = newKey();
    this.#changed();
  }

  #changed() {
    this.key = newKey();
    this.quote = null;
    this.problem = "";
    this.isKept = false;
    this.refresh();
    void this.#loadQuote();
  }

  refresh() {
    const has = this.pictures.length > 0;
    this.element.classList.toggle("empty", !has);
    this.panel.hidden = !has;
    this.recent.hidden = has;
    this.heading.textContent = has ? count(this.pictures.length, "picture") : "Many pictures at once";
    this.panel.classList.toggle("running", this.isBusy);
    this.list.element.inert = this.isBusy;
    this.drop.inert = this.isBusy;
    this.#showRows();
    keepFocus(this.foot, () => this.foot.replaceChildren(...(has ? this.#buildFoot() : [])));
  }

  #buildDrop() {
    const button = (
      /** @type {string} */ text,
      /** @type {string} */ name,
      /** @type {HTMLElement} */ input,
    ) =>
      el(
        "button",
        { type: "button", class: name === "open" ? "primary" : "quiet", onclick: () => input.click() },
        icon(name),
        text,
      );
    const folder = button("Choose a folder", "folder", this.folderInput);
    folder.classList.add("for-folders");
    return el(
      "div",
      { class: "drop" },
      el(
        "p",
        {},
        "Drop pictures or a whole folder anywhere. The same steps are done to each of them; ",
        "you can close the page meanwhile.",
      ),
      el("div", { class: "ways" }, button("Choose pictures", "open", this.fileInput), folder),
      this.fileInput,
      this.folderInput,
    );
  }

  /**
   * @param {string} label
   * @param {Record<string, unknown>} attributes
   */
  #buildInput(label, attributes) {
    const input = el("input", { type: "file", hidden: true, "aria-label": label, ...attributes });
    input.addEventListener("change", () => {
      this.add(chosen(input.files ?? []));
      input.value = "";
    });
    return input;
  }

  // The pictures

  #showRows() {
    const last = Math.max(0, Math.ceil(this.pictures.length / PAGE_SIZE) - 1);
    this.page = Math.min(this.page, last);
    const first = this.page * PAGE_SIZE;
    const shown = this.pictures.slice(first, first + PAGE_SIZE);
    const rows = shown.map((picture, at) => this.#buildRow(picture, first + at));
    const range = rangeText(this.page, shown.length, this.pictures.length);
    const choose = (/** @type {number} */ page) => {
      this.page = page;
      this.#showRows();
    };
    const pages = pager(this.page, this.page < last, range, choose);
    keepFocus(this.rows, () =>
      this.rows.replaceChildren(
        ...(rows.length ? [el("ul", { class: "batch-list", "aria-label": "Pictures" }, rows)] : []),
        ...(pages ? [pages] : []),
      ),
    );
  }

  /**
   * @param {Picture} picture
   * @param {number} at
   */
  #buildRow(picture, at) {
    const { file, name } = picture;
    return el(
      "li",
      { class: "batch-item" },
      el("span", { class: "thumb" }, this.thumbnails.of(file)),
      el("span", { class: "name", title: name }, name),
      el("span", { class: "state" }, sizeText(file.size)),
      el(
        "span",
        { class: "actions" },
        iconButton(`Open only ${name} in the editor`, "brush", () => this.tab.openFile(file), {
          disabled: this.isBusy,
        }),
        iconButton(`Remove ${name}`, "trash", () => this.#remove(at), { disabled: this.isBusy }),
      ),
    );
  }

  /** @param {number} at */
  #remove(at) {
    this.pictures.splice(at, 1);
    if (at === 0) this.size = null;
    this.#changed();
    const buttons = this.rows.querySelectorAll(".batch-item .actions button:last-child");
    const next = buttons[Math.min(at % PAGE_SIZE, buttons.length - 1)];
    if (next instanceof HTMLElement) next.focus();
  }

  // Cost and start

  #buildFoot() {
    if (this.uploading) return [this.progressText, this.progressBar, this.#buildCancel()];
    const { account, limits } = this.model;
    if (isViewer(this.model.account)) {
      return [
        el(
          "p",
          { class: "note", role: "status" },
          "Your role in this account is for viewing: you cannot start a batch.",
        ),
      ];
    }
    const cost = costOf({
      pictures: this.pictures.length,
      steps: this.list.steps.length,
      creditsPerRun: limits.creditsPerRun,
      account: this.quote ?? account,
    });
    const seconds = this.quote?.expectedSeconds ?? null;
    const time = seconds === null ? "" : ` Takes ${aboutSeconds(seconds)} once it is uploaded.`;
    if (!account) {
      return [
        el("p", { class: "cost" }, cost.text),
        el("a", { class: "primary", href: this.tab.signUpUrl }, "Sign up to start"),
        el(
          "p",
          { class: "note" },
          "A batch needs an account, which is free. Your pictures and steps stay here.",
        ),
        el("a", { class: "quiet", href: this.tab.logInUrl }, "I have an account"),
      ];
    }
    const start = el(
      "button",
      {
        type: "button",
        class: "primary",
        disabled: !cost.canStart || Boolean(this.problem),
        onclick: () => this.start(),
      },
      el("span", {}, "Start"),
      el("span", { class: "chip-cost" }, `${cost.cost} credit${cost.cost === 1 ? "" : "s"}`),
    );
    return [
      start,
      this.problem && el("p", { class: "note problem", role: "alert" }, this.problem),
      el(
        "p",
        { class: cost.isEnough ? "cost" : "cost short" },
        `${cost.text}${time} Only what succeeds is charged. `,
        cost.isEnough
          ? null
          : isOfAnother(account)
            ? "Ask the account's owner for more."
            : el("a", { href: "/plans" }, "See the plans"),
      ),
      cost.isEnough ? null : this.#buildPacks(),
    ].filter((one) => one !== null && one !== "");
  }

  /** Buttons that buy credits, and come back to this draft. */
  #buildPacks() {
    const place = { pathname: "/app/", search: "", hash: "#batch" };
    return packButtons(this.model.session, place, (form) => this.#leave(() => form.submit()));
  }

  async #loadQuote() {
    const { key } = this;
    await new Promise((resolve) => setTimeout(resolve, QUOTE_AFTER_MS));
    if (key !== this.key || this.model.isGuest || !this.pictures.length || this.uploading) return;
    try {
      this.size ??= sizeOf(this.pictures[0].file);
      const size = await this.size;
      const quote = await this.client.quote(this.#steps, this.pictures.length, size);
      if (key !== this.key) return;
      this.quote = quote;
    } catch (error) {
      if (key !== this.key) return;
      const { param } = /** @type {{ param?: string }} */ (error);
      if (param === "steps") this.problem = stepsProblem(/** @type {Error} */ (error));
    }
    this.refresh();
  }

  get #steps() {
    return sentSteps(this.list.steps, this.list.format);
  }

  /**
   * Keeps a guest's pictures until they have signed up or in, and goes there.
   * @param {string} address
   */
  async leave(address) {
    await this.#leave(() => window.location.assign(address));
  }

  /**
   * Keeps the pictures and steps for the way back, then goes.
   * @param {() => void} go
   */
  async #leave(go) {
    const pictures = this.pictures.map(({ file, name }) => ({ file, name }));
    const isKept = await keepDraft({ pictures, steps: this.list.steps });
    const question = "Your browser cannot keep the pictures: they would have to be chosen again. Go on?";
    if (!isKept && !window.confirm(question)) return;
    this.isKept = true;
    go();
  }

  progressText = el("p", { class: "stage-name", role: "status" });
  progressBar = el("progress", { max: 1, "aria-label": "Uploaded" });

  #buildCancel() {
    const cancel = () => this.uploading?.abort();
    return el("button", { type: "button", class: "quiet", onclick: cancel }, "Cancel");
  }

  async start() {
    if (this.uploading) return;
    const { signal } = (this.uploading = new AbortController());
    this.refresh();
    try {
      const show = (/** @type {Progress} */ progress) => this.#showProgress(progress);
      await this.uploads.run(this.pictures, this.model.limits, show, signal);
      this.progressText.textContent = "Starting …";
      const { key, pictures } = this;
      const steps = this.#steps;
      // With the same key nothing is started twice, whichever answer is lost.
      const batch = await patiently(
        () => this.client.start(steps, pictures, key),
        this.uploads.sleep,
        signal,
      );
      this.uploading = null;
      const files = pictures.map(({ file }) => file);
      this.clear();
      this.tab.follow(batch, files);
      void this.model.refreshAccount();
    } catch (error) {
      this.uploading = null;
      const { param } = /** @type {{ param?: string }} */ (error);
      if (param === "steps") this.problem = stepsProblem(/** @type {Error} */ (error));
      else if (!isAbort(error)) this.model.reportError(error);
      this.refresh();
    }
  }

  /** @param {Progress} progress */
  #showProgress(progress) {
    this.progressText.textContent = uploadText(progress);
    this.progressBar.value = progress.totalBytes ? progress.bytes / progress.totalBytes : 0;
  }
}

/** @param {number} bytes */
function sizeText(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
