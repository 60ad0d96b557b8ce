// Pointing at an object: clicks, a box, and the live overlay. Magic select and generative fill share it.

import * as api from "../api.js";
import * as pictures from "../images.js";
import * as selections from "../selection.js";

const CLICK_PIXELS = 5; // a drag shorter than this on the screen is a click

export class Selecting {
  /** `changed` is called whenever the selection or its overlay does. */
  constructor(tool, changed) {
    this.tool = tool;
    this.changed = changed;
    this.subtracts = false;
    this.clear();
  }

  clear() {
    this.selection = selections.empty();
    this.overlay = null;
    this.score = null;
    this.message = "";
    this.drag = null;
    this.#asking?.abort();
  }

  #asking = null;

  get isUsable() {
    return selections.isUsable(this.selection) && this.overlay !== null && !this.isAsking;
  }

  get isEmpty() {
    return selections.isEmpty(this.selection);
  }

  params() {
    return selections.toParams(this.selection);
  }

  auto() {
    this.#set({ ...selections.empty(), auto: true });
  }

  undo() {
    if (this.isEmpty) return false;
    this.#set(selections.undone(this.selection));
    return true;
  }

  down(point, event) {
    this.drag = { from: point, to: point, subtracts: this.subtracts || event.altKey || event.button === 2 };
  }

  move(point) {
    if (this.drag) this.drag.to = point;
    this.tool.stage.invalidate();
  }

  up(point) {
    const { drag } = this;
    this.drag = null;
    if (!drag) return;
    const { stage, size } = this.tool;
    const length = Math.hypot(point.x - drag.from.x, point.y - drag.from.y) * stage.view.scale;
    const next =
      length < CLICK_PIXELS
        ? selections.clicked(this.selection, drag.from, !drag.subtracts, size)
        : selections.boxed(this.selection, drag.from, point, size);
    if (next !== this.selection) this.#set(next);
  }

  #set(selection) {
    this.selection = selection;
    if (selections.isUsable(selection)) this.ask();
    else {
      this.#asking?.abort();
      this.overlay = null;
      this.isAsking = false;
      this.message = selection.points.length ? "Click on the object first." : "";
    }
    this.changed();
  }

  /** Asks for the overlay of the present selection; an older question is dropped. */
  async ask() {
    this.#asking?.abort();
    const asking = (this.#asking = new AbortController());
    const { model } = this.tool;
    this.isAsking = true;
    this.message = "";
    this.changed();
    try {
      const params = { ...this.tool.overlayParams?.(), ...this.params() };
      const told = await api.overlay(model.project.id, model.step.id, params, asking.signal);
      const mask = await pictures.load(told.mask);
      if (asking.signal.aborted) return;
      const accent = getComputedStyle(this.tool.stage.element).getPropertyValue("--selection");
      this.overlay = pictures.tinted(mask, accent);
      this.score = told.score;
    } catch (refusal) {
      if (refusal.name === "AbortError" || asking.signal.aborted) return;
      this.overlay = null;
      if (refusal.code === "NOTHING_FOUND")
        this.message = "There is nothing to select here. Try another place.";
      else model.problem(refusal);
    }
    this.isAsking = false;
    this.changed();
  }

  draw(context, stage) {
    const box = stage.boxOf({ x: 0, y: 0, ...this.tool.size });
    if (this.overlay) context.drawImage(this.overlay, box.x, box.y, box.width, box.height);
    const shown = this.drag ? boxOfDrag(this.drag) : boxOfCorners(this.selection.box);
    if (shown) this.#drawBox(context, stage.boxOf(shown));
    for (const [x, y, label] of this.selection.points) this.#drawClick(context, stage, x, y, label);
  }

  #drawBox(context, box) {
    context.save();
    context.setLineDash([6, 4]);
    context.lineWidth = 1.5;
    context.strokeStyle = "black";
    context.strokeRect(box.x, box.y, box.width, box.height);
    context.lineDashOffset = 5;
    context.strokeStyle = "white";
    context.strokeRect(box.x, box.y, box.width, box.height);
    context.restore();
  }

  #drawClick(context, stage, x, y, label) {
    const { x: left, y: top } = stage.boxOf({ x: x + 0.5, y: y + 0.5, width: 0, height: 0 });
    context.save();
    context.fillStyle = label ? "#137a43" : "#b3261e";
    context.strokeStyle = "white";
    context.lineWidth = 2;
    context.beginPath();
    context.arc(left, top, 8, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
    context.beginPath();
    context.moveTo(left - 4, top);
    context.lineTo(left + 4, top);
    if (label) {
      context.moveTo(left, top - 4);
      context.lineTo(left, top + 4);
    }
    context.stroke();
    context.restore();
  }
}

function boxOfDrag(drag) {
  const { from, to } = drag;
  return {
    x: Math.min(from.x, to.x),
    y: Math.min(from.y, to.y),
    width: Math.abs(to.x - from.x),
    height: Math.abs(to.y - from.y),
  };
}

function boxOfCorners(corners) {
  if (!corners) return null;
  const [left, top, right, bottom] = corners;
  return { x: left, y: top, width: right - left, height: bottom - top };
}
