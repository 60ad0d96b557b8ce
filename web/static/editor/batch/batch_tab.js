// The batch tab: drafts, running batches and the list of the recent ones, each at an address of its own.

import { isMissing } from "../api.js";
import { el } from "../elements.js";
import { timeLeft } from "../start_screen.js";
import { BatchClient } from "./batch_client.js";
import { statusText } from "./batch_progress.js";
import { DraftView } from "./draft_view.js";
import { RunView } from "./run_view.js";

/** @import { Editor } from "../editor.js" */
/** @import { Batch } from "../types.js" */
/** @import { Picked } from "./files.js" */

export class BatchTab {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.model = editor.model;
    this.client = new BatchClient(this.model.client);
    this.draft = new DraftView(this);
    this.run = new RunView(this);
    this.run.element.hidden = true;
    this.element = el(
      "section",
      { class: "batch", "aria-label": "Batch", tabindex: "-1", hidden: true },
      this.draft.element,
      this.run.element,
    );
    editor.root.addEventListener("click", (event) => this.#onLink(event));
    this.model.on("place", () => void this.navigate());
    this.model.on("project", () => this.isShown && void this.navigate());
  }

  /**
   * Guests who sign up or in, also by the links in the top bar, find their pictures here afterwards.
   * @param {Event} event
   */
  #onLink(event) {
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    const path = link?.getAttribute("href")?.split("?")[0] ?? "";
    const address = { "/signup": this.signUpUrl, "/login": this.logInUrl }[path];
    if (!address || !this.isShown || !this.model.isGuest || !this.draft.pictures.length) return;
    event.preventDefault();
    void this.draft.leave(address);
  }

  get isShown() {
    return !this.element.hidden;
  }

  get signUpUrl() {
    return `/signup?next=${encodeURIComponent("/app/#batch")}`;
  }

  get logInUrl() {
    return `/login?next=${encodeURIComponent("/app/#batch")}`;
  }

  /**
   * Opens the draft ("batch"), or the batch with this id.
   * @param {string} place
   */
  open(place) {
    this.model.setPlace(place);
    return this.navigate();
  }

  /** Goes back to the picture that was open, or to the start screen. */
  close() {
    this.model.setPlace(this.model.project?.id ?? "");
    void this.navigate();
    if (!this.model.project) void this.model.resume();
  }

  /** Shows what the page's address names. */
  async navigate() {
    const { batchPlace: place } = this.model;
    const wasShown = this.isShown;
    this.element.hidden = !place;
    this.editor.root.classList.toggle("in-batch", Boolean(place));
    this.editor.topbar.showMode(place ? "batch" : "picture");
    this.draft.element.hidden = place !== "batch";
    if (place !== "batch") this.draft.list.hide();
    if (!place) {
      this.run.hide();
      return;
    }
    if (!wasShown) this.element.focus({ preventScroll: true });
    if (place === "batch") await this.#showDraft();
    else if (this.run.batch?.id !== place) await this.#load(place);
  }

  async #showDraft() {
    this.run.hide();
    this.run.element.hidden = true;
    this.draft.list.show();
    this.draft.refresh();
    await this.draft.restore();
    await this.#showRecent();
  }

  /** @param {string} id */
  async #load(id) {
    if (this.model.isGuest) return this.open("batch");
    try {
      const batch = await this.client.show(id);
      if (this.model.batchPlace === id) this.#show(batch, []);
    } catch (error) {
      if (this.model.batchPlace === id) await this.lose(error);
    }
  }

  /**
   * @param {Batch} batch
   * @param {File[]} files
   */
  #show(batch, files) {
    this.run.element.hidden = false;
    this.run.show(batch, files);
  }

  /**
   * Follows a batch that was just started from these files.
   * @param {Batch} batch
   * @param {File[]} files
   */
  follow(batch, files) {
    if (!this.isShown) {
      this.model.emit("notice", `The batch of ${batch.total} pictures was started. It is under "Batch".`);
      return;
    }
    this.#show(batch, files); // so that it need not be loaded
    void this.open(batch.id); // which hides the draft
    this.run.title.focus({ preventScroll: true });
  }

  /**
   * The batch that was shown does not exist any more, or cannot be shown.
   * @param {unknown} error
   */
  lose(error) {
    if (isMissing(error)) this.model.emit("notice", "This batch was deleted or has expired.");
    else this.model.reportError(error);
    this.model.setPlace("batch");
    return this.navigate();
  }

  /**
   * Adds files to the draft, and shows it.
   * @param {Picked[]} picked
   */
  async add(picked) {
    if (!this.isShown || this.model.batchPlace !== "batch") await this.open("batch");
    this.draft.add(picked);
  }

  /** @param {File} file */
  async openFile(file) {
    this.close();
    this.editor.startScreen.open(file);
  }

  /**
   * Shows the balance, which also changes when credits are released that were held for a batch.
   * @param {number} available
   */
  showCredits(available) {
    if (!this.model.account || this.model.account.creditsAvailable === available) return;
    this.model.account.creditsAvailable = available;
    this.model.emit("account");
  }

  async #showRecent() {
    const { recent } = this.draft;
    if (this.model.isGuest) return;
    /** @type {Batch[]} */
    const batches = await this.client.list().catch(() => []);
    const items = batches.map((batch) =>
      el(
        "li",
        {},
        el(
          "button",
          { type: "button", class: "quiet", onclick: () => void this.open(batch.id) },
          el("strong", {}, batch.title),
          el("span", {}, statusText(batch)),
          el("span", { class: "note" }, batch.hasEnded ? timeLeft(batch.expiresAt, Date.now()) : ""),
        ),
      ),
    );
    recent.replaceChildren(...(items.length ? [el("h2", {}, "Your batches"), el("ul", {}, items)] : []));
  }
}
