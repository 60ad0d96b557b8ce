// A batch that was started: its progress, its pictures with their results, and what can be done about it.

import { el, icon, iconButton, keepFocus, segments } from "../elements.js";
import { errorText } from "../error_texts.js";
import { packButtons } from "../packs.js";
import { isOfAnother } from "../roles.js";
import { isMissing, isTemporary } from "../api.js";
import { askingButton } from "./asking_button.js";
import {
  blockedText,
  chargedText,
  count,
  fractionOf,
  Pace,
  statusText,
  timeLeftText,
} from "./batch_progress.js";
import { fileUrl } from "./batch_client.js";
import { PAGE_SIZE, pager, rangeText } from "./picture_pages.js";
import { Thumbnails } from "./thumbnails.js";

/** @import { Batch, BatchItem, ItemStatus } from "../types.js" */
/** @import { BatchTab } from "./batch_tab.js" */

const POLL_MS = 1500;
/** While nothing can happen soon. */
const SLOW_POLL_MS = 10_000;
/** @type {Record<ItemStatus, string>} */
const ITEM_TEXTS = {
  queued: "Waiting",
  running: "Running",
  succeeded: "Done",
  failed: "Failed",
  cancelled: "Cancelled",
};

export class RunView {
  /** @param {BatchTab} tab */
  constructor(tab) {
    this.tab = tab;
    this.model = tab.model;
    this.client = tab.client;
    /** @type {Batch | null} */
    this.batch = null;
    /** The files of a batch that was started here, for thumbnails until there are results. @type {File[]} */
    this.files = [];
    this.pace = new Pace();
    this.thumbnails = new Thumbnails();
    this.page = 0;
    this.showsFailed = false;
    /** The last position before each page of the failed ones. @type {number[]} */
    this.starts = [-1];
    /** The rows by position, each with what it shows. @type {Map<number, { shown: string, row: HTMLElement }>} */
    this.rows = new Map();
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    this.announced = "";
    this.title = el("h1", { tabindex: "-1" });
    this.status = el("p", { class: "batch-status" });
    this.live = el("p", { class: "visually-hidden", role: "status", "aria-live": "polite" });
    this.bar = el("progress", { max: 1, "aria-label": "Progress of the batch" });
    this.remark = el("p", { class: "note" });
    this.packs = el("div", {});
    this.buttons = el("div", { class: "row batch-buttons" });
    this.filter = el("div", { class: "batch-filter" });
    this.list = el("ul", { class: "batch-list", "aria-label": "Pictures of the batch" });
    this.pages = el("div", {});
    this.element = el(
      "div",
      { class: "batch-run" },
      el(
        "button",
        { type: "button", class: "quiet back", onclick: () => tab.open("batch") },
        "All batches, or a new one",
      ),
      this.title,
      this.status,
      this.bar,
      this.live,
      this.remark,
      this.packs,
      this.buttons,
      this.filter,
      this.list,
      this.pages,
    );
    document.addEventListener("visibilitychange", () => !document.hidden && this.#check());
    window.addEventListener("focus", () => this.#check());
    window.addEventListener("online", () => this.#check());
  }

  /**
   * @param {Batch} batch
   * @param {File[]} files
   */
  show(batch, files) {
    if (batch.id !== this.batch?.id) {
      this.files = files;
      this.page = 0;
      this.showsFailed = false;
      this.starts = [-1];
      this.rows.clear();
      this.list.replaceChildren();
      this.pages.replaceChildren();
      this.packs.replaceChildren();
      this.announced = "";
      this.pace.reset();
    }
    this.#update(batch);
    void this.#loadItems();
    this.#poll();
  }

  /** Stops asking for the state, which nobody sees. */
  hide() {
    clearTimeout(this.timer);
    this.batch = null;
  }

  // Following

  /** @param {number} [milliseconds] */
  #poll(milliseconds) {
    clearTimeout(this.timer);
    if (!this.batch || this.batch.hasEnded) return;
    const isSlow = document.hidden || this.batch.status === "blocked" || this.batch.status === "paused";
    const isIdle = isSlow && !this.batch.counts.running;
    this.timer = setTimeout(() => void this.#load(), milliseconds ?? (isIdle ? SLOW_POLL_MS : POLL_MS));
  }

  /** Asks for the state now, also of a batch that has ended: it may have been deleted in another tab. */
  #check() {
    clearTimeout(this.timer);
    if (this.batch) this.timer = setTimeout(() => void this.#load());
  }

  /**
   * Reports why a request failed. A batch that does not exist any more is left.
   * @param {unknown} error
   */
  #report(error) {
    if (isMissing(error)) void this.tab.lose(error);
    else this.model.reportError(error);
  }

  async #load() {
    const { batch } = this;
    if (!batch) return;
    try {
      const latest = await this.client.show(batch.id);
      if (this.batch?.id !== batch.id) return;
      this.#update(latest);
      await this.#loadItems();
    } catch (error) {
      if (this.batch?.id !== batch.id) return;
      if (!isTemporary(error)) return this.tab.lose(error);
      if (!batch.hasEnded) this.status.textContent = "No connection to the server. Trying again …";
    }
    this.#poll();
  }

  /** @param {Batch} batch */
  #update(batch) {
    const before = this.batch;
    this.batch = batch;
    const isMoving = batch.status === "running";
    const fraction = fractionOf(batch);
    if (isMoving) this.pace.add(performance.now() / 1000, fraction);
    else this.pace.reset();
    const left = isMoving ? timeLeftText(this.pace.secondsLeft(batch.elapsedSeconds)) : "";
    const text = statusText(batch);
    this.title.textContent = batch.title;
    this.status.textContent = left ? `${text}, ${left}` : text;
    this.bar.value = fraction;
    this.#announce(text, fraction);
    this.remark.replaceChildren(...this.#buildRemark(batch));
    if ((before?.status === "blocked") !== (batch.status === "blocked")) {
      const packs = batch.status === "blocked" && packButtons(this.model.session, this.model.location);
      this.packs.replaceChildren(...(packs ? [packs] : []));
    }
    // A question stays open while the batch goes on.
    const isAsking = this.buttons.querySelector("[role=group]") !== null && !batch.hasEnded;
    if (shownBy(before) !== shownBy(batch) && !isAsking) {
      keepFocus(this.buttons, () => this.buttons.replaceChildren(...this.#buildButtons(batch)), this.title);
      keepFocus(this.filter, () => this.filter.replaceChildren(...this.#buildFilter(batch)), this.title);
    }
    this.tab.showCredits(batch.creditsAvailable);
  }

  /**
   * Screen readers read out every tenth of the progress, and what else becomes of the batch.
   * @param {string} text
   * @param {number} fraction
   */
  #announce(text, fraction) {
    const [status] = text.split(":");
    const key = `${status} ${Math.floor(fraction * 10)}`;
    if (key !== this.announced) this.live.textContent = text;
    this.announced = key;
  }

  /**
   * @param {Batch} batch
   * @returns {(Node | string)[]}
   */
  #buildRemark(batch) {
    if (batch.status === "blocked") {
      return [blockedText(batch, isOfAnother(this.model.account))];
    }
    if (!batch.hasEnded) return [chargedText(batch)];
    const hours = Math.max(0, Math.floor((Date.parse(batch.expiresAt) - Date.now()) / 3_600_000));
    const kept = batch.counts.succeeded ? ` The results are kept for ${count(hours, "hour")}.` : "";
    return [`${count(batch.creditsCharged, "credit")} charged.${kept}`];
  }

  // Control

  /** @param {Batch} batch */
  #buildButtons(batch) {
    const { counts, status, hasEnded, retryable } = batch;
    const action = (
      /** @type {string} */ text,
      /** @type {"pause" | "resume" | "retry"} */ name,
      /** @type {string} */ style = "quiet",
    ) => el("button", { type: "button", class: style, onclick: () => this.#control(name) }, text);
    const isPaused = status === "paused";
    const isBlocked = status === "blocked";
    return [
      isBlocked && el("a", { class: "primary", href: "/plans" }, "See the plans"),
      counts.succeeded > 0 &&
        el(
          "a",
          {
            class: hasEnded ? "primary" : "quiet",
            href: fileUrl(batch.id, "results.zip"),
            download: "",
            onclick: () => this.#check(), // the browser does not say that there is nothing to download
          },
          icon("download"),
          hasEnded
            ? `Download ${count(counts.succeeded, "picture")} (ZIP)`
            : `Download ${counts.succeeded} so far`,
        ),
      retryable > 0 && action(`Retry ${retryable} failed`, "retry"),
      !hasEnded && !isPaused && !isBlocked && action("Pause", "pause"),
      isPaused && action("Go on", "resume", "primary"),
      !hasEnded && this.#buildCancel(batch),
      this.#buildDelete(batch),
      hasEnded &&
        el(
          "a",
          {
            class: "quiet",
            href: fileUrl(batch.id, "manifest.csv"),
            download: "",
            onclick: () => this.#check(),
          },
          "List (CSV)",
        ),
    ].filter((one) => one !== false);
  }

  /**
   * What is left of a cancelled batch cannot be resumed.
   * @param {Batch} batch
   */
  #buildCancel(batch) {
    const left = batch.total - batch.counts.succeeded - batch.counts.failed;
    return askingButton("Cancel", {
      title: "Cancel the batch?",
      question: `Leave ${count(left, "picture")} undone?`,
      yes: "Cancel the batch",
      onYes: () => void this.#control("cancel"),
    });
  }

  /** @param {Batch} batch */
  #buildDelete({ counts, hasEnded }) {
    const results = counts.succeeded ? ` with ${count(counts.succeeded, "result")}` : "";
    return askingButton("Delete", {
      title: "Delete the batch?",
      question: `Delete it${results}?${hasEnded ? "" : " What runs is cancelled."}`,
      yes: "Delete the batch",
      onYes: () => void this.#delete(),
    });
  }

  async #delete() {
    const { batch } = this;
    if (!batch) return;
    this.hide(); // else a request under way would report that the batch does not exist any more
    try {
      await this.client.delete(batch.id);
      if (this.model.batchPlace === batch.id) await this.tab.open("batch");
    } catch (error) {
      if (this.model.batchPlace !== batch.id) return this.model.reportError(error);
      this.batch = batch;
      this.#report(error);
      this.#poll();
    }
    void this.model.refreshAccount(); // what was held for it is there again
  }

  /** @param {"pause" | "resume" | "retry" | "cancel"} action */
  async #control(action) {
    const { batch } = this;
    if (!batch) return;
    try {
      const latest = await this.client.control(batch.id, action);
      if (this.batch?.id !== batch.id) return;
      this.pace.reset();
      this.#update(latest);
      await this.#loadItems();
    } catch (error) {
      if (this.batch?.id !== batch.id) return;
      this.#report(error);
    }
    this.#poll();
  }

