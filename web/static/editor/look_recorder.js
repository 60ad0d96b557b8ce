// Records looks as steps, behind the preview: a change is shown at once, and becomes a step of the history when no
// other one follows. A server that is busy or away only delays that.

import { isTemporary } from "./api.js";
import { isUnanswered } from "./run_answers.js";

/** @import { Model } from "./model.js" */
/** @import { Fields, Project, Step } from "./types.js" */

/** Several changes in a row, as of a color that is being picked, become one step. */
const DELAY_MS = 350;
const RETRY_MS = 2000;
const UNSAVED = "Not saved yet: the server cannot be reached. It is tried again.";
/** Pause before a busy server is asked again to draw a look. */
const RENDERING_RETRY_MS = 1000;

export class LookRecorder {
  /**
   * @param {Model} model
   * @param {(callback: () => void, milliseconds: number) => any} [setTimer]
   * @param {(timer: any) => void} [clearTimer]
   */
  constructor(
    model,
    setTimer = (callback, delay) => setTimeout(callback, delay),
    clearTimer = (timer) => clearTimeout(timer),
  ) {
    this.model = model;
    this.setTimer = setTimer;
    this.clearTimer = clearTimer;
    /**
     * The newest look that is not recorded yet.
     * @type {{ project: Project, step: Step, fields: Fields } | null}
     */
    this.pending = null;
    /** Called with the step that a refused look was to be made of. */
    this.onRefused = (/** @type {Step} */ _step) => {};
  }

  /** @type {any} */
  #timer = null;
  /** @type {Promise<void> | null} */
  #recording = null;
  /** @type {Promise<void> | null} */
  #settling = null;

  /** Whether the server could not record a look yet: it is busy or away. */
  #isAway = false;

  /** Whether the look that is shown has not become a step yet. */
  get isBehind() {
    return this.pending !== null || this.#recording !== null;
  }

  /**
   * Records the look once no other one follows for a moment.
   * @param {Step} step the cut-out
   * @param {Fields} fields
   */
  schedule(step, fields) {
    const { project } = this.model;
    if (!project) return;
    this.pending = { project, step, fields };
    this.clearTimer(this.#timer);
    this.#timer = this.setTimer(() => void this.settle(), DELAY_MS);
  }

  /** Forgets the look that is not recorded yet. Returns whether there was one. */
  discard() {
    const wasPending = this.pending !== null;
    this.pending = null;
    this.clearTimer(this.#timer);
    this.#setUnsaved(false);
    return wasPending;
  }

  #isUnsaved = false;

  /**
   * Says once that a look waits for a server that cannot be reached, until it does not wait any more.
   * @param {boolean} isUnsaved
   */
  #setUnsaved(isUnsaved) {
    if (isUnsaved === this.#isUnsaved) return;
    this.#isUnsaved = isUnsaved;
    this.model.emit(isUnsaved ? "waiting" : "waited", UNSAVED);
  }

  /** Records what is pending now; resolves once all is recorded or refused. */
  settle() {
    this.#settling ??= this.#settle().finally(() => {
      this.#settling = null;
    });
    return this.#settling;
  }

  async #settle() {
    while (!(await this.trySettle())) await this.model.sleep(RETRY_MS);
  }

  /** Like `settle`, but does not wait for a server that is busy or away: resolves to whether all is settled. */
  async trySettle() {
    this.clearTimer(this.#timer);
    do {
      this.#recording ??= this.#record().finally(() => {
        this.#recording = null;
      });
      await this.#recording;
    } while (this.isBehind && !this.#isAway);
    return !this.isBehind;
  }

  /** Shows the current step's own look again instead of one that is not recorded yet. */
  withdraw() {
    if (this.discard() && this.model.step) this.onRefused(this.model.step);
  }

  async #record() {
    const taken = this.pending;
    if (!taken) return;
    this.pending = null;
    const { model } = this;
    // Looks follow each other, so that undo leads through them.
    const isCurrent = model.project === taken.project && model.step?.cutout?.url === taken.step.cutout?.url;
    const source = isCurrent && model.step ? model.step : taken.step;
    try {
      const { step, removedId } = await model.client.addLook(taken.project.id, source.id, taken.fields);
      this.#isAway = false;
      this.#setUnsaved(false);
      model.addLook(taken.project, step, removedId);
    } catch (thrown) {
      this.#isAway = isTemporary(thrown);
      this.#setUnsaved(this.#isAway && isUnanswered(thrown));
      if (this.#isAway) {
        this.pending ??= taken;
        return;
      }
      model.reportError(thrown);
      if (!this.pending) this.onRefused(source);
    }
  }

  /** @type {Promise<Step> | null} */
  #rendering = null;

  /**
   * Lets the server draw a step's look; resolves to the drawn step. Tries again while the server is busy, and fails
   * once another step is shown.
   * @param {Step} step
   * @returns {Promise<Step>}
   */
  async render(step) {
    const { project } = this.model;
    if (!project) return step;
    // One after another, because the server draws few at once.
    const earlier = this.#rendering;
    const rendering = (async () => {
      await earlier?.catch(() => {});
      return this.#render(project, step);
    })();
    this.#rendering = rendering;
    return rendering;
  }

  /**
   * @param {Project} project
   * @param {Step} step
   * @returns {Promise<Step>}
   */
  async #render(project, step) {
    let drawn;
    while (!drawn) {
      if (this.model.step?.id !== step.id) throw new Error("another step is shown meanwhile");
      try {
        ({ step: drawn } = await this.model.client.renderLook(project.id, step.id));
      } catch (thrown) {
        if (!isTemporary(thrown)) throw thrown;
        await this.model.sleep(RENDERING_RETRY_MS);
      }
    }
    const known = project.steps.findIndex((one) => one.id === drawn.id);
    if (known >= 0) project.steps[known] = drawn;
    if (project === this.model.project) this.model.emit("project");
    return drawn;
  }
}
