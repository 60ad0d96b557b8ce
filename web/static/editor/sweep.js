// Shows a result once by moving the comparison's divider across it.

const SWEEP_MS = 1100;

/**
 * Calls `move` with the divider's place, from 1 (all of the picture before) to 0 (all of the result). Ends early when
 * `signal` is aborted, and shows the result at once to people who prefer no motion.
 * @param {(divider: number) => void} move
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
export function sweep(move, signal) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return Promise.resolve();
  return new Promise((resolve) => {
    const begun = performance.now();
    const draw = () => {
      const share = Math.min(1, (performance.now() - begun) / SWEEP_MS);
      if (signal.aborted) {
        resolve();
        return;
      }
      move(1 - eased(share));
      if (share === 1) resolve();
      else requestAnimationFrame(draw);
    };
    draw();
  });
}

/** @param {number} share */
function eased(share) {
  return share * share * (3 - 2 * share);
}
