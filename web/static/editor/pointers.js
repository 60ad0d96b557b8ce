// From Pointer Events on the stage to what they mean: pan, zoom, move the divider, or work with the tool.
// Mouse, pen and touch alike; two fingers always pan and zoom.

const DIVIDER_REACH = 18;

export class Pointers {
  constructor(stage, { isPanning }) {
    this.stage = stage;
    this.isPanning = isPanning; // whether a key says that dragging pans
    this.active = new Map();
    this.gesture = null; // "tool", "pan", "pinch", "divider"
    const listeners = {
      pointerdown: (event) => this.#down(event),
      pointermove: (event) => this.#move(event),
      pointerup: (event) => this.#up(event),
      pointercancel: (event) => this.#up(event, true),
      pointerleave: () => this.#left(),
      wheel: (event) => this.#wheel(event),
      contextmenu: (event) => event.preventDefault(),
    };
    for (const [name, listener] of Object.entries(listeners)) {
      stage.element.addEventListener(name, listener, { passive: false });
    }
  }

  #pointOf(event) {
    const box = this.stage.element.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  #down(event) {
    if (!this.stage.image) return;
    event.preventDefault();
    this.stage.element.focus({ preventScroll: true });
    this.stage.element.setPointerCapture(event.pointerId);
    const point = this.#pointOf(event);
    this.active.set(event.pointerId, point);
    if (this.active.size === 2) {
      if (this.gesture === "tool") this.stage.tool?.abandon?.();
      this.gesture = "pinch";
    } else if (this.active.size === 1) {
      this.gesture = this.#gestureOf(event, point);
      if (this.gesture === "tool") this.stage.tool.down(this.stage.toPicture(point), event);
    }
    this.stage.element.classList.toggle("panning", this.gesture === "pan");
  }

  #gestureOf(event, point) {
    const { stage } = this;
    if (event.button === 1 || this.isPanning()) return "pan";
    if (stage.before) {
      const box = stage.boxOf({ x: 0, y: 0, ...stage.size });
      if (Math.abs(point.x - (box.x + box.width * stage.divider)) < DIVIDER_REACH) return "divider";
    }
    const isTools = stage.tool?.down && (stage.tool.takes?.(stage.toPicture(point), event) ?? true);
    return isTools && !stage.before ? "tool" : "pan";
  }

  #move(event) {
    const point = this.#pointOf(event);
    const { stage } = this;
    const last = this.active.get(event.pointerId);
    if (!last) {
      stage.tool?.hover?.(stage.image ? stage.toPicture(point) : null, event, point);
      return;
    }
    if (this.gesture === "pinch" && this.active.size === 2) this.#pinch(event.pointerId, last, point);
    this.active.set(event.pointerId, point);
    if (this.gesture === "pan") stage.pan(point.x - last.x, point.y - last.y);
    if (this.gesture === "divider") this.#moveDivider(point);
    if (this.gesture === "tool") {
      for (const one of coalesced(event)) stage.tool?.move?.(stage.toPicture(this.#pointOf(one)), one);
      stage.tool?.hover?.(stage.toPicture(point), event, point);
    }
  }

  #pinch(moved, last, point) {
    const other = [...this.active.entries()].find(([id]) => id !== moved)[1];
    const before = Math.hypot(last.x - other.x, last.y - other.y);
    const now = Math.hypot(point.x - other.x, point.y - other.y);
    const middle = { x: (point.x + other.x) / 2, y: (point.y + other.y) / 2 };
    this.stage.pan((point.x - last.x) / 2, (point.y - last.y) / 2);
    if (before > 4) this.stage.zoom(now / before, middle);
  }

  #moveDivider(point) {
    const box = this.stage.boxOf({ x: 0, y: 0, ...this.stage.size });
    this.stage.divider = Math.min(1, Math.max(0.001, (point.x - box.x) / box.width));
    this.stage.ondivider?.();
    this.stage.invalidate();
  }

  #up(event, isCancelled = false) {
    if (!this.active.delete(event.pointerId)) return;
    if (this.gesture === "tool") {
      if (isCancelled) this.stage.tool?.abandon?.();
      else this.stage.tool?.up?.(this.stage.toPicture(this.#pointOf(event)), event);
    }
    // After two fingers the one that is left does nothing more.
    this.gesture = this.active.size ? "none" : null;
    this.stage.element.classList.remove("panning");
  }

  #left() {
    if (!this.active.size) this.stage.tool?.hover?.(null);
  }

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

function coalesced(event) {
  const events = event.getCoalescedEvents?.() ?? [];
  return events.length ? events : [event];
}
