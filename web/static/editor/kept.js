// What was computed last for each purpose, as long as what it depends on stays the same.

/** @import { Steps } from "./steps.js" */

export class Kept {
  /**
   * @param {Record<string, number>} limits how many results are kept for each purpose
   */
  constructor(limits) {
    this.limits = limits;
  }

  /** @type {Map<string, { key: string, source: unknown, value: any }[]>} */
  #values = new Map();

  /**
   * @param {string} purpose
   * @param {string} key
   * @param {unknown} source
   */
  has(purpose, key, source) {
    return this.#find(purpose, key, source) !== undefined;
  }

  /**
   * The result, which is computed if it is not kept.
   * @template Value
   * @param {string} purpose
   * @param {string} key
   * @param {unknown} source an object that the value depends on, too
   * @param {() => Steps<Value>} compute
   * @returns {Steps<Value>}
   */
  *get(purpose, key, source, compute) {
    const kept = this.#find(purpose, key, source);
    const value = kept ? kept.value : yield* compute();
    this.keep(purpose, key, source, value);
    return value;
  }

  /**
   * Keeps a result as the newest one.
   * @param {string} purpose
   * @param {string} key
   * @param {unknown} source
   * @param {unknown} value
   */
  keep(purpose, key, source, value) {
    const others = (this.#values.get(purpose) ?? []).filter(
      (one) => one.key !== key || one.source !== source,
    );
    this.#values.set(purpose, [{ key, source, value }, ...others].slice(0, this.limits[purpose]));
  }

  /**
   * @param {string} purpose
   * @param {string} key
   * @param {unknown} source
   */
  #find(purpose, key, source) {
    return this.#values.get(purpose)?.find((one) => one.key === key && one.source === source);
  }
}
