// What the editor knows and does, apart from how it looks: project, steps, the run that goes on, credits.
// It tells of changes by events: "project", "step", "run", "look", "account", "problem", "notice".

import * as api from "./api.js";
import * as history from "./history.js";

const PENDING = "bgeraser.pending-run";
const LAST_PROJECT = "bgeraser.project";

export class Model extends EventTarget {
  constructor(session) {
    super();
    this.session = session;
    this.account = session.account;
    this.project = null;
    this.run = null; // what the server says of the run, and `title`
    this.isOpening = false;
    this.visited = [];
    this.lookRun = null;
  }

  tell(name, detail = undefined) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  on(name, listener) {
    this.addEventListener(name, (event) => listener(event.detail));
  }

  get steps() {
    return this.project?.steps ?? [];
  }

  get step() {
    return this.project ? history.stepOf(this.steps, this.project.currentStepId) : null;
  }

  get isGuest() {
    return this.account === null;
  }

  /** Whether tools may be applied here: guests work on our samples only. */
  get mayApply() {
    return !this.isGuest || Boolean(this.project?.sample);
  }

  toolNamed(name) {
    return this.session.tools.find((tool) => tool.name === name);
  }

  // Opening

  async openFile(file) {
    await this.#open(() => api.openFile(file));
  }

  async openSample(name) {
    await this.#open(() => api.openSample(name));
  }

  /** The project named in the address, or the last one of this tab; whether there is one. */
  async resume() {
    const id = location.hash.slice(1) || sessionStorage.getItem(LAST_PROJECT);
    if (!id) return false;
    try {
      this.#show(await api.project(id));
    } catch (refusal) {
      sessionStorage.removeItem(LAST_PROJECT);
      rememberInAddress("");
      if (refusal.status !== 404) this.problem(refusal);
      return false;
    }
    await this.#takeUpPendingRun();
    return true;
  }

  async openProject(id) {
    await this.#open(() => api.project(id));
  }

  close() {
    this.project = null;
    sessionStorage.removeItem(LAST_PROJECT);
    rememberInAddress("");
    this.tell("project");
    this.tell("step");
  }

