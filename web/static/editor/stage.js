// The canvas: the picture and overlays, drawn only when something changed, and the view of them.

import { contextOf, offscreenContextOf } from "./canvas.js";
import { el } from "./elements.js";
import { hasTransparency } from "./images.js";
import * as views from "./view.js";

/** @import { Picture } from "./images.js" */
/** @import { Frame, Point, Size, View } from "./types.js" */
/** @import { Tool } from "./tools/tool.js" */

const CHECKER_PIXELS = 10;
const NARROW_PIXELS = 600; // narrower stages have a smaller margin
const SHARP_SCALE = 6; // from this zoom on, single pixels are shown instead of being smoothed

export class Stage {
  constructor() {
    this.picture = el("canvas", { "aria-hidden": "true" });
    this.overlay = el("canvas", { "aria-hidden": "true" });
    this.element = el(
      "div",
      { class: "stage", tabindex: "0", role: "application", "aria-label": "Picture. Press ? for keys." },
      this.picture,
      this.overlay,
    );
    /** @type {Size} */
    this.viewport = { width: 1, height: 1 };
    /** @type {View} */
    this.view = { scale: 1, x: 0, y: 0 };
    /**
     * The picture's size at full resolution.
     * @type {Size}
     */
    this.size = { width: 1, height: 1 };
    /**
     * A preview of the picture; null while there is none.
     * @type {Picture | null}
     */
    this.image = null;
    /**
     * A preview of the picture to compare with.
     * @type {Picture | null}
     */
    this.before = null;
    /** Where the comparison's divider is, as a share of the picture's width. */
    this.divider = 0.5;
    /** Whether all of `before` is shown, which it is as long as a key is held. */
    this.showsBefore = false;
    this.hasTransparency = false;
    /** @type {Tool | null} */
    this.tool = null;
    this.isFitted = true;
    /** Whether it was last operated with a finger, which covers what it points at and cannot hover. */
    this.isTouch = matchMedia("(hover: none)").matches;
    /** Called after every change of the view. */
    this.onView = () => {};
    new ResizeObserver(() => this.#resize()).observe(this.element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#checkerPattern = null;
      this.invalidate();
    });
  }

  /** @type {CanvasPattern | null} */
  #checkerPattern = null;
  #frameRequest = 0;

  /**
   * Shows a preview of a picture of this size. The view is kept if the size is the same.
   * @param {Picture} image
   * @param {Size} size
   */
  show(image, size) {
    const isOther = !this.image || size.width !== this.size.width || size.height !== this.size.height;
    this.image = image;
    this.size = size;
    this.hasTransparency = hasTransparency(image);
    if (isOther) this.fit();
    this.invalidate();
  }

  clear() {
    this.image = this.before = null;
    this.invalidate();
  }

  /** Shows the whole picture, and the room around it that the tool needs. */
  fit() {
    this.isFitted = true;
    if (!this.image) return;
    const frame = this.tool?.visibleFrame() ?? { x: 0, y: 0, ...this.size };
    const margin = this.viewport.width < NARROW_PIXELS ? 14 : 36;
    const view = views.fitView(frame, this.viewport, margin);
    // The view's origin is the picture's corner, not the frame's.
    this.#setView(views.panView(view, -frame.x * view.scale, -frame.y * view.scale));
  }

  /** @param {View} view */
  #setView(view) {
    this.view = view;
    this.invalidate();
    this.onView();
  }

  /**
   * @param {number} factor
   * @param {Point} [point] what stays in place, on the screen; the middle by default
   */
  zoom(factor, point = { x: this.viewport.width / 2, y: this.viewport.height / 2 }) {
    if (!this.image) return;
    this.isFitted = false;
    this.#setView(views.zoomView(this.view, point, factor));
  }

  /**
   * @param {number} dx
   * @param {number} dy
   */
  pan(dx, dy) {
    if (!this.image) return;
    this.isFitted = false;
    this.#setView(views.panView(this.view, dx, dy));
  }

  /**
   * A screen point in picture coordinates.
   * @param {Point} point
   */
  toPicture(point) {
    return views.toPicture(this.view, point);
  }

  /**
   * A frame in picture coordinates as a box on the screen.
   * @param {Frame} frame
   * @returns {Frame}
   */
  boxOf(frame) {
    const corner = views.toScreen(this.view, frame);
    return { ...corner, width: frame.width * this.view.scale, height: frame.height * this.view.scale };
  }

  /** Where the whole picture is on the screen. */
  pictureBox() {
    return this.boxOf({ x: 0, y: 0, width: this.size.width, height: this.size.height });
  }

  /** Requests drawing everything again on the next frame. */
  invalidate() {
    if (!this.#frameRequest) this.#frameRequest = requestAnimationFrame(() => this.#draw());
  }

  #resize() {
    const box = this.element.getBoundingClientRect();
    this.viewport = { width: Math.max(1, box.width), height: Math.max(1, box.height) };
    const ratio = window.devicePixelRatio;
    for (const canvas of [this.picture, this.overlay]) {
      canvas.width = Math.round(this.viewport.width * ratio);
      canvas.height = Math.round(this.viewport.height * ratio);
    }
    if (this.isFitted) this.fit();
    this.invalidate();
  }

  #draw() {
    this.#frameRequest = 0;
    const picture = this.#clear(this.picture);
    const overlay = this.#clear(this.overlay);
    if (!this.image) return;
    picture.imageSmoothingEnabled = this.view.scale < SHARP_SCALE;
    picture.imageSmoothingQuality = "high";
    this.#drawPicture(picture, this.image, this.pictureBox());
    if (!this.showsBefore) this.tool?.drawOverlay(overlay);
  }

  /** @param {HTMLCanvasElement} canvas */
  #clear(canvas) {
    const context = contextOf(canvas);
    const ratio = window.devicePixelRatio;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.viewport.width, this.viewport.height);
    return context;
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Picture} image
   * @param {Frame} box
   */
  #drawPicture(context, image, box) {
    if (this.before && (this.showsBefore || this.divider > 0)) {
      this.#drawComparison(context, image, this.before, box);
      return;
    }
    this.#drawChecker(context, box);
    this.#drawCurrent(context, image, box);
  }

  /**
   * The current picture, or the tool's preview of what it will become.
   * @param {CanvasRenderingContext2D} context
   * @param {Picture} image
   * @param {Frame} box
   */
  #drawCurrent(context, image, box) {
    if (this.tool?.drawPicture(context, image, box)) return;
    context.drawImage(image, box.x, box.y, box.width, box.height);
  }

  /**
   * The picture before on the left of the divider, the current one on its right.
   * @param {CanvasRenderingContext2D} context
   * @param {Picture} image
   * @param {Picture} before
   * @param {Frame} box
   */
  #drawComparison(context, image, before, box) {
    const edge = box.x + box.width * (this.showsBefore ? 1 : this.divider);
    const clipped = (
      /** @type {number} */ left,
      /** @type {number} */ right,
      /** @type {() => void} */ draw,
    ) => {
      context.save();
      context.beginPath();
      context.rect(left, box.y, right - left, box.height);
      context.clip();
      this.#drawChecker(context, box);
      draw();
      context.restore();
    };
    clipped(edge, box.x + box.width, () => this.#drawCurrent(context, image, box));
    clipped(box.x, edge, () => context.drawImage(before, box.x, box.y, box.width, box.height));
    if (!this.showsBefore) this.#drawDivider(context, edge, box);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number} x
   * @param {Frame} box
   */
  #drawDivider(context, x, box) {
    const middle = Math.min(Math.max(box.y + box.height / 2, 40), this.viewport.height - 40);
    context.save();
    context.shadowColor = "rgb(0 0 0 / 50%)";
    context.shadowBlur = 6;
    context.fillStyle = context.strokeStyle = "white";
    context.fillRect(x - 1, box.y, 2, box.height);
    context.beginPath();
    context.arc(x, middle, 15, 0, 2 * Math.PI);
    context.fill();
    context.shadowBlur = 0;
    context.strokeStyle = "#333";
    context.lineWidth = 2;
    context.beginPath();
    for (const side of [-1, 1]) {
      context.moveTo(x + side * 4, middle - 5);
      context.lineTo(x + side * 9, middle);
      context.lineTo(x + side * 4, middle + 5);
    }
    context.stroke();
    context.restore();
  }

  /**
   * A checkerboard behind transparent pictures.
   * @param {CanvasRenderingContext2D} context
   * @param {Frame} box
   */
  #drawChecker(context, box) {
    if (!this.hasTransparency && !this.tool?.makesTransparent) return;
    this.#checkerPattern ??= this.#createCheckerPattern(context);
    if (!this.#checkerPattern) return;
    context.save();
    context.fillStyle = this.#checkerPattern;
    context.fillRect(box.x, box.y, box.width, box.height);
    context.restore();
  }

  /** @param {CanvasRenderingContext2D} context */
  #createCheckerPattern(context) {
    const style = getComputedStyle(this.element);
    const tile = new OffscreenCanvas(2 * CHECKER_PIXELS, 2 * CHECKER_PIXELS);
    const painter = offscreenContextOf(tile);
    painter.fillStyle = style.getPropertyValue("--checker-a");
    painter.fillRect(0, 0, 2 * CHECKER_PIXELS, 2 * CHECKER_PIXELS);
    painter.fillStyle = style.getPropertyValue("--checker-b");
    painter.fillRect(0, 0, CHECKER_PIXELS, CHECKER_PIXELS);
    painter.fillRect(CHECKER_PIXELS, CHECKER_PIXELS, CHECKER_PIXELS, CHECKER_PIXELS);
    return context.createPattern(tile, "repeat");
  }
}
