// The chosen tool's settings, what applying it costs, and the progress of a run.

import { el, icon, keepFocus, present } from "./elements.js";
import { Expectations } from "./expectations.js";
import { fullSizeRequest, isRetouched, lookToRepeat } from "./previews.js";
import { aboutSeconds, progressAt, progressText } from "./progress.js";
import { isOfAnother, isViewer } from "./roles.js";
import { limitSeconds } from "./run_answers.js";
import { credits } from "./words.js";

/** @import { Editor } from "./editor.js" */
/** @import { Tool } from "./tools/tool.js" */
/** @import { Action, ActiveRun, RunRequest, Step } from "./types.js" */

/**
 * The elements that show a run.
 * @typedef {{ stage: HTMLElement, bar: HTMLProgressElement, cancel: HTMLButtonElement }} Progress
 */

const TICK_MS = 200;

export class Panel {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.model = editor.model;
    this.title = el("h2", {});
    this.body = el("div", { class: "panel-body" });
    this.footer = el("div", { class: "panel-foot" });
    /** @type {Progress | null} */
    this.progress = null;
    this.foldButton = el(
      "button",
      {
        type: "button",
        class: "icon fold",
        "aria-expanded": "true",
        "aria-label": "Settings",
        onclick: () => this.fold(),
      },
      icon("chevron"),
    );
    this.element = el(
      "section",
      { class: "panel", "aria-label": "Settings" },
      el("header", {}, this.title, this.foldButton),
      this.body,
      this.footer,
    );
    this.expectations = new Expectations(this.model, () => this.#refreshCost());
    /** When the run's version was received, and how long the work had been running then. */
    this.report = { version: -1, atMs: 0, elapsedSeconds: 0 };
    /** The largest progress that was shown for the run: it never goes back. */
    this.shownValue = 0;
    /**
     * Moves the progress between the server's reports.
     * @type {ReturnType<typeof setInterval> | undefined}
     */
    this.ticker = undefined;
    /** When a guest has free previews again. */
    this.previewsFromMs = Date.now() + 1000 * this.model.session.previews.waitSeconds;
    this.model.on("error", (error) => this.#noteRefusal(error));
    for (const name of ["run", "account"]) this.model.on(name, () => this.refresh());
  }

  /** @param {unknown} error */
  #noteRefusal(error) {
    const seconds = limitSeconds(error);
    const isOfPreviews = this.model.run !== null && this.model.getsPreviews;
    if (isOfPreviews && seconds) this.previewsFromMs = Date.now() + seconds * 1000;
  }

