// The chosen tool's settings, what applying it costs, and the progress of a run.

import { el, icon, present } from "./elements.js";
import { credits } from "./model.js";

/** @import { Editor } from "./editor.js" */
/** @import { Action, ActiveRun } from "./types.js" */

/**
 * The elements that show a run.
 * @typedef {{ stage: HTMLElement, bar: HTMLProgressElement, cancel: HTMLButtonElement }} Progress
 */

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
    for (const name of ["run", "account"]) this.model.on(name, () => this.refresh());
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
    this.title.textContent = tool.info.title;
    this.body.replaceChildren(...present(tool.build()));
    for (const section of this.body.querySelectorAll("details"))
      section.open = open.includes(titleOf(section));
    this.refresh();
  }

  /** Updates what can be applied, or the progress of the run. */
  refresh() {
    const { tool } = this.editor;
    const { run } = this.model;
    if (!tool || !this.model.step) return;
    this.element.classList.toggle("running", run !== null);
    this.body.inert = run !== null;
    if (run) this.#showRun(run);
    else {
      this.progress = null;
      this.footer.replaceChildren(
        ...(this.model.mayApply
          ? this.#buildActions(tool.actions().filter((action) => !action.isHidden))
          : this.#buildSignUp()),
      );
    }
    this.editor.topbar.refresh();
  }

  /** @param {Action[]} actions */
  #buildActions(actions) {
    const buttons = actions.map((action, at) => this.#buildButton(action, at === 0));
    if (actions[0]?.problem)
      return [...buttons, el("p", { class: "note", id: "apply-problem" }, actions[0].problem)];
    if (actions.length) return [...buttons, this.#buildCost()];
    return [el("p", { class: "note", role: "status" }, "Changes are free.")];
  }

  /**
   * @param {Action} action
   * @param {boolean} isPrimary
   */
  #buildButton(action, isPrimary) {
    const { isGuest, limits } = this.model;
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
        isGuest || action.act || this.editor.tool?.isFree ? "free" : credits(limits.creditsPerRun),
      ),
    );
  }

  #buildCost() {
    const { account, limits } = this.model;
    if (!account) return el("p", { class: "cost" }, "Free on our samples.");
    if (this.editor.tool?.isFree) return el("p", { class: "cost" }, "Free.");
    const cost = `${credits(limits.creditsPerRun)}, ${account.creditsAvailable} left. `;
    const more = account.creditsAvailable ? null : el("a", { href: "/plans" }, "Get more");
    return el("p", { class: "cost" }, cost, more);
  }

  #buildSignUp() {
    return [
      el(
        "p",
        { class: "note" },
        "Sign up to edit your own pictures. It is free, and this picture will still be here.",
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
    const { stage, bar, cancel } = this.progress;
    stage.textContent = progressText(run);
    if (run.status === "queued" || !run.fraction) bar.removeAttribute("value");
    else bar.value = run.fraction;
    cancel.disabled = run.isCancelled;
  }

  #buildProgress() {
    return {
      stage: el("p", { class: "stage-name" }),
      bar: el("progress", { max: 1, "aria-label": "Progress" }),
      cancel: el("button", { type: "button", class: "quiet", onclick: () => this.model.cancel() }, "Cancel"),
    };
  }
}

/**
 * What a run is doing, for people.
 * @param {ActiveRun} run
 */
export function progressText(run) {
  if (run.isCancelled) return "Stopping …";
  if (run.isDisconnected) return "No connection to the server. Trying again …";
  if (run.queuePosition === 1) return "Waiting: next in the queue";
  if (run.queuePosition > 1) return `Waiting: number ${run.queuePosition} in the queue`;
  if (!run.stage) return `${run.title} …`;
  const stage = run.stage[0].toUpperCase() + run.stage.slice(1);
  return `${stage}, ${Math.round(run.fraction * 100)} %`;
}
