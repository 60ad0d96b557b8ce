// Lets Gradio's copy buttons work on pages that were loaded over plain http from another machine. Browsers have no
// clipboard API there, and without it the buttons do nothing.
// This is a classic script because it must run before Gradio's modules.

(() => {
  if (navigator.clipboard) return;
  Object.defineProperty(navigator, "clipboard", { value: { writeText } });

  /** @param {string} text */
  async function writeText(text) {
    const focused = document.activeElement;
    const area = document.createElement("textarea");
    area.value = text;
    area.setAttribute("aria-hidden", "true");
    area.style.cssText = "position: fixed; opacity: 0";
    document.body.append(area);
    area.select();
    const isCopied = document.execCommand("copy");
    area.remove();
    if (focused instanceof HTMLElement) focused.focus();
    if (!isCopied) throw new DOMException("The browser did not copy the text.", "NotAllowedError");
  }
})();
