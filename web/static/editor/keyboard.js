// Keyboard shortcuts, as the help lists them. Text fields and open dialogs keep their own keys.

/** @import { Editor } from "./editor.js" */
/** @import { Point } from "./types.js" */

/**
 * To the right and down.
 * @type {Record<string, Point>}
 */
const ARROWS = {
  ArrowLeft: { x: -1, y: 0 },
  ArrowRight: { x: 1, y: 0 },
  ArrowUp: { x: 0, y: -1 },
  ArrowDown: { x: 0, y: 1 },
};
const FAST_STEPS = 10;

export class Keyboard {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.isSpaceHeld = false;
    document.addEventListener("keydown", (event) => this.#down(event));
    document.addEventListener("keyup", (event) => this.#up(event));
    window.addEventListener("blur", () => this.#release());
  }

  /** @param {KeyboardEvent} event */
  #down(event) {
    const { editor } = this;
    if (document.querySelector("dialog[open]") || editor.batch.isShown || !editor.model.step) {
      if (event.key === "?" && !isTyping(event)) editor.showHelp();
      return;
    }
    const isControl = event.ctrlKey || event.metaKey;
    const isHandled = isControl ? this.#withControl(event) : !event.altKey && this.#withoutControl(event);
    if (isHandled) event.preventDefault();
  }

  /** @param {KeyboardEvent} event */
  #withControl(event) {
    const { editor } = this;
    const key = event.key.toLowerCase();
    if (key === "s") return run(() => editor.topbar.download.save());
    if (isTyping(event)) return false;
    if (key === "z" && event.shiftKey) return run(() => editor.model.redo());
    if (key === "z") return run(() => editor.undo());
    if (key === "y") return run(() => editor.model.redo());
    return false;
  }

  /** @param {KeyboardEvent} event */
  #withoutControl(event) {
    const { editor } = this;
    if (isTyping(event)) return false;
    const isOnStage = event.target === editor.stage.element || event.target === document.body;
    const tool = /^[1-9]$/.test(event.key) ? editor.toolNames[Number(event.key) - 1] : undefined;
    if (tool) return run(() => editor.choose(tool));
    /** @type {Record<string, () => void>} */
    const actions = {
      "[": () => editor.tool?.resizeBrush(-1),
      "]": () => editor.tool?.resizeBrush(1),
      "?": () => editor.showHelp(),
      "+": () => editor.stage.zoom(1.25),
      "=": () => editor.stage.zoom(1.25),
      "-": () => editor.stage.zoom(0.8),
      0: () => editor.stage.fit(),
      Escape: () => closeMenu(editor.root) || editor.escape(),
      o: () => editor.showOriginal(true),
    };
    if (event.key in actions) return run(actions[event.key]);
    if (!isOnStage) return false; // These keys operate buttons and move the focus elsewhere.
    // A key that is still held from applying a tool does not apply it again.
    if (event.key === "Enter") return run(() => !event.repeat && editor.applyPrimary());
    if (event.key === " ") return run(() => (this.isSpaceHeld = true));
    const arrow = ARROWS[event.key];
    if (arrow) {
      const steps = event.shiftKey ? FAST_STEPS : 1;
      return editor.tool?.nudge({ x: arrow.x * steps, y: arrow.y * steps }) ?? false;
    }
    return false;
  }

  /** @param {KeyboardEvent} event */
  #up(event) {
    if (event.key === "o") this.editor.showOriginal(false);
    if (event.key === " ") this.isSpaceHeld = false;
  }

  #release() {
    this.isSpaceHeld = false;
    this.editor.showOriginal(false);
  }
}

/** @param {() => unknown} action */
function run(action) {
  action();
  return true;
}

/**
 * Closes the menu that is open, which the browser would do if the key were not used here.
 * @param {HTMLElement} root
 */
function closeMenu(root) {
  const menu = root.querySelector(":popover-open");
  if (menu instanceof HTMLElement) menu.hidePopover();
  return menu !== null;
}

/**
 * Whether the key belongs to a field that takes text or has a value of its own.
 * @param {KeyboardEvent} event
 */
function isTyping(event) {
  const fields = "input:not([type=checkbox], [type=range], [type=color]), textarea, select";
  return event.target instanceof Element && event.target.closest(fields) !== null;
}
