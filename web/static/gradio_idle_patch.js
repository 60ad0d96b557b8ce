// Gradio 6.31 leaves two loops of its loading screen running, at every frame and for ever: they cost a twentieth of
// a core on a page that nobody touches. While nobody does, frames therefore come four times a second.
// A plain script, because it has to be there before Gradio's modules.

(() => {
  const RESTS_AFTER_MS = 2000;
  const FRAME_MS = 250;
  const request = window.requestAnimationFrame.bind(window);
  const cancel = window.cancelAnimationFrame.bind(window);
  let touchedAt = performance.now();
  const touched = () => {
    touchedAt = performance.now();
  };
  for (const name of ["pointerdown", "pointermove", "keydown", "wheel", "scroll", "focusin", "resize"]) {
    window.addEventListener(name, touched, { capture: true, passive: true });
  }
  window.requestAnimationFrame = (callback) => {
    if (performance.now() - touchedAt < RESTS_AFTER_MS) return request(callback);
    return -setTimeout(() => callback(performance.now()), FRAME_MS);
  };
  window.cancelAnimationFrame = (id) => (id < 0 ? clearTimeout(-id) : cancel(id));
})();
