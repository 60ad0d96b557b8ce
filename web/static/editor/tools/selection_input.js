// Pointing out an object with clicks and a box, and the overlay of what they select. Magic select and generative
// fill share it.

import { ApiError, isAbort, isTemporary } from "../api.js";
import { loadImage, maskOverlay } from "../images.js";
import * as selections from "../selection.js";

/** @import { Context } from "../canvas.js" */
/** @import { Fields, Frame, Point, Selection } from "../types.js" */
/** @import { Tool } from "./tool.js" */

const CLICK_PIXELS = 5; // a drag shorter than this on the screen is a click
const CLICK_RADIUS = 8;
/** Pauses before an overlay is requested again that a busy or unreachable server has not answered. */
const RETRY_DELAYS_MS = [1000, 1000, 2000, 4000, 8000];

export class SelectionInput {
  /**
   * @param {Tool} tool
   * @param {() => void} onChange called when the selection or its overlay changed
   */
  constructor(tool, onChange) {
    this.tool = tool;
    this.onChange = onChange;
    /** Whether clicks mark the background instead of the object. */
    this.subtracts = false;
    this.selection = selections.emptySelection();
    /** @type {OffscreenCanvas | null} */
    this.overlay = null;
    /**
     * How sure the model is of the selection, 0 to 1.
     * @type {number | null}
     */
    this.confidence = null;
    /**
     * The box around what is selected.
     * @type {Frame | null}
     */
    this.bounds = null;
    this.message = "";
    /**
     * The drag that is going on.
     * @type {{ from: Point, to: Point, subtracts: boolean } | null}
     */
    this.drag = null;
  }

  /**
   * Settles once the picture of the step in `preparedId` is prepared for selections, or could not be.
   * @type {Promise<unknown>}
   */
  #prepared = Promise.resolve();
  /** @type {string | null} */
  #preparedId = null;

  /** Prepares the picture, so that the first click does not have to wait for it. */
  prepare() {
    const { model, step } = this.tool;
    if (!model.project || step.isPreview || this.#preparedId === step.id) return;
    this.#preparedId = step.id;
    this.#prepared = model.client.prepareSelection(model.project.id, step.id).catch(() => {});
  }

  /**
   * Where the user waits for the overlay.
   * @returns {Point | null}
   */
  get pendingPoint() {
    if (!this.isLoading) return null;
    const click = this.selection.points.at(-1);
    if (click) return { x: click[0] + 0.5, y: click[1] + 0.5 };
    const box = frameOf(this.selection.box) ?? { x: 0, y: 0, ...this.tool.stage.size };
    return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
  }

  /**
   * Aborts the request for an overlay. null while there is none.
   * @type {AbortController | null}
   */
  #request = null;

  /** Whether the overlay of the selection is being computed. */
  get isLoading() {
    return this.#request !== null;
  }

  get isUsable() {
    return selections.isUsable(this.selection) && this.overlay !== null && !this.isLoading;
  }

  get isEmpty() {
    return selections.isEmpty(this.selection);
  }

  fields() {
    return selections.toFields(this.selection);
  }

  clear() {
    this.#abort();
    this.selection = selections.emptySelection();
    this.overlay = null;
    this.confidence = null;
    this.bounds = null;
    this.message = "";
    this.drag = null;
  }

  /** Lets the model find the main subject. */
  selectSubject() {
    this.#setSelection({ ...selections.emptySelection(), auto: true });
  }

  undo() {
    if (this.isEmpty) return false;
    this.#setSelection(selections.withoutLast(this.selection));
    return true;
  }

  /**
   * @param {Point} point
   * @param {PointerEvent} event
   */
  down(point, event) {
    this.drag = { from: point, to: point, subtracts: this.subtracts || event.altKey || event.button === 2 };
  }

  /** @param {Point} point */
  move(point) {
    if (this.drag) this.drag.to = point;
    this.tool.stage.invalidate();
  }

  /** @param {Point} point */
  up(point) {
    const { drag } = this;
    this.drag = null;
    if (!drag) return;
    const { stage, size, model } = this.tool;
    const length = Math.hypot(point.x - drag.from.x, point.y - drag.from.y) * stage.view.scale;
    const maxPoints = model.limits.selectionPoints;
    const next =
      length < CLICK_PIXELS
        ? selections.withClick(this.selection, drag.from, !drag.subtracts, size, maxPoints)
        : selections.withBox(this.selection, drag.from, point, size);
    if (next !== this.selection) this.#setSelection(next);
  }

  cancelDrag() {
    this.drag = null;
  }

  /** @param {Selection} selection */
  #setSelection(selection) {
    this.selection = selection;
    if (selections.isUsable(selection)) {
      this.loadOverlay();
      return;
    }
    this.#abort();
    this.overlay = null;
    this.message = selection.points.length ? "Click on the object first." : "";
    this.onChange();
  }

