// Throttles Gradio's idle animation. Gradio 6.31 leaves two loops of its loading screen running on every animation
// frame, which costs about 5 % of a core on an idle page. After two seconds without user input, animation frames
// are therefore delivered four times a second.
// This is a classic script because it must run before Gradio's modules.

(() => {
  const IDLE_AFTER_MS = 2000;
  const IDLE_FRAME_MS = 250;
  const request = window.requestAnimationFrame.bind(window);
  const cancel = window.cancelAnimationFrame.bind(window);
  let lastInputAt = performance.now();
  const noteInput = () => {
    lastInputAt = performance.now();
  };
  for (const name of ["pointerdown", "pointermove", "keydown", "wheel", "scroll", "focusin", "resize"]) {
    window.addEventListener(name, noteInput, { capture: true, passive: true });
  }
  window.requestAnimationFrame = (callback) => {
    if (performance.now() - lastInputAt < IDLE_AFTER_MS) return request(callback);
    // Negative ids tell timers from animation frames when one is cancelled.
    return -setTimeout(() => callback(performance.now()), IDLE_FRAME_MS);
  };
  window.cancelAnimationFrame = (id) => (id < 0 ? clearTimeout(-id) : cancel(id));
})();
