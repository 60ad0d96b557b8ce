// How long a run would take on this server, asked before it is applied.

/** @import { Model } from "./model.js" */
/** @import { RunBody, RunRequest } from "./types.js" */

const DELAY_MS = 250; // several changes in a row become one question
const KEPT = 50;
/** Drawings may be long, and the time does not depend on them. */
const IGNORED = ["strokes"];

export class Expectations {
  /**
   * @param {Model} model
   * @param {() => void} onAnswer called when a time that was asked for is known
   */
  constructor(model, onAnswer) {
    this.model = model;
    this.onAnswer = onAnswer;
    /**
     * Seconds by question; null if the server does not know.
     * @type {Map<string, number | null>}
     */
    this.known = new Map();
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    this.asked = "";
    // Every run is a new measurement.
    model.on("step", (detail) => detail?.made && this.known.clear());
  }

  /**
   * The seconds that a run is expected to take, or null while they are unknown.
   * @param {RunRequest} request
   * @returns {number | null}
   */
  of(request) {
    const { project, step } = this.model;
    if (!project || !step) return null;
    const params = Object.entries(request.params).filter(([name]) => !IGNORED.includes(name));
    const body = {
      tool: request.tool,
      stepId: request.stepId ?? step.id,
      params: Object.fromEntries(params),
    };
    const question = JSON.stringify(body);
    const seconds = this.known.get(question);
    if (seconds === undefined) this.#askSoon(project.id, question, body);
    return seconds ?? null;
  }

  /**
   * @param {string} projectId
   * @param {string} question
   * @param {RunBody} body
   */
  #askSoon(projectId, question, body) {
    if (this.asked === question) return;
    this.asked = question;
    clearTimeout(this.timer);
    this.timer = setTimeout(async () => {
      // The picture may have been closed meanwhile, for example by logging out.
      if (this.model.project?.id !== projectId) {
        if (this.asked === question) this.asked = "";
        return;
      }
      const answer = await this.model.client.expectation(projectId, body).catch(() => null);
      if (this.known.size >= KEPT) this.known.clear();
      this.known.set(question, answer?.expectedSeconds ?? null);
      if (this.asked !== question) return;
      this.asked = "";
      this.onAnswer();
    }, DELAY_MS);
  }
}
