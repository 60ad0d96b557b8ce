// Interprets Pointer Events on the stage: pan, zoom, move the comparison's divider, or operate the tool.
// Mouse, pen and touch alike; two fingers always pan and zoom.

/** @import { Point } from "./types.js" */
/** @import { Stage } from "./stage.js" */

const DIVIDER_REACH = 18; // screen pixels

export class Pointers {
  /**
   * @param {Stage} stage
   * @param {() => boolean} isPanKeyHeld whether a held key makes dragging pan
   */
  constructor(stage, isPanKeyHeld) {
    this.stage = stage;
    this.isPanKeyHeld = isPanKeyHeld;
    /**
     * Where the pressed pointers are on the screen, by id.
     * @type {Map<number, Point>}
     */
    this.active = new Map();
    /**
     * "none" while fingers are left over from a gesture that has ended.
     * @type {"tool" | "pan" | "pinch" | "divider" | "none" | null}
     */
    this.gesture = null;
    const { element } = stage;
    const options = { passive: false };
    element.addEventListener("pointerdown", (event) => this.#down(event), options);
    element.addEventListener("pointermove", (event) => this.#move(event), options);
    element.addEventListener("pointerup", (event) => this.#up(event), options);
    element.addEventListener("pointercancel", (event) => this.#up(event, true), options);
    element.addEventListener("pointerleave", () => this.#leave(), options);
    element.addEventListener("wheel", (event) => this.#wheel(event), options);
    element.addEventListener("contextmenu", (event) => event.preventDefault(), options);
  }

  /** @param {MouseEvent} event */
  #pointOf(event) {
    const box = this.stage.element.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  /** @param {PointerEvent} event */
  #down(event) {
    const { stage } = this;
    if (!stage.image) return;
    event.preventDefault();
    stage.isTouch = event.pointerType === "touch";
    stage.element.focus({ preventScroll: true });
    stage.element.setPointerCapture(event.pointerId);
    const point = this.#pointOf(event);
    this.active.set(event.pointerId, point);
    if (this.active.size === 2) {
      if (this.gesture === "tool") stage.tool?.cancelPointer();
      this.gesture = "pinch";
    } else if (this.active.size === 1) {
      this.gesture = this.#gestureOf(event, point);
      if (this.gesture === "tool") stage.tool?.pointerDown(stage.toPicture(point), event);
      else stage.tool?.pointerBeside();
    }
    stage.element.classList.toggle("panning", this.gesture === "pan");
  }

  /**
   * @param {PointerEvent} event
   * @param {Point} point
   */
  #gestureOf(event, point) {
    const { stage } = this;
    if (event.button === 1 || this.isPanKeyHeld()) return "pan";
    if (stage.before) {
      const box = stage.pictureBox();
      const isNear = Math.abs(point.x - (box.x + box.width * stage.divider)) < DIVIDER_REACH;
      return isNear ? "divider" : "pan";
    }
    return stage.tool?.handlesPointer(stage.toPicture(point)) ? "tool" : "pan";
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const point = this.#pointOf(event);
    const { stage } = this;
    const last = this.active.get(event.pointerId);
    if (!last) {
      this.#hover(event, point);
      return;
    }
    if (this.gesture === "pinch" && this.active.size === 2) this.#pinch(event.pointerId, last, point);
    this.active.set(event.pointerId, point);
    if (this.gesture === "pan") stage.pan(point.x - last.x, point.y - last.y);
    if (this.gesture === "divider") this.#moveDivider(point);
    if (this.gesture === "tool") {
      for (const one of coalesced(event)) stage.tool?.pointerMove(stage.toPicture(this.#pointOf(one)));
      this.#hover(event, point);
    }
  }

  /**
   * @param {PointerEvent} event
   * @param {Point} point
   */
  #hover(event, point) {
    const { stage } = this;
    stage.isTouch = event.pointerType === "touch";
    if (!stage.image) stage.tool?.hover(null);
    else
      stage.tool?.hover({
        point: stage.toPicture(point),
        onScreen: point,
        isTouch: event.pointerType === "touch",
      });
  }

  /**
   * @param {number} moved the id of the pointer that moved
   * @param {Point} last
   * @param {Point} point
   */
  #pinch(moved, last, point) {
    const other = [...this.active.entries()].find(([id]) => id !== moved)?.[1];
    if (!other) return;
    const before = Math.hypot(last.x - other.x, last.y - other.y);
    const now = Math.hypot(point.x - other.x, point.y - other.y);
    const middle = { x: (point.x + other.x) / 2, y: (point.y + other.y) / 2 };
    this.stage.pan((point.x - last.x) / 2, (point.y - last.y) / 2);
    if (before > 4) this.stage.zoom(now / before, middle);
  }

  /** @param {Point} point */
  #moveDivider(point) {
    const box = this.stage.pictureBox();
    this.stage.divider = Math.min(1, Math.max(0.001, (point.x - box.x) / box.width));
    this.stage.invalidate();
  }

  /** @param {PointerEvent} event */
  #up(event, isCancelled = false) {
    const { stage } = this;
    if (!this.active.delete(event.pointerId)) return;
    if (this.gesture === "tool") {
      if (isCancelled) stage.tool?.cancelPointer();
      else stage.tool?.pointerUp(stage.toPicture(this.#pointOf(event)));
    }
    // After a pinch, the finger that is still down does nothing more.
    this.gesture = this.active.size ? "none" : null;
    stage.element.classList.remove("panning");
  }

  #leave() {
    if (!this.active.size) this.stage.tool?.hover(null);
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    if (!this.stage.image) return;
    event.preventDefault();
    if (event.shiftKey && !event.ctrlKey) {
      this.stage.pan(-event.deltaY - event.deltaX, 0);
      return;
    }
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    const amount = Math.max(-120, Math.min(120, event.deltaY * lines));
    this.stage.zoom(Math.exp(-amount * (event.ctrlKey ? 0.01 : 0.002)), this.#pointOf(event));
  }
}

/**
 * The moves that the browser merged into this event, so that fast strokes stay smooth.
 * @param {PointerEvent} event
 */
function coalesced(event) {
  const events = "getCoalescedEvents" in event ? event.getCoalescedEvents() : []; // Safari has it since 18.2.
  return events.length ? events : [event];
}
