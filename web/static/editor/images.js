// Previews as decoded images, and what is computed from their pixels.

import { ApiClient } from "./api.js";
import { offscreenContextOf } from "./canvas.js";

/** Browsers' own messages about images are for programmers, and do not tell why one could not be loaded. */
const UNREADABLE = "This picture cannot be shown.";
const files = new ApiClient((input, init) => window.fetch(input, init));

/**
 * The previews that were loaded last, by address.
 * @type {Map<string, Promise<HTMLImageElement>>}
 */
const cache = new Map();
const CACHE_SIZE = 40;
const SAMPLE_SIDE = 160; // transparency is looked for in a copy of this size
const OPAQUE = 250; // alpha values from here on count as opaque
const OVERLAY_OPACITY = 0.45;
const THUMBNAIL_PIXELS = 240;

/**
 * The decoded image at an address. Rejects with an error for people.
 * @param {string} url
 */
export function loadImage(url) {
  const cached = cache.get(url);
  if (cached) return cached;
  const image = new Image();
  image.decoding = "async";
  image.src = url;
  const decoded = image.decode().then(
    () => image,
    async () => {
      // Rejects with the reason if the address cannot be loaded.
      if (!url.startsWith("data:")) await files.file(url);
      throw new Error(UNREADABLE);
    },
  );
  decoded.catch(() => cache.delete(url));
  cache.set(url, decoded);
  for (const oldest of cache.keys()) {
    if (cache.size <= CACHE_SIZE) break;
    cache.delete(oldest);
  }
  return decoded;
}

/**
 * The image at an address as a bitmap, and the headers of the answer. Rejects with an error for people.
 * @param {string} url
 */
export async function loadBitmap(url) {
  const { blob, headers } = await files.file(url);
  try {
    return { bitmap: await createImageBitmap(blob), headers };
  } catch {
    throw new Error(UNREADABLE);
  }
}

/** @typedef {HTMLImageElement | OffscreenCanvas} Picture a loaded preview, or one that was drawn here */

/** @param {Picture} picture */
export function widthOf(picture) {
  return picture instanceof HTMLImageElement ? picture.naturalWidth : picture.width;
}

/**
 * Whether a part of the image is transparent, as far as a small copy shows.
 * @param {Picture} image
 */
export function hasTransparency(image) {
  const canvas = new OffscreenCanvas(SAMPLE_SIDE, SAMPLE_SIDE);
  const context = offscreenContextOf(canvas, { willReadFrequently: true });
  context.drawImage(image, 0, 0, SAMPLE_SIDE, SAMPLE_SIDE);
  const { data } = context.getImageData(0, 0, SAMPLE_SIDE, SAMPLE_SIDE);
  for (let at = 3; at < data.length; at += 4) if (data[at] < OPAQUE) return true;
  return false;
}

/**
 * A greyscale mask as an overlay for the picture: `color` where it is white, with a white outline.
 * @param {HTMLImageElement} mask
 * @param {string} color
 */
export function maskOverlay(mask, color) {
  const { naturalWidth: width, naturalHeight: height } = mask;
  const canvas = new OffscreenCanvas(width, height);
  const context = offscreenContextOf(canvas, { willReadFrequently: true });
  context.drawImage(mask, 0, 0, width, height);
  const overlay = context.getImageData(0, 0, width, height);
  const grey = new Uint8Array(width * height);
  for (let at = 0; at < grey.length; at += 1) grey[at] = overlay.data[at * 4];
  const [red, green, blue] = rgbOf(color);
  for (let at = 0; at < grey.length; at += 1) {
    const isInside = grey[at] > 127;
    const column = at % width;
    const isEdge =
      isInside &&
      (column === 0 ||
        column === width - 1 ||
        grey[at - 1] <= 127 ||
        grey[at + 1] <= 127 ||
        (grey[at - width] ?? 0) <= 127 ||
        (grey[at + width] ?? 0) <= 127);
    const offset = at * 4;
    overlay.data[offset] = isEdge ? 255 : red;
    overlay.data[offset + 1] = isEdge ? 255 : green;
    overlay.data[offset + 2] = isEdge ? 255 : blue;
    overlay.data[offset + 3] = isEdge ? 255 : grey[at] * OVERLAY_OPACITY;
  }
  context.putImageData(overlay, 0, 0);
  return canvas;
}

/**
 * Any CSS color as bytes.
 * @param {string} color
 */
function rgbOf(color) {
  const context = offscreenContextOf(new OffscreenCanvas(1, 1));
  context.fillStyle = color;
  context.fillRect(0, 0, 1, 1);
  return context.getImageData(0, 0, 1, 1).data;
}

/**
 * A small copy of a look that was drawn here, for the filmstrip.
 * @param {OffscreenCanvas} drawn
 */
export async function thumbnail(drawn) {
  const scale = Math.min(1, THUMBNAIL_PIXELS / Math.max(drawn.width, drawn.height));
  const small = new OffscreenCanvas(
    Math.max(1, Math.round(drawn.width * scale)),
    Math.max(1, Math.round(drawn.height * scale)),
  );
  offscreenContextOf(small).drawImage(drawn, 0, 0, small.width, small.height);
  return URL.createObjectURL(await small.convertToBlob({ type: "image/webp" }));
}