  #abort() {
    this.#request?.abort();
    this.#request = null;
  }

  /** Requests the overlay of the present selection. A newer request aborts this one. */
  async loadOverlay() {
    const { model, step } = this.tool;
    const { project } = model;
    if (!project) return;
    this.#abort();
    const request = new AbortController();
    this.#request = request;
    this.message = "";
    this.onChange();
    await this.#prepared; // it computes what the overlay needs
    if (request.signal.aborted) return;
    try {
      const fields = { ...this.tool.overlayFields(), ...this.fields() };
      const { mask, confidence, bbox } = await this.#overlay(project.id, step.id, fields, request.signal);
      const image = await loadImage(mask);
      if (request.signal.aborted) return;
      this.overlay = maskOverlay(image, this.tool.editor.selectionColor());
      this.confidence = confidence;
      this.bounds = { x: bbox[0], y: bbox[1], width: bbox[2] - bbox[0], height: bbox[3] - bbox[1] };
    } catch (error) {
      if (isAbort(error) || request.signal.aborted) return;
      this.overlay = null;
      if (error instanceof ApiError && error.code === "NOTHING_FOUND") {
        this.message = "There is nothing to select here. Click somewhere else.";
      } else {
        this.message = "The selection could not be made. Undo the last mark or try another one.";
        model.reportError(error);
      }
    }
    this.#request = null;
    this.onChange();
  }

  /**
   * The overlay of a selection. What was clicked is not lost while the server is busy or out of reach.
   * @param {string} projectId
   * @param {string} stepId
   * @param {Fields} fields
   * @param {AbortSignal} signal
   */
  async #overlay(projectId, stepId, fields, signal) {
    const { model } = this.tool;
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await model.client.overlay(projectId, stepId, fields, signal);
      } catch (thrown) {
        if (!isTemporary(thrown) || attempt === RETRY_DELAYS_MS.length) throw thrown;
        await model.sleep(RETRY_DELAYS_MS[attempt]);
        signal.throwIfAborted();
      }
    }
  }

  /** @param {Context} context */
  draw(context) {
    const { stage } = this.tool;
    const picture = stage.pictureBox();
    if (this.overlay) context.drawImage(this.overlay, picture.x, picture.y, picture.width, picture.height);
    const frame = this.drag ? frameBetween(this.drag.from, this.drag.to) : frameOf(this.selection.box);
    if (frame) drawSelectionBox(context, stage.boxOf(frame));
    for (const [x, y, label] of this.selection.points) {
      drawClick(context, stage.boxOf({ x: x + 0.5, y: y + 0.5, width: 0, height: 0 }), label === 1);
    }
  }
}

/**
 * A dashed box, black and white so that it is visible on any picture.
 * @param {Context} context
 * @param {Frame} box
 */
function drawSelectionBox(context, box) {
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

/**
 * A green plus on the object, a red minus on the background.
 * @param {Context} context
 * @param {Point} point
 * @param {boolean} isOnObject
 */
function drawClick(context, { x, y }, isOnObject) {
  context.save();
  context.fillStyle = isOnObject ? "#137a43" : "#b3261e";
  context.strokeStyle = "white";
  context.lineWidth = 2;
  context.beginPath();
  context.arc(x, y, CLICK_RADIUS, 0, 2 * Math.PI);
  context.fill();
  context.stroke();
  context.beginPath();
  context.moveTo(x - 4, y);
  context.lineTo(x + 4, y);
  if (isOnObject) {
    context.moveTo(x, y - 4);
    context.lineTo(x, y + 4);
  }
  context.stroke();
  context.restore();
}

/**
 * @param {Point} from
 * @param {Point} to
 * @returns {Frame}
 */
function frameBetween(from, to) {
  return {
    x: Math.min(from.x, to.x),
    y: Math.min(from.y, to.y),
    width: Math.abs(to.x - from.x),
    height: Math.abs(to.y - from.y),
  };
}

/**
 * @param {Selection["box"]} box
 * @returns {Frame | null}
 */
function frameOf(box) {
  if (!box) return null;
  const [left, top, right, bottom] = box;
  return { x: left, y: top, width: right - left, height: bottom - top };
}