  async #open(load) {
    if (this.isOpening) return;
    this.isOpening = true;
    this.tell("project");
    try {
      this.#show(await load());
    } catch (refusal) {
      this.problem(refusal);
    } finally {
      this.isOpening = false;
      this.tell("project");
    }
  }

  #show(project) {
    this.project = project;
    this.visited = [project.currentStepId];
    sessionStorage.setItem(LAST_PROJECT, project.id);
    rememberInAddress(`#${project.id}`);
    this.tell("project");
    this.tell("step");
  }

  // Going through the steps

  get undoTarget() {
    const step = this.step && history.before(this.steps, this.step.id);
    return step?.lives ? step : null;
  }

  get redoTarget() {
    return this.step && history.after(this.steps, this.step.id, this.visited);
  }

  undo() {
    if (this.undoTarget) this.goTo(this.undoTarget.id);
  }

  redo() {
    if (this.redoTarget) this.goTo(this.redoTarget.id);
  }

  startOver() {
    const first = history.original(this.steps);
    if (first && first.id !== this.step.id) this.goTo(first.id);
  }

  async goTo(stepId) {
    const step = history.stepOf(this.steps, stepId);
    if (!step || step.id === this.project.currentStepId) return;
    if (!step.lives) {
      this.tell("notice", "This step's picture is past its 24 hours.");
      return;
    }
    this.project.currentStepId = step.id;
    this.visited.push(step.id);
    this.tell("step");
    try {
      await api.standAt(this.project.id, step.id);
    } catch (refusal) {
      this.problem(refusal);
    }
  }

  // Runs

  /** Applies a tool: {tool, params, title, stepId?}; resolves to the step made, or null. */
  async apply(request) {
    if (this.run || !this.project) return null;
    const { title, ...sent } = request;
    const asked = { stepId: this.step.id, ...sent };
    const key = crypto.randomUUID();
    sessionStorage.setItem(PENDING, JSON.stringify({ project: this.project.id, asked, title, key }));
    return this.#follow(asked, title, key);
  }

  /** A run that was going on when the page was loaded again: the same key finds it, or its result. */
  async #takeUpPendingRun() {
    const pending = JSON.parse(sessionStorage.getItem(PENDING) ?? "null");
    if (pending?.project !== this.project.id) return;
    await this.#follow(pending.asked, pending.title, pending.key);
  }

  async #follow(asked, title, key) {
    const project = this.project;
    this.run = { id: null, status: "queued", stage: "", fraction: 0, queuePosition: 0, version: -1, title };
    this.tell("run");
    try {
      let run = await api.startRun(project.id, asked, key);
      while (isUnfinished(run)) {
        this.run = { ...run, title, isCancelled: this.run?.isCancelled };
        this.tell("run");
        run = await api.watchRun(project.id, run.id, seenOf(run));
      }
      return this.#ended(project, run, title);
    } catch (refusal) {
      this.problem(refusal);
      return null;
    } finally {
      sessionStorage.removeItem(PENDING);
      this.run = null;
      this.tell("run");
      this.refreshAccount();
    }
  }

  #ended(project, run, title) {
    if (run.status === "cancelled") {
      this.tell("notice", `${title}: stopped. Nothing was charged.`);
      return null;
    }
    if (run.status === "failed") {
      this.problem(new api.Refusal(run.error.status, run.error));
      return null;
    }
    this.#add(project, run.step);
    const cost = run.creditsCharged ? ` ${run.creditsCharged} credit.` : "";
    this.tell("notice", `${title}: done.${cost}`);
    return run.step;
  }

  #add(project, step) {
    const known = project.steps.findIndex((one) => one.id === step.id);
    if (known >= 0) project.steps[known] = step;
    else project.steps.push(step);
    if (!step.isMask) {
      project.currentStepId = step.id;
      this.visited.push(step.id);
    }
    if (project === this.project) {
      this.tell("project");
      this.tell("step", { made: step });
    }
  }

  async cancel() {
    if (!this.run?.id) return;
    this.run = { ...this.run, isCancelled: true };
    this.tell("run");
    try {
      await api.cancelRun(this.project.id, this.run.id);
    } catch (refusal) {
      this.problem(refusal);
    }
  }

  /** Another look of a paid cut-out, for nothing. Of several in a row only the last one counts. */
  async changeLook(cutout, params) {
    const project = this.project;
    const before = this.lookRun;
    const mine = (this.lookRun = { id: null });
    if (before?.id) api.cancelRun(project.id, before.id).catch(() => {});
    this.tell("look");
    const asked = { tool: cutout.tool, params, stepId: cutout.parentId, lookOf: cutout.id };
    try {
      let run = await api.startRun(project.id, asked, crypto.randomUUID());
      mine.id = run.id;
      while (isUnfinished(run)) {
        if (this.lookRun !== mine) api.cancelRun(project.id, run.id).catch(() => {});
        run = await api.watchRun(project.id, run.id, seenOf(run));
      }
      if (run.status === "failed" && this.lookRun === mine) {
        this.problem(new api.Refusal(run.error.status, run.error));
      }
      if (run.status === "done") this.#add(project, run.step);
    } catch (refusal) {
      if (this.lookRun === mine) this.problem(refusal);
    } finally {
      if (this.lookRun === mine) this.lookRun = null;
      this.tell("look");
    }
  }

  async refreshAccount() {
    if (this.isGuest) return;
    try {
      this.session = await api.session();
      this.account = this.session.account;
      this.tell("account");
    } catch {
      // Shown again with the next run; nothing depends on it.
    }
  }

  problem(refusal) {
    if (refusal?.name === "AbortError") return;
    this.tell("problem", refusal);
  }
}

function rememberInAddress(hash) {
  window.history.replaceState(null, "", `${location.pathname}${location.search}${hash}`);
}

/** Starting a run that is done already answers without its step, so it is watched once more. */
function isUnfinished(run) {
  return run.status === "queued" || run.status === "running" || (run.status === "done" && !run.step);
}

function seenOf(run) {
  return run.status === "done" ? -1 : run.version;
}
