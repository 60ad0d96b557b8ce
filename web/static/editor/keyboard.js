// Keys, as the help lists them. Fields and open dialogs keep theirs.

export class Keyboard {
  constructor(editor) {
    this.editor = editor;
    this.isSpaceHeld = false;
    document.addEventListener("keydown", (event) => this.#down(event));
    document.addEventListener("keyup", (event) => this.#up(event));
    window.addEventListener("blur", () => this.#release());
  }

  #down(event) {
    const { editor } = this;
    if (document.querySelector("dialog[open]") || !editor.model.step) {
      if (event.key === "?" && !isTyping(event)) editor.showHelp();
      return;
    }
    const withControl = event.ctrlKey || event.metaKey;
    const done = withControl ? this.#withControl(event) : !event.altKey && this.#plain(event);
    if (done) event.preventDefault();
  }

  #withControl(event) {
    const { editor } = this;
    const key = event.key.toLowerCase();
    if (key === "s") return run(() => editor.topbar.save());
    if (isTyping(event)) return false;
    if (key === "z" && event.shiftKey) return run(() => editor.model.redo());
    if (key === "z") return run(() => editor.undo());
    if (key === "y") return run(() => editor.model.redo());
    return false;
  }

  #plain(event) {
    const { editor } = this;
    if (isTyping(event)) return false;
    const onStage = event.target === editor.stage.element || event.target === document.body;
    const tool = /^[1-7]$/.test(event.key) ? Number(event.key) : 0;
    if (tool) return run(() => editor.choose(editor.toolNames[tool - 1]));
    const actions = {
      "[": () => editor.tool?.resize?.(-1),
      "]": () => editor.tool?.resize?.(1),
      "?": () => editor.showHelp(),
      "+": () => editor.stage.zoom(1.25),
      "=": () => editor.stage.zoom(1.25),
      "-": () => editor.stage.zoom(0.8),
      0: () => editor.stage.fit(),
      Escape: () => editor.escape(),
    };
    if (event.key in actions) return run(actions[event.key]);
    if (!onStage) return false; // The rest would take keys away from buttons and from moving the focus.
    if (event.key === "Tab" && !event.shiftKey) return run(() => editor.showOriginal(true));
    if (event.key === "Enter") return run(() => editor.applyChief());
    if (event.key === " ") return run(() => (this.isSpaceHeld = true));
    return false;
  }

  #up(event) {
    if (event.key === "Tab") this.editor.showOriginal(false);
    if (event.key === " ") this.isSpaceHeld = false;
  }

  #release() {
    this.isSpaceHeld = false;
    this.editor.showOriginal(false);
  }
}

function run(action) {
  action();
  return true;
}

/** Whether the key is meant for a field with text or a value of its own. */
function isTyping(event) {
  return Boolean(
    event.target.closest?.("input:not([type=checkbox], [type=range], [type=color]), textarea, select"),
  );
}
