// The editor's state apart from its appearance: project, steps, the active run, the account.
// Views subscribe to its events: "project", "step", "run", "account", "error", "notice"; "waiting" with a notice that stays
// until "waited" with the same text.

import { ApiError, isAbort } from "./api.js";
import * as history from "./history.js";
import { newKey, PendingRuns } from "./pending_runs.js";
import * as previews from "./previews.js";
import { endText, isInterrupted, unsentRun } from "./run_answers.js";
import { RunCanceller } from "./run_canceller.js";
import { RETRY_DELAYS_MS, RunWatch } from "./run_watch.js";
import { toolName } from "./tool_names.js";

/** @import { ApiClient } from "./api.js" */
/** @import { PendingRun } from "./pending_runs.js" */
/** @import { ActiveRun, Fields, Project, Run, RunBody, RunRequest, Session, Step } from "./types.js" */

const PROJECT_KEY = "bgeraser.project";
const TOOL_KEY = "bgeraser.tool";
const BATCH_PLACE = /^batch(_\w+)?$/;

/**
 * What the model uses of the browser. It is passed in, so that the model runs without one.
 * @typedef {object} Environment
 * @property {ApiClient} client
 * @property {Pick<Storage, "getItem" | "setItem" | "removeItem">} storage kept as long as the browser's tab
 * @property {Pick<Location, "pathname" | "search" | "hash">} location
 * @property {Pick<History, "pushState" | "replaceState">} browserHistory
 * @property {(milliseconds: number) => Promise<void>} sleep may end early when the network is back
 * @property {(projectId: string) => void} [announce] informs the browser's other tabs of a project's change
 */

/** How often a project is requested again that is resumed while the server is busy or away. */
const LOADING_RETRIES = 4;

/** The balance is fetched again so long after a run failed or was lost: its credit may be held until then. */
const BALANCE_DELAYS_MS = [10_000, 50_000];

/** The project and its current step when the page was left while a look was being recorded. */
const UNRECORDED_KEY = "bgeraser.unrecorded";
const UNRECORDED_ATTEMPTS = 8;
const UNRECORDED_RETRY_MS = 200;

export class Model extends EventTarget {
  /**
   * @param {Session} session
   * @param {Environment} environment
   */
  constructor(session, { client, storage, location, browserHistory, sleep, announce }) {
    super();
    this.client = client;
    this.storage = storage;
    this.location = location;
    this.browserHistory = browserHistory;
    this.sleep = sleep;
    this.announce = announce ?? (() => {});
    this.pendingRuns = new PendingRuns(storage);
    this.canceller = new RunCanceller(this, (projectId, title, run) => {
      if (this.project?.id === projectId) this.#finish(this.project, run, title, true);
      else this.#setCredits(run);
    });
    this.session = session;
    this.account = session.account;
    /** @type {Project | null} */
    this.project = null;
    /** @type {ActiveRun | null} */
    this.run = null;
    this.isOpening = false;
    /**
     * Ids of the steps that were current, oldest first: redo returns to them.
     * @type {string[]}
     */
    this.visited = [];
  }

  /**
   * @param {string} name
   * @param {unknown} [detail]
   */
  emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  /**
   * @param {string} name
   * @param {(detail: any) => void} listener
   */
  on(name, listener) {
    this.addEventListener(name, (event) => listener(/** @type {CustomEvent} */ (event).detail));
  }

  get limits() {
    return this.session.limits;
  }

  get steps() {
    return this.project?.steps ?? [];
  }

  /** The current step, or null while no project is open. */
  get step() {
    return this.project ? history.findStep(this.steps, this.project.currentStepId) : null;
  }

  get isGuest() {
    return this.account === null;
  }

  /** Whether tools make small, marked previews here: guests' own pictures, not our samples. */
  get getsPreviews() {
    return this.isGuest && this.project !== null && !this.project.sample;
  }

  /** What the page's address names of the batches: "batch" for a new one, the id of another one, else "". */
  get batchPlace() {
    const place = this.location.hash.slice(1);
    return BATCH_PLACE.test(place) ? place : "";
  }