  /** Whether what is free for a guest today is used up. */
  get #isUsedUp() {
    return this.model.getsPreviews && Date.now() < this.previewsFromMs;
  }

  /** On small screens the panel can be folded. Without an argument it is toggled. */
  fold(isFolded = this.foldButton.getAttribute("aria-expanded") === "true") {
    this.element.classList.toggle("folded", isFolded);
    this.foldButton.setAttribute("aria-expanded", `${!isFolded}`);
  }

  /** Builds the tool's settings again. Sections that were open stay open. */
  rebuild() {
    const { tool } = this.editor;
    if (!tool || !this.model.step) return;
    const titleOf = (/** @type {HTMLDetailsElement} */ section) =>
      section.querySelector("summary")?.textContent;
    const open = [...this.body.querySelectorAll("details")].filter((section) => section.open).map(titleOf);
    this.title.textContent = tool.title;
    keepFocus(this.body, () => this.body.replaceChildren(...present(tool.build())));
    for (const section of this.body.querySelectorAll("details"))
      section.open = open.includes(titleOf(section));
    this.refresh();
  }

  /** Updates what can be applied, or the progress of the run. */
  refresh() {
    const { tool } = this.editor;
    const { run, step } = this.model;
    if (!tool || !step) return;
    this.element.classList.toggle("running", run !== null);
    this.body.inert = run !== null;
    this.body.hidden = this.editor.isLocked; // its settings are those of the photo
    const show = () => {
      if (run) this.#showRun(run);
      else {
        this.#stopShowingRun();
        this.footer.replaceChildren(...this.#buildFooter(tool, step));
      }
    };
    // Not to "Cancel": a second press of the key that applied the tool would cancel it.
    keepFocus(this.footer, show, this.editor.stage.element);
    this.editor.topbar.refresh();
    this.editor.marks.refresh();
  }

  /**
   * @param {Tool} tool
   * @param {Step} step
   */
  #buildFooter(tool, step) {
    if (isViewer(this.model.account))
      return [el("p", { class: "note", role: "status" }, "You may look at this picture, but not change it.")];
    if (this.model.unknownRun) return this.#buildUnknownRun(this.model.unknownRun);
    if (this.model.getsPreviews && tool.usesWords) return this.#buildSignUp();
    const isStrokes = step.isPreview && tool.name === "brush" && !this.editor.isLocked;
    if (step.isPreview && !isStrokes) return this.#buildFullSize(step);
    return this.#buildActions(tool.actions().filter((action) => !action.isHidden));
  }

  /** @param {Action[]} actions */
  #buildActions(actions) {
    const buttons = actions.map((action, at) => this.#buildButton(action, at === 0));
    if (actions[0]?.problem)
      return [...buttons, el("p", { class: "note", id: "apply-problem" }, actions[0].problem)];
    if (actions.length) return [...buttons, this.#buildCost(actions[0])];
    return [el("p", { class: "note", role: "status" }, "Changes are free.")];
  }

  /**
   * @param {Action} action
   * @param {boolean} isPrimary
   */
  #buildButton(action, isPrimary) {
    const { isGuest, limits } = this.model;
    const isFree = isGuest || action.act || this.editor.tool?.isFree;
    const isUsedUp = this.#isUsedUp && !action.act && !this.editor.tool?.isFree;
    return el(
      "button",
      {
        type: "button",
        class: isPrimary ? "primary" : "quiet",
        disabled: Boolean(action.problem),
        onclick: () => (action.act ? action.act() : this.editor.apply(action.request())),
      },
      el("span", {}, action.label),
      el(
        "span",
        { class: "chip-cost" },
        isUsedUp ? "none left today" : isFree ? "free" : credits(limits.creditsPerRun),
      ),
    );
  }

  /** @param {Action} action */
  #buildCost(action) {
    const { account } = this.model;
    const seconds = this.expectations.of(action.request());
    const time = seconds === null ? "" : ` Takes ${aboutSeconds(seconds)}.`;
    if (!account && this.model.project?.sample)
      return el("p", { class: "cost" }, `Free on our samples.${time}`);
    if (this.editor.tool?.isFree) return el("p", { class: "cost" }, `Free.${time}`);
    if (!account) return this.#buildPreviewNote(time);
    return this.#buildPrice(account.creditsAvailable, time);
  }

  /**
   * @param {number} available credits
   * @param {string} [time]
   */
  #buildPrice(available, time = "") {
    const cost = `${credits(this.model.limits.creditsPerRun)}, ${available} left.${time} `;
    if (available) return el("p", { class: "cost" }, cost);
    const more = isOfAnother(this.model.account)
      ? "Ask the account's owner for more."
      : el("a", { href: "/plans" }, "Get more");
    return el("p", { class: "cost" }, cost, more);
  }

  /** @param {string} time */
  #buildPreviewNote(time) {
    const { side, aDay } = this.model.session.previews;
    const preview = `A free preview of at most ${side} pixels, with a mark; ${aDay} a day`;
    return el(
      "p",
      { class: "cost" },
      this.#isUsedUp ? `${preview}, and none is left today. ` : `${preview}.${time} `,
      el("a", { href: this.editor.signUpUrl() }, "Sign up"),
      " for the full size: it is free, and the picture and its preview stay.",
    );
  }

  /** Shows the expected time. The buttons stay, because one of them may just be pressed. */
  #refreshCost() {
    const shown = this.footer.querySelector(".cost");
    const action = this.editor.tool?.actions().find((one) => !one.isHidden);
    if (shown && action && !action.problem && !this.model.run) shown.replaceWith(this.#buildCost(action));
  }

  /**
   * Nothing else can be applied until it is known what became of a run.
   * @param {string} title
   */
  #buildUnknownRun(title) {
    return [
      el(
        "p",
        { class: "note", role: "status" },
        `${title} was sent, but its result has not arrived. It is charged once at most.`,
      ),
      el(
        "button",
        { type: "button", class: "primary", onclick: () => this.model.resumeRun() },
        "Look for the result",
      ),
    ];
  }

  /**
   * What can be done with a preview: make it at full size, or go back to the photo.
   * @param {Step} step
   */
  #buildFullSize(step) {
    const { model, editor } = this;
    const { side } = model.session.previews;
    const free = step.cutout && !editor.isLocked ? "Changes are free. " : "";
    const retouched = isRetouched(model.steps, step) ? " What was retouched in it is not made again." : "";
    const text = `${free}This is a preview of at most ${side} pixels, with a mark.${retouched}`;
    const back = el(
      "button",
      { type: "button", class: "quiet", onclick: () => editor.showPhoto() },
      "Back to the photo",
    );
    if (model.isGuest) {
      return [
        el("a", { class: "primary", href: editor.signUpUrl() }, "Sign up for the full size"),
        back,
        el("p", { class: "note" }, `${text} Signing up is free; the picture and its previews stay.`),
      ];
    }
    const request = fullSizeRequest(model.steps, step);
    const apply = el(
      "button",
      { type: "button", class: "primary", onclick: () => request && this.#makeFullSize(request, step) },
      el("span", {}, "Make it at full size"),
      el("span", { class: "chip-cost" }, credits(model.limits.creditsPerRun)),
    );
    const price = request && model.account && this.#buildPrice(model.account.creditsAvailable);
    return present([request && apply, back, price, el("p", { class: "note" }, text)]);
  }

  /**
   * @param {RunRequest} request
   * @param {Step} preview
   */
  async #makeFullSize(request, preview) {
    const made = await this.editor.apply(request);
    const look = lookToRepeat(preview);
    if (made?.cutout && look) this.editor.recorder.schedule(made, look);
  }

  #buildSignUp() {
    return [
      el(
        "p",
        { class: "note" },
        "Sign up to create pictures from words. It is free, and this picture will still be here.",
      ),
      el("a", { class: "primary", href: this.editor.signUpUrl() }, "Sign up"),
      el("a", { class: "quiet", href: this.editor.logInUrl() }, "I have an account"),
    ];
  }

  /** @param {ActiveRun} run */
  #showRun(run) {
    if (!this.progress) {
      this.progress = this.#buildProgress();
      this.footer.replaceChildren(...Object.values(this.progress));
    }
    if (run.version !== this.report.version) {
      this.report = {
        version: run.version,
        atMs: performance.now(),
        elapsedSeconds: run.elapsedSeconds,
      };
    }
    this.ticker ??= setInterval(() => this.#showProgress(), TICK_MS);
    this.progress.cancel.disabled = run.isCancelled;
    this.#showProgress();
  }

  #showProgress() {
    const { run } = this.model;
    if (!run || !this.progress) return;
    const { stage, bar } = this.progress;
    const { atMs, elapsedSeconds } = this.report;
    const progress = progressAt(run, elapsedSeconds + (performance.now() - atMs) / 1000, elapsedSeconds);
    const text = progressText(run, progress);
    if (stage.textContent !== text) stage.textContent = text;
    bar.classList.toggle("estimated", progress.isEstimate);
    if (progress.value === null) bar.removeAttribute("value");
    else {
      this.shownValue = Math.max(this.shownValue, progress.value);
      bar.value = this.shownValue;
    }
  }

  #stopShowingRun() {
    clearInterval(this.ticker);
    this.ticker = undefined;
    this.progress = null;
    this.shownValue = 0;
    this.report = { version: -1, atMs: 0, elapsedSeconds: 0 };
  }

  #buildProgress() {
    return {
      stage: el("p", { class: "stage-name" }),
      bar: el("progress", { max: 1, "aria-label": "Progress" }),
      cancel: el("button", { type: "button", class: "quiet", onclick: () => this.model.cancel() }, "Cancel"),
    };
  }
}
