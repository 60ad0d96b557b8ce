// Long computations in steps, as generators: at once, or in slices between frames, so that the page stays responsive.

/**
 * A computation that pauses now and then.
 * @template Value
 * @typedef {Generator<void, Value>} Steps
 */

/** A slice is no longer than this unless a single step is. */
const SLICE_MS = 12;
/** A computation that is waited for goes on after this time even if the page is busy. */
const LONGEST_WAIT_MS = 100;

/**
 * The result of all steps, without a pause.
 * @template Value
 * @param {Steps<Value>} steps
 * @returns {Value}
 */
export function finished(steps) {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/**
 * The result of all steps, which run while the page is idle. Rejects with the signal's reason once it is aborted.
 * @template Value
 * @param {Steps<Value>} steps
 * @param {AbortSignal} [signal]
 * @param {(callback: () => void) => void} [whenIdle]
 * @returns {Promise<Value>}
 */
export async function finishedInSlices(steps, signal, whenIdle = onIdle) {
  for (;;) {
    await new Promise((resolve) => whenIdle(() => resolve(undefined)));
    signal?.throwIfAborted();
    const end = performance.now() + SLICE_MS;
    do {
      const step = steps.next();
      if (step.done) return step.value;
    } while (performance.now() < end);
  }
}

/**
 * Calls back after the next frame, when nothing else is to be done. Not every browser says when that is.
 * @param {() => void} callback
 */
function onIdle(callback) {
  if ("requestIdleCallback" in window) requestIdleCallback(callback, { timeout: LONGEST_WAIT_MS });
  else setTimeout(callback, 0);
}