  // Pictures

  /** @param {Batch} batch */
  #buildFilter({ counts, total }) {
    if (!counts.failed && !this.showsFailed) return [];
    const options = { all: `All ${total}`, failed: `${counts.failed} failed` };
    return [
      segments("Which pictures", options, this.showsFailed ? "failed" : "all", (which) => {
        this.showsFailed = which === "failed";
        this.starts = [-1];
        void this.#choosePage(0);
      }),
    ];
  }

  /** @param {number} page */
  async #choosePage(page) {
    this.page = page;
    this.rows.clear();
    await this.#loadItems();
    this.element.closest(".batch")?.scrollTo({ top: 0 });
  }

  async #loadItems() {
    const { batch, page, showsFailed } = this;
    if (!batch) return;
    const after = showsFailed ? this.starts[page] : page * PAGE_SIZE - 1;
    let found;
    try {
      found = await this.client.items(batch.id, after, showsFailed);
    } catch (error) {
      if (this.batch?.id === batch.id && !isTemporary(error)) this.#report(error);
      return;
    }
    const isStill = this.batch?.id === batch.id && this.page === page && this.showsFailed === showsFailed;
    if (!isStill) return;
    const { items, hasMore } = found;
    this.starts[page + 1] = items.at(-1)?.position ?? -1;
    const rows = items.map((item) => this.#rowOf(item, batch));
    const isSame =
      rows.length === this.list.children.length && rows.every((row, at) => row === this.list.children[at]);
    if (!isSame) keepFocus(this.list, () => this.list.replaceChildren(...rows), this.title);
    const range = rangeText(page, items.length, showsFailed ? batch.counts.failed : batch.total);
    const pages = pager(page, hasMore, range, (next) => void this.#choosePage(next));
    keepFocus(this.pages, () => this.pages.replaceChildren(...(pages ? [pages] : [])), this.title);
  }

  /**
   * The row of a picture, which stays the same element until something about it changes.
   * @param {BatchItem} item
   * @param {Batch} batch
   */
  #rowOf(item, batch) {
    const shown = JSON.stringify(item);
    const known = this.rows.get(item.position);
    if (known?.shown === shown) return known.row;
    const row = this.#buildRow(item, batch);
    this.rows.set(item.position, { shown, row });
    return row;
  }

  /**
   * @param {BatchItem} item
   * @param {Batch} batch
   */
  #buildRow(item, batch) {
    const { name, status, stepsDone, error } = item;
    const many = batch.tools.length;
    const step = status === "running" && many > 1 ? `, step ${stepsDone + 1} of ${many}` : "";
    return el(
      "li",
      { class: "batch-item", "data-status": status },
      el("span", { class: "thumb" }, this.#thumbnail(item)),
      el("span", { class: "name", title: name }, name),
      el("span", { class: "state" }, `${ITEM_TEXTS[status]}${step}`),
      error && el("span", { class: "why" }, errorText(error)),
      el(
        "span",
        { class: "actions" },
        item.result &&
          iconButton(`Open ${name} in the editor`, "brush", () => void this.#open(item.position)),
      ),
    );
  }

  /** @param {BatchItem} item */
  #thumbnail({ position, status, thumbnailUrl }) {
    const file = this.files[position];
    if (file && status !== "succeeded") return this.thumbnails.of(file);
    if (!thumbnailUrl) return null;
    const image = el("img", { src: thumbnailUrl, alt: "", loading: "lazy", decoding: "async" });
    image.addEventListener("error", () => image.remove());
    return image;
  }

  /** @param {number} position */
  async #open(position) {
    const { batch } = this;
    if (!batch) return;
    await this.model.openWith(() => this.client.openResult(batch.id, position));
    this.#check(); // the result, or the whole batch, may be gone
  }
}

/**
 * What the buttons depend on.
 * @param {Batch | null} batch
 */
function shownBy(batch) {
  return batch && JSON.stringify([batch.id, batch.status, batch.counts, batch.retryable]);
}
