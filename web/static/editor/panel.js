// The settings of the chosen tool, what applying them costs, and how far a run is.

import { drawn, el } from "./elements.js";

export class Panel {
  constructor(editor) {
    this.editor = editor;
    this.model = editor.model;
    this.title = el("h2", {});
    this.body = el("div", { class: "panel-body" });
    this.footer = el("div", { class: "panel-foot" });
    const fold = el(
      "button",
      {
        type: "button",
        class: "icon fold",
        "aria-expanded": "true",
        "aria-label": "Settings",
        onclick: () => this.fold(),
      },
      drawn("chevron"),
    );
    this.foldButton = fold;
    this.element = el(
      "section",
      { class: "panel", "aria-label": "Settings" },
      el("header", {}, this.title, fold),
      this.body,
      this.footer,
    );
    for (const name of ["run", "account", "look"]) this.model.on(name, () => this.refresh());
  }

  fold(isFolded = this.foldButton.getAttribute("aria-expanded") === "true") {
    this.element.classList.toggle("folded", isFolded);
    this.foldButton.setAttribute("aria-expanded", `${!isFolded}`);
  }

  /** Builds the tool's part anew. */
  rebuild() {
    const { tool } = this.editor;
    if (!tool || !this.model.step) return;
    const open = [...this.body.querySelectorAll("details")]
      .filter((one) => one.open)
      .map((one) => one.textContent.slice(0, 12));
    this.title.textContent = tool.about.title;
    this.body.replaceChildren(...tool.build().filter(Boolean));
    for (const one of this.body.querySelectorAll("details"))
      one.open = open.includes(one.textContent.slice(0, 12));
    this.refresh();
  }

  /** Shows again what can be applied, or how far the run is. */
  refresh() {
    const { tool } = this.editor;
    if (!tool || !this.model.step) return;
    const isRunning = this.model.run !== null;
    this.element.classList.toggle("running", isRunning);
    this.body.inert = isRunning;
    if (isRunning) this.#showRun();
    else if (!this.model.mayApply) this.footer.replaceChildren(...this.#signUp());
    else this.#showActions(tool.actions().filter((action) => !action.hidden));
    this.editor.topbar.refresh();
  }

  #showActions(actions) {
    this.progress = null;
    const content = actions.map((action, at) => this.#button(action, at === 0));
    const problem = actions[0]?.problem;
    if (problem) content.push(el("p", { class: "note", id: "apply-problem" }, problem));
    else if (actions.length) content.push(this.#cost());
    else
      content.push(
        el("p", { class: "note", role: "status" }, this.model.lookRun ? "Changing …" : "Changes are free."),
      );
    this.footer.replaceChildren(...content);
  }

  #button(action, isChief) {
    return el(
      "button",
      {
        type: "button",
        class: isChief ? "primary" : "quiet",
        disabled: Boolean(action.problem),
        onclick: () => this.editor.apply(action.request()),
      },
      el("span", {}, action.label),
      el("span", { class: "chip-cost" }, this.model.isGuest ? "free" : "1 credit"),
    );
  }

  #cost() {
    const { account } = this.model;
    if (!account) return el("p", { class: "cost" }, "Free on our samples.");
    const left = `${account.creditsAvailable} left`;
    const more = account.creditsAvailable ? null : el("a", { href: "/plans" }, "Get more");
    return el("p", { class: "cost" }, `1 credit, ${left}. `, more);
  }

  #signUp() {
    this.progress = null;
    return [
      el(
        "p",
        { class: "note" },
        "Sign up to work on your own pictures. It is free, and this picture will be there.",
      ),
      el("a", { class: "primary", href: this.editor.signUpAddress() }, "Sign up"),
      el("a", { class: "quiet", href: this.editor.logInAddress() }, "I have an account"),
    ];
  }

  #showRun() {
    const { run } = this.model;
    if (!this.progress) {
      this.progress = {
        stage: el("p", { class: "stage-name" }),
        bar: el("progress", { max: 1, "aria-label": "Progress" }),
        cancel: el(
          "button",
          { type: "button", class: "quiet", onclick: () => this.model.cancel() },
          "Cancel",
        ),
      };
      this.footer.replaceChildren(...Object.values(this.progress));
    }
    const { stage, bar, cancel } = this.progress;
    stage.textContent = worded(run);
    if (run.status === "queued" || !run.fraction) bar.removeAttribute("value");
    else bar.value = run.fraction;
    cancel.disabled = Boolean(run.isCancelled);
  }
}

/** A run in words. */
export function worded(run) {
  if (run.isCancelled) return "Stopping …";
  if (run.queuePosition === 1) return "Waiting: next in the queue";
  if (run.queuePosition > 1) return `Waiting: number ${run.queuePosition} in the queue`;
  if (!run.stage) return `${run.title} …`;
  const stage = run.stage[0].toUpperCase() + run.stage.slice(1);
  return `${stage}, ${Math.round(run.fraction * 100)} %`;
}