  /**
   * Enters a place into the browser's history, without loading anything.
   * @param {string} place "" for the start screen
   */
  setPlace(place) {
    if (this.location.hash.slice(1) !== place) this.#setHash("pushState", place && `#${place}`);
  }

  /** Where to return to: a mailed link may be opened in a tab that knows nothing of the picture. */
  get ownAddress() {
    return this.project ? `/app/#${this.project.id}` : "/app/";
  }

  /** The current step, or the photo that it is a preview of. */
  get photo() {
    return this.step && previews.photoOf(this.steps, this.step);
  }

  /**
   * Deletes a picture and everything made from it; whether that succeeded.
   * @param {string} id
   */
  async deleteProject(id) {
    try {
      await this.client.deleteProject(id);
    } catch (thrown) {
      this.reportError(thrown);
      return false;
    }
    if (this.project?.id === id) this.close();
    this.announce(id);
    return true;
  }

  /** The title of a run whose outcome is unknown: no other may be started meanwhile. "" if there is none. */
  get unknownRun() {
    if (this.run || !this.project) return "";
    return this.pendingRuns.of(this.project.id)?.title ?? "";
  }

  /** The tool that was chosen last in this project, also before the page was reloaded; "" if none was. */
  get rememberedTool() {
    const kept = JSON.parse(this.storage.getItem(TOOL_KEY) ?? "null");
    return kept && kept.project === this.project?.id ? kept.tool : "";
  }

  /** @param {string} tool */
  rememberTool(tool) {
    this.storage.setItem(TOOL_KEY, JSON.stringify({ project: this.project?.id, tool }));
  }

  // Opening

  /** @param {File} file */
  async openFile(file) {
    await this.openWith(() => this.client.openFile(file));
  }

  /** @param {string} name */
  async openSample(name) {
    await this.openWith(() => this.client.openSample(name));
  }

  /** @param {string} id */
  async openProject(id) {
    await this.openWith(() => this.client.project(id));
  }

  /** Opens the project named in the address, or the last one of this tab; whether there was one. */
  async resume() {
    const id = this.location.hash.slice(1) || this.storage.getItem(PROJECT_KEY);
    if (!id) return false;
    try {
      this.#show(await this.#caughtUp(await this.#loaded(id)), "replaceState");
    } catch (thrown) {
      // A server that is away for longer has the project when the page is loaded again.
      if (!isInterrupted(thrown)) this.#forgetProject("replaceState");
      if (!(thrown instanceof ApiError && thrown.status === 404)) this.reportError(thrown);
      return false;
    }
    await this.resumeRun();
    return true;
  }

  /** Call it when the page is left while a look of the project is being recorded, which goes on. */
  leaveUnrecorded() {
    if (this.project)
      this.storage.setItem(UNRECORDED_KEY, `${this.project.id} ${this.project.currentStepId}`);
  }

