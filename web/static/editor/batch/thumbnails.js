// Small pictures of files that are not uploaded yet: drawn when they are seen, one at a time, because decoding a photo
// takes a while and much memory.

import { el } from "../elements.js";

/** @import { Size } from "../types.js" */

const SIDE = 112;

export class Thumbnails {
  constructor() {
    /** @type {Map<Element, File>} */
    this.files = new Map();
    /** @type {Promise<void>} */
    this.queue = Promise.resolve();
    this.observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) if (isIntersecting) this.#seen(target);
    });
  }

  /**
   * An element that shows the file once it is scrolled to.
   * @param {File} file
   */
  of(file) {
    const canvas = el("canvas", { width: SIDE, height: SIDE, "aria-hidden": "true" });
    this.files.set(canvas, file);
    this.observer.observe(canvas);
    return canvas;
  }

  /** @param {Element} canvas */
  #seen(canvas) {
    const file = this.files.get(canvas);
    this.observer.unobserve(canvas);
    this.files.delete(canvas);
    if (!file || !(canvas instanceof HTMLCanvasElement)) return;
    this.queue = this.queue.then(async () => {
      // It may be on another page of the list by now.
      if (canvas.isConnected) await draw(canvas, file);
    });
  }
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {File} file
 */
async function draw(canvas, file) {
  try {
    const bitmap = await createImageBitmap(file);
    const scale = SIDE / Math.max(bitmap.width, bitmap.height);
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    const context = canvas.getContext("2d");
    if (context) {
      context.imageSmoothingQuality = "high";
      context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    }
    bitmap.close();
  } catch {
    canvas.classList.add("unknown"); // damaged, or of a type that only the server reads
  }
}

/**
 * The size of a picture in pixels, or that of a usual photo if the browser cannot read it.
 * @param {File} file
 * @returns {Promise<Size>}
 */
export async function sizeOf(file) {
  try {
    const bitmap = await createImageBitmap(file);
    const { width, height } = bitmap;
    bitmap.close();
    return { width, height };
  } catch {
    return { width: 2000, height: 1500 };
  }
}
