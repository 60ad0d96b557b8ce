// The base class of the seven tools. It declares every hook that the editor calls, with a default, so that callers
// need no optional calls and a misspelt hook is a type error.

import { Controls } from "../controls.js";
import { el } from "../elements.js";
import { toolName } from "../tool_names.js";

/** @import { Context } from "../canvas.js" */
/** @import { Editor } from "../editor.js" */
/** @import { Picture } from "../images.js" */
/** @import { Child } from "../elements.js" */
/** @import { Action, Fields, Frame, Point, RunRequest, Size, Step } from "../types.js" */

/**
 * A pointer over the stage that is not pressed, or operates the tool.
 * @typedef {object} Hover
 * @property {Point} point in picture coordinates
 * @property {Point} onScreen
 * @property {boolean} isTouch
 */

export class Tool {
  /**
   * @param {Editor} editor
   * @param {string} name as the server names it
   */
  constructor(editor, name) {
    this.editor = editor;
    this.model = editor.model;
    this.stage = editor.stage;
    this.name = name;
    const info = this.model.session.tools.find((tool) => tool.name === name);
    if (!info) throw new Error(`The server has no tool "${name}".`);
    this.info = info;
    this.title = toolName(name, this.model.session);
    this.controls = new Controls(info.parameters, (changed) => this.onChange(changed));
  }

  /** The current step. Tools exist only while a project is open; it gives the picture's full size. */
  get step() {
    const { step } = this.model;
    if (!step) throw new Error("No project is open.");
    return step;
  }

  /** Whether the tool acts on the layers of a cut-out, which are then shown where they are in the photo. */
  get retouches() {
    return false;
  }

  /**
   * The size of what the stage shows in full resolution.
   * @returns {Size}
   */
  get size() {
    return (this.retouches && this.step.cutout) || this.step;
  }

  // What is applied

  /** The form fields of a run. */
  fields() {
    return this.controls.fields();
  }

  /** Why the tool cannot be applied yet, or "". */
  problem() {
    return "";
  }

  /** Whether applying it costs nothing. */
  get isFree() {
    return false;
  }

  /**
   * The buttons that apply the tool, the primary one first.
   * @returns {Action[]}
   */
  actions() {
    return [{ label: this.title, problem: this.problem(), request: () => this.request(this.fields()) }];
  }

  /**
   * A run on the current step. Results are stored as PNG, so that nothing is lost until they are downloaded.
   * @param {Fields} fields
   * @returns {RunRequest}
   */
  request(fields, tool = this.name, title = this.title) {
    return { tool, params: { ...fields, format: "png" }, title };
  }

  /** The run that "The same with the API" shows. */
  example() {
    return this.request(this.fields());
  }

  /**
   * The fields that change how a selection looks while it is being made.
   * @returns {Fields}
   */
  overlayFields() {
    return {};
  }

  // The panel

  /**
   * The tool's part of the panel.
   * @returns {Child[]}
   */
  build() {
    return [];
  }

  /**
   * A setting was changed.
   * @param {string} _name of the parameter
   */
  onChange(_name) {
    this.editor.panel.refresh();
    this.stage.invalidate();
  }

  // What happens in the editor

  /**
   * Another step became the current one, or a run has made a mask.
   * @param {Step | null} _made the step that a run has just made
   */
  onStep(_made) {}

  /**
   * The current step's picture is shown.
   * @param {Picture} _image
   */
  onShown(_image) {}

  /** Another tool is chosen, or the project is closed. */
  leave() {}

  // Drawing by hand

  /** Whether `undo` would take anything back. */
  get hasDrawn() {
    return false;
  }

  /** Takes back what was drawn last. Returns whether there was anything. */
  undo() {
    return false;
  }

  /** Discards everything that was drawn. */
  clear() {}

  /**
   * Moves what the tool moves on the picture. Returns whether there is anything.
   * @param {Point} _steps to the right and down
   */
  nudge(_steps) {
    return false;
  }

  /**
   * @param {-1 | 1} _direction smaller or larger
   */
  resizeBrush(_direction) {}

  // Pointers, in picture coordinates

  /** The mouse cursor over the stage, as in CSS. */
  get cursor() {
    return "grab";
  }

  /**
   * Whether pressing here operates the tool; else it pans.
   * @param {Point} _point
   */
  handlesPointer(_point) {
    return false;
  }

  /**
   * @param {Point} _point
   * @param {PointerEvent} _event
   */
  pointerDown(_point, _event) {}

  /** Pressing does not operate the tool. */
  pointerBeside() {}

  /** @param {Point} _point */
  pointerMove(_point) {}

  /** @param {Point} _point */
  pointerUp(_point) {}

  /** The gesture was interrupted: what it did so far is discarded. */
  cancelPointer() {}

  /** @param {Hover | null} _hover null once the pointer has left the stage */
  hover(_hover) {}

  /** Whether the result is described in words, which guests cannot preview. */
  get usesWords() {
    return false;
  }

  // While something is computed

  /**
   * The part of the picture that a run works on, in picture coordinates; null for all of it.
   * @returns {Frame | null}
   */
  workArea() {
    return null;
  }

  /**
   * Where the user waits for an answer to a click, in picture coordinates.
   * @returns {Point | null}
   */
  pendingPoint() {
    return null;
  }

  // Drawing on the stage

  /** Whether the picture needs a checkerboard behind it because the tool's preview is transparent. */
  get makesTransparent() {
    return false;
  }

  /**
   * The frame that "Fit" shows, in picture coordinates; null for the picture itself.
   * @returns {Frame | null}
   */
  visibleFrame() {
    return null;
  }

  /**
   * Draws a preview of the result instead of the picture. Returns false if the picture is to be drawn as it is.
   * @param {CanvasRenderingContext2D} _context
   * @param {Picture} _image a preview of the picture
   * @param {Frame} _box where the picture is on the screen
   */
  drawPicture(_context, _image, _box) {
    return false;
  }

  /**
   * Draws over the picture, in screen coordinates.
   * @param {Context} _context
   */
  drawOverlay(_context) {}
}

/**
 * A line of explanation.
 * @param {...Child} content
 */
export function note(...content) {
  return el("p", { class: "note" }, ...content);
}

/**
 * Says before a paid tool is applied to a cut-out that its background cannot be changed afterwards; null for other
 * pictures.
 * @param {Tool} tool
 */
export function flatteningNote(tool) {
  return tool.step.cutout
    ? note("The result is a plain picture: its background cannot be changed any more. Undo brings this back.")
    : null;
}

/**
 * Says why a cut-out that is retouched looks different: its frame and position are not lost.
 * @param {Tool} tool
 */
export function placeNote(tool) {
  const { cutout } = tool.step;
  return cutout && tool.editor.composer.isPlaced(cutout.look)
    ? note("Shown as in the photo while you work on it. Its own frame and position are kept.")
    : null;
}

/**
 * A secondary button of the panel.
 * @param {string} label
 * @param {() => void} onclick
 */
export function quietButton(label, onclick) {
  return el("button", { type: "button", class: "quiet", onclick }, label);
}
