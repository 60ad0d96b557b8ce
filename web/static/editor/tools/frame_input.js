// Dragging a frame by its handles. Crop and generative expand share it.

import * as frames from "../frames.js";

/** @import { Frame, Handle, Point } from "../types.js" */
/** @import { Hover, Tool } from "./tool.js" */

// In screen pixels
const HANDLE_REACH = 18;
const FINGER_REACH = 24;

export class FrameInput {
  /**
   * @param {Tool} tool
   * @param {() => Frame | null} getFrame the frame as it is, or null while there is none to drag
   * @param {(frame: Frame) => void} setFrame
   * @param {(frame: Frame, handle: Handle, delta: Point) => Frame} drag the frame after dragging a handle
   */
  constructor(tool, getFrame, setFrame, drag) {
    this.tool = tool;
    this.getFrame = getFrame;
    this.setFrame = setFrame;
    this.drag = drag;
    /**
     * The drag that is going on: the handle, and frame and point where it began.
     * @type {{ handle: Handle, frame: Frame, from: Point } | null}
     */
    this.active = null;
  }

  /** @param {Point} point */
  handleAt(point) {
    const frame = this.getFrame();
    const { isTouch, view } = this.tool.stage;
    return frame && frames.handleAt(frame, point, (isTouch ? FINGER_REACH : HANDLE_REACH) / view.scale);
  }

  /** @param {Point} point */
  down(point) {
    const frame = this.getFrame();
    const handle = this.handleAt(point);
    this.active = frame && handle && { handle, frame, from: point };
  }

  /** @param {Point} point */
  move(point) {
    if (!this.active) return;
    const { handle, frame, from } = this.active;
    this.setFrame(this.drag(frame, handle, { x: point.x - from.x, y: point.y - from.y }));
  }

  up() {
    this.active = null;
  }

  /** Puts the frame back to where the drag began. */
  cancel() {
    if (this.active) this.setFrame(this.active.frame);
    this.active = null;
  }

  /** @param {Hover | null} hover */
  hover(hover) {
    this.tool.editor.setCursor(frames.cursorFor(hover && this.handleAt(hover.point)));
  }
}
