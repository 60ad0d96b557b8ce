// Loads the page anew when Back or Forward returns to it. A browser may keep the whole page for that, with a new API
// key in it, although the key is to be shown once, and the page has a session of Gradio's that may have ended.
// This is a classic script because it must run before Gradio's modules.

window.addEventListener("pageshow", (event) => {
  if (event.persisted) window.location.reload();
});
