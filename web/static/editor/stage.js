// The canvas: picture and overlays, drawn only when something changed, and where they lie on the screen.

import { el } from "./elements.js";
import * as pictures from "./images.js";
import * as views from "./view.js";

const CHECK_PIXELS = 10;

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
    this.viewport = { width: 1, height: 1 };
    this.view = { scale: 1, x: 0, y: 0 };
    this.size = null; // of the picture at full resolution
    this.image = null; // a preview of it
    this.before = null; // a preview of what it is compared with, or null
    this.divider = 0.5;
    this.showsBefore = false; // the original, as long as a key is held
    this.tool = null;
    this.isFitted = true;
    this.#pattern = null;
    new ResizeObserver(() => this.#resized()).observe(this.element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#pattern = null;
      this.invalidate();
    });
  }

  #pattern;
  #due = 0;

  /** Shows a preview of a picture of this size; the view stays if the size does. */
  show(image, size) {
    const isOther = !this.size || size.width !== this.size.width || size.height !== this.size.height;
    this.image = image;
    this.size = size;
    this.hasTransparency = image ? pictures.hasTransparency(image) : false;
    if (isOther && size) this.fit();
    this.invalidate();
  }

  clear() {
    this.image = this.size = this.before = null;
    this.invalidate();
  }

  fit() {
    this.isFitted = true;
    if (this.size)
      this.setView(views.fitted(this.tool?.room?.() ?? this.size, this.viewport, this.#margin()), true);
  }

  #margin() {
    return this.viewport.width < 600 ? 14 : 36;
  }

  setView(view, isFitted = false) {
    const room = this.tool?.room?.();
    // A tool that needs room around the picture says how much; the view is the picture's own all the same.
    this.view =
      isFitted && room ? { ...view, x: view.x - room.x * view.scale, y: view.y - room.y * view.scale } : view;
    this.isFitted = isFitted;
    this.invalidate();
    this.onview?.();
  }

  zoom(factor, point = { x: this.viewport.width / 2, y: this.viewport.height / 2 }) {
    if (this.size) this.setView(views.zoomedAt(this.view, point, factor));
  }

  pan(across, down) {
    if (this.size) this.setView(views.panned(this.view, across, down));
  }

  toPicture(point) {
    return views.toPicture(this.view, point);
  }

  /** A frame of the picture on the screen. */
  boxOf(frame) {
    const corner = views.toScreen(this.view, frame);
    return { ...corner, width: frame.width * this.view.scale, height: frame.height * this.view.scale };
  }

  invalidate() {
    if (!this.#due) this.#due = requestAnimationFrame(() => this.#draw());
  }

  #resized() {
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
    this.#due = 0;
    const under = this.#cleared(this.picture);
    const over = this.#cleared(this.overlay);
    if (!this.image) return;
    const box = this.boxOf({ x: 0, y: 0, ...this.size });
    under.imageSmoothingEnabled = this.view.scale < 6;
    under.imageSmoothingQuality = "high";
    this.#drawPicture(under, box);
    if (!this.showsBefore) this.tool?.draw?.(over, this);
  }

  #cleared(canvas) {
    const context = canvas.getContext("2d");
    const ratio = window.devicePixelRatio;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.viewport.width, this.viewport.height);
    return context;
  }

  #drawPicture(context, box) {
    if (this.before && (this.showsBefore || this.divider > 0)) {
      this.#drawCompared(context, box);
      return;
    }
    this.#drawChecks(context, box);
    const drawn = this.tool?.drawPicture?.(context, this, box);
    if (!drawn) context.drawImage(this.image, box.x, box.y, box.width, box.height);
  }

  /** What was before on the left of the divider, what is now on its right. */
  #drawCompared(context, box) {
    const share = this.showsBefore ? 1 : this.divider;
    const edge = box.x + box.width * share;
    const sides = [
      [this.image, edge, box.x + box.width],
      [this.before, box.x, edge],
    ];
    for (const [image, left, right] of sides) {
      context.save();
      context.beginPath();
      context.rect(left, box.y, right - left, box.height);
      context.clip();
      this.#drawChecks(context, box);
      const isDrawn = image === this.image && this.tool?.drawPicture?.(context, this, box);
      if (!isDrawn) context.drawImage(image, box.x, box.y, box.width, box.height);
      context.restore();
    }
    if (!this.showsBefore) this.#drawDivider(context, edge, box);
  }

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

  #drawChecks(context, box) {
    if (!this.hasTransparency && !this.tool?.makesTransparent) return;
    this.#pattern ??= this.#checks(context);
    context.save();
    context.fillStyle = this.#pattern;
    context.fillRect(box.x, box.y, box.width, box.height);
    context.restore();
  }

  #checks(context) {
    const style = getComputedStyle(this.element);
    const tile = new OffscreenCanvas(2 * CHECK_PIXELS, 2 * CHECK_PIXELS);
    const painter = tile.getContext("2d");
    painter.fillStyle = style.getPropertyValue("--checker-a");
    painter.fillRect(0, 0, 2 * CHECK_PIXELS, 2 * CHECK_PIXELS);
    painter.fillStyle = style.getPropertyValue("--checker-b");
    painter.fillRect(0, 0, CHECK_PIXELS, CHECK_PIXELS);
    painter.fillRect(CHECK_PIXELS, CHECK_PIXELS, CHECK_PIXELS, CHECK_PIXELS);
    return context.createPattern(tile, "repeat");
  }
}
