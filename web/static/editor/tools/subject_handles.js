// The subject of a cut-out on the stage: its outline, what pressing it does, and the keys that move it.

import {
  actionAt,
  dragged,
  drawOutline,
  FINGER_HANDLES,
  MOUSE_HANDLES,
  nudged,
  outlineOf,
} from "./subject_input.js";

/** @import { Context } from "../canvas.js" */
/** @import { Fields, Point } from "../types.js" */
/** @import { BgRemoval } from "./bg_removal.js" */
/** @import { Action } from "./subject_input.js" */
/** @import { Hover } from "./tool.js" */

const PLACE = ["subject_x", "subject_y", "subject_scale", "subject_rotate"];

export class SubjectHandles {
  /** @param {BgRemoval} tool */
  constructor(tool) {
    this.tool = tool;
    /**
     * The drag that is going on.
     * @type {{ action: Action, from: Point, look: Fields, middle: Point } | null}
     */
    this.drag = null;
    /**
     * Whether the pointer is at the subject, or a finger pressed it last; null if neither is known.
     * @type {boolean | null}
     */
    this.isPointedAt = null;
  }

  #frameRequest = 0;

  get stage() {
    return this.tool.stage;
  }

  /** The outline of the subject on the screen; null without one that can be moved. */
  get #outline() {
    const frame = this.tool.movableFrame;
    if (!frame?.subject) return null;
    const { view, viewport, isTouch } = this.stage;
    const handles = isTouch ? FINGER_HANDLES : MOUSE_HANDLES;
    return outlineOf(frame.subject, this.tool.lookFields, frame.size, view, viewport, handles);
  }

  /** @param {Point} point in picture coordinates */
  actionAt(point) {
    const outline = this.#outline;
    const { x, y } = this.stage.boxOf({ ...point, width: 0, height: 0 });
    return outline && actionAt(outline, { x, y });
  }

  /** @param {Point} point */
  down(point) {
    const action = this.actionAt(point);
    const outline = this.#outline;
    if (!action || !outline) return;
    this.isPointedAt = true;
    this.drag = {
      action,
      from: point,
      look: this.tool.lookFields,
      middle: this.stage.toPicture(outline.middle),
    };
    this.stage.invalidate();
  }

  /** Pressing beside the subject hides its outline. */
  beside() {
    this.isPointedAt = false;
    this.stage.invalidate();
  }

  /** @param {Point} point */
  move(point) {
    const { drag } = this;
    const size = this.tool.movableFrame?.size;
    if (!size || !drag) return;
    this.#place(dragged(drag.action, drag.look, size, drag.middle, drag.from, point));
  }

  /** @param {Fields} fields */
  #place(fields) {
    Object.assign(this.tool.controls.values, fields);
    if (this.#frameRequest) return; // there are several moves a frame
    this.#frameRequest = requestAnimationFrame(() => {
      this.#frameRequest = 0;
      this.tool.onChange("subject_x");
      if (!this.drag) this.tool.editor.panel.rebuild();
    });
  }

  up() {
    const wasDragging = this.drag !== null;
    this.drag = null;
    if (wasDragging) this.tool.editor.panel.rebuild();
  }

  /** Forgets the drag, whose steps are kept. */
  drop() {
    this.drag = null;
  }

  cancel() {
    const { drag } = this;
    this.drag = null;
    if (!drag) return;
    for (const name of PLACE) this.tool.controls.values[name] = drag.look[name] ?? "";
    this.tool.onChange("subject_x");
  }

  /**
   * Moves the subject by small steps. Returns whether there is one.
   * @param {Point} steps
   */
  nudge(steps) {
    const frame = this.tool.movableFrame;
    if (!frame?.subject) return false;
    this.#place(nudged(this.tool.lookFields, frame.size, steps));
    return true;
  }

  /** Another tool was chosen. */
  leave() {
    this.drag = null;
    this.isPointedAt = null;
  }

  /** @param {Hover | null} hover */
  hover(hover) {
    const action = hover && this.actionAt(hover.point);
    const cursors = { move: "move", scale: "nwse-resize", rotate: "crosshair" };
    const { editor } = this.tool;
    editor.setCursor(action ? cursors[action] : this.tool.cursor);
    const isPointedAt = this.drag !== null || Boolean(action);
    if (isPointedAt === this.isPointedAt || this.stage.isTouch) return;
    this.isPointedAt = isPointedAt;
    this.stage.invalidate();
  }

  /**
   * Draws the outline. Where nothing can hover, handles that appear only under the pointer would not be found.
   * @param {Context} context
   */
  draw(context) {
    const outline = (this.isPointedAt ?? this.stage.isTouch) ? this.#outline : null;
    if (outline) drawOutline(context, outline);
  }
}