  /**
   * The project with the look that was being recorded when the page was left: it may arrive after this page's first
   * request.
   * @param {Project} project
   */
  async #caughtUp(project) {
    const left = this.storage.getItem(UNRECORDED_KEY);
    this.storage.removeItem(UNRECORDED_KEY);
    let current = project;
    for (let attempt = 0; attempt < UNRECORDED_ATTEMPTS; attempt += 1) {
      if (left !== `${current.id} ${current.currentStepId}`) break;
      await this.sleep(UNRECORDED_RETRY_MS);
      current = await this.client.project(project.id);
    }
    return current;
  }

  /**
   * A project, also if the server is busy or being restarted just now.
   * @param {string} id
   */
  async #loaded(id) {
    try {
      for (let attempt = 0; ; attempt += 1) {
        try {
          return await this.client.project(id);
        } catch (thrown) {
          if (!isInterrupted(thrown) || attempt === LOADING_RETRIES) throw thrown;
          this.#setOpening(true);
          await this.sleep(RETRY_DELAYS_MS[attempt]);
        }
      }
    } finally {
      if (this.isOpening) this.#setOpening(false);
    }
  }

  /** @param {boolean} isOpening */
  #setOpening(isOpening) {
    this.isOpening = isOpening;
    this.emit("project");
  }

  close() {
    this.#forgetProject("pushState");
    this.#showNone();
  }

  /** Follows the browser's Back and Forward buttons: to the start screen, or to another project. */
  async navigate() {
    const id = this.location.hash.slice(1);
    this.emit("place");
    if (this.batchPlace || id === (this.project?.id ?? "")) return;
    if (this.run && this.project) {
      this.#setHash("pushState", `#${this.project.id}`);
      this.#askToWait(this.run);
    } else if (id) {
      if (!(await this.resume())) this.#showNone();
    } else {
      this.storage.removeItem(PROJECT_KEY);
      this.#showNone();
    }
  }

  /**
   * A run belongs to the picture that is shown, as its progress and its Cancel button do.
   * @param {ActiveRun} run
   * @param {string} [more]
   */
  #askToWait(run, more = "") {
    this.emit("notice", `${run.title} is running. Wait for it, or cancel it first.${more}`);
  }

  #showNone() {
    this.project = null;
    this.emit("project");
    this.emit("step");
  }

  /** Whether another tab may have changed the project while a run kept this one from following. */
  #isOutdated = false;

  /** Adds the steps that another tab or device has made meanwhile, and closes a picture that was deleted there. */
  async synchronize() {
    const { project } = this;
    this.#isOutdated = this.run !== null;
    if (!project || this.run) return;
    let current;
    try {
      current = await this.client.project(project.id);
    } catch (thrown) {
      const isGone = thrown instanceof ApiError && thrown.status === 404;
      if (isGone && this.project === project && !this.run) this.#leaveDeleted(project);
      return;
    }
    if (this.project !== project) return;
    this.#isOutdated = this.run !== null;
    if (this.run) return;
    if (history.isSame(project.steps, current.steps)) return;
    project.steps = current.steps;
    const isRemoved = this.step === null; // an old look that made room for newer ones
    if (isRemoved) project.currentStepId = current.currentStepId;
    this.emit("project");
    if (isRemoved) this.emit("step");
  }

  /** @param {Project} project */
  #leaveDeleted(project) {
    this.#forgetProject("replaceState");
    this.#showNone();
    this.emit("notice", `${project.name} was deleted or has expired.`);
  }

  /**
   * Opens the project that this loads or creates.
   * @param {() => Promise<Project>} load
   */
  async openWith(load) {
    if (this.isOpening) return;
    if (this.run) {
      this.#askToWait(this.run);
      return;
    }
    this.#setOpening(true);
    try {
      const project = await load();
      // A tool may have been applied to the picture that was open while the other one was uploaded.
      if (this.run) this.#askToWait(this.run, ` ${project.name} is among your pictures.`);
      else this.#show(project, "pushState");
    } catch (thrown) {
      this.reportError(thrown);
    } finally {
      this.#setOpening(false);
    }
    await this.resumeRun();
  }

  /**
   * @param {Project} project
   * @param {"pushState" | "replaceState"} how it is entered into the browser's history
   */
  #show(project, how) {
    this.project = project;
    this.visited = [project.currentStepId];
    this.storage.setItem(PROJECT_KEY, project.id);
    this.#setHash(how, `#${project.id}`);
    this.emit("project");
    this.emit("step");
  }

  /** @param {"pushState" | "replaceState"} how */
  #forgetProject(how) {
    this.storage.removeItem(PROJECT_KEY);
    if (!this.batchPlace) this.#setHash(how, "");
  }

  /**
   * @param {"pushState" | "replaceState"} how
   * @param {string} hash
   */
  #setHash(how, hash) {
    const { pathname, search } = this.location;
    this.browserHistory[how](null, "", `${pathname}${search}${hash}`);
  }

  // Undo and redo

  get undoTarget() {
    const parent = this.step && history.parentOf(this.steps, this.step.id);
    return parent?.isAvailable ? parent : null;
  }

  get redoTarget() {
    return this.step && history.redoStep(this.steps, this.step.id, this.visited);
  }

  undo() {
    if (this.undoTarget) this.goTo(this.undoTarget.id);
  }

  redo() {
    if (this.redoTarget) this.goTo(this.redoTarget.id);
  }

  /** Goes back to the original. */
  startOver() {
    const original = history.originalOf(this.steps);
    if (original && original.id !== this.step?.id) this.goTo(original.id);
  }

  /** @param {string} stepId */
  async goTo(stepId) {
    const { project } = this;
    const step = history.findStep(this.steps, stepId);
    if (!project || !step || step.id === project.currentStepId) return;
    if (!step.isAvailable) {
      this.emit("notice", `This step's picture was deleted after ${this.limits.retentionHours} hours.`);
      return;
    }
    project.currentStepId = step.id;
    this.visited.push(step.id);
    this.emit("step");
    try {
      await this.client.setCurrentStep(project.id, step.id);
    } catch (thrown) {
      this.reportError(thrown);
    }
  }

  // Runs

  /** @type {RunWatch | null} */
  #watch = null;

  /**
   * Applies a tool; resolves to the step it made, or null.
   * @param {RunRequest} request
   * @returns {Promise<Step | null>}
   */
  async apply({ title, ...request }) {
    const { project, step } = this;
    if (this.run || !project || !step) return null;
    if (this.unknownRun) return this.resumeRun();
    const body = { stepId: step.id, ...request };
    const key = newKey();
    const pending = { body, title, key };
    this.pendingRuns.keep(project.id, pending);
    return this.#follow(project, pending, false);
  }

  /**
   * Finds the run whose outcome is unknown: its idempotency key leads to it or its result. Else follows the one that was
   * active when the picture was opened: its tab may have been closed.
   * @returns {Promise<Step | null>}
   */
  async resumeRun() {
    this.canceller.resume();
    const { project } = this;
    if (!project || this.run) return null;
    const pending = this.pendingRuns.of(project.id);
    if (pending) return this.#follow(project, pending, true);
    const { run } = project;
    project.run = null;
    // It may be one that was cancelled before the page was reloaded.
    if (this.canceller.isCancelling(project.id)) return null;
    return run && this.#followActive(project, run);
  }

  /**
   * @param {Project} project
   * @param {string} title
   * @param {boolean} mayHaveStarted
   */
  #watchRun(project, title, mayHaveStarted) {
    this.run = unsentRun(title);
    this.emit("run");
    const onChange = (/** @type {Partial<ActiveRun>} */ state) => {
      if (!this.run || this.#watch !== watch) return;
      this.run = { ...this.run, ...state };
      this.emit("run");
    };
    const watch = new RunWatch(this.client, this.sleep, project.id, onChange, mayHaveStarted);
    this.#watch = watch;
    return watch;
  }

  /**
   * @param {Project} project
   * @param {PendingRun} pending
   * @param {boolean} mayHaveStarted
   * @returns {Promise<Step | null>}
   */
  async #follow(project, { body, title, key }, mayHaveStarted) {
    const watch = this.#watchRun(project, title, mayHaveStarted);
    let isUnknown = false; // whether the run may have a result that was not received
    try {
      return await this.#finishWatched(project, title, watch, watch.start(body, key));
    } catch (thrown) {
      const isSignedOut = thrown instanceof ApiError && thrown.status === 401;
      isUnknown = watch.mayHaveStarted && (isInterrupted(thrown) || isSignedOut);
      return this.#leaveWatch(watch, title, thrown);
    } finally {
      if (!isUnknown && !watch.isCancelled) this.pendingRuns.forget(project.id);
      this.#leaveRun();
    }
  }

  /**
   * @param {Project} project
   * @param {Run & { tool: string }} run
   * @returns {Promise<Step | null>}
   */
  async #followActive(project, run) {
    const title = toolName(run.tool, this.session);
    const watch = this.#watchRun(project, title, true);
    try {
      return await this.#finishWatched(project, title, watch, watch.untilEnded(run));
    } catch (thrown) {
      return this.#leaveWatch(watch, title, thrown);
    } finally {
      this.#leaveRun();
    }
  }

  /**
   * @param {Project} project
   * @param {string} title
   * @param {RunWatch} watch
   * @param {Promise<Run>} ended
   */
  async #finishWatched(project, title, watch, ended) {
    const run = await Promise.race([ended, watch.outcome]);
    this.canceller.settle(watch);
    return this.#finish(project, run, title, watch.isCancelled);
  }

  /**
   * @param {RunWatch} watch
   * @param {string} title
   * @param {unknown} thrown
   */
  #leaveWatch(watch, title, thrown) {
    if (watch.isCancelled) this.canceller.leave(watch, title);
    else {
      this.reportError(thrown);
      // The server may have charged the run all the same, so its balance has to be fetched.
      void this.#refreshBalance(0);
    }
    return null;
  }

  #leaveRun() {
    this.run = null;
    this.#watch = null;
    this.emit("run");
    if (this.#isOutdated) void this.synchronize();
  }

  /**
   * @param {Project} project
   * @param {Run} run
   * @param {string} title
   * @param {boolean} isCancelled by the user
   */
  #finish(project, run, title, isCancelled) {
    this.#setCredits(run);
    const text = endText(run, title, isCancelled);
    if (text) this.emit("notice", text);
    if (run.error) {
      this.reportError(new ApiError(run.error.status, run.error));
      void this.#refreshBalance();
    }
    if (!run.step) return null;
    this.#addStep(project, run.step);
    return run.step;
  }

  /** @param {Run} run */
  #setCredits(run) {
    if (!this.account || typeof run.creditsAvailable !== "number") return;
    this.account = { ...this.account, creditsAvailable: run.creditsAvailable };
    this.emit("account");
  }

  /**
   * @param {Project} project
   * @param {Step} step
   */
  #addStep(project, step) {
    const known = project.steps.findIndex((one) => one.id === step.id);
    if (known >= 0) project.steps[known] = step;
    else project.steps.push(step);
    if (!step.isMask) {
      project.currentStepId = step.id;
      this.visited.push(step.id);
    }
    if (project === this.project) {
      this.emit("project");
      this.emit("step", { made: step });
    }
    this.announce(project.id);
  }

  /** Cancels the run that is shown. It is not started any more; one that the server may have is cancelled there. */
  cancel() {
    const { project, run } = this;
    const watch = this.#watch;
    if (!project || !run || !watch || run.isCancelled) return;
    const pending = this.pendingRuns.of(project.id);
    this.pendingRuns.forget(project.id);
    this.run = { ...run, isCancelled: true };
    this.emit("run");
    watch.cancel();
    if (watch.mayArrive) this.canceller.cancel(project.id, run, pending, watch);
  }

  /**
   * Adds a look that was recorded as a step.
   * @param {Project} project
   * @param {Step} step
   * @param {string | null} removedId an old look that made room for it
   */
  addLook(project, step, removedId) {
    const removed = removedId ? history.findStep(project.steps, removedId) : null;
    if (removed) {
      for (const one of project.steps) if (one.parentId === removed.id) one.parentId = removed.parentId;
      project.steps = project.steps.filter((one) => one !== removed);
    }
    this.#addStep(project, step);
  }

  // Account and errors

  async refreshAccount() {
    if (this.isGuest) return;
    try {
      this.session = await this.client.session();
      this.account = this.session.account;
      this.emit("account");
    } catch {
      // The next run updates the balance.
    }
  }

  /** @param {...number} firstDelays in milliseconds */
  async #refreshBalance(...firstDelays) {
    for (const delay of [...firstDelays, ...BALANCE_DELAYS_MS]) {
      if (delay) await this.sleep(delay);
      await this.refreshAccount();
    }
  }

  /**
   * Shows an error to the user, unless it only says that a request was aborted.
   * @param {unknown} thrown
   */
  reportError(thrown) {
    if (isAbort(thrown)) return;
    this.emit("error", thrown);
    // Another device may have deleted the picture or the step meanwhile.
    if (thrown instanceof ApiError && thrown.status === 404) void this.synchronize();
  }
}
