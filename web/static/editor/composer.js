// Draws looks of a cut-out at the preview's size, from the kept cut-out and its photo, in the next frame. The server
// draws the same look at full size when it is needed.

import { offscreenContextOf } from "./canvas.js";
import { loadImage } from "./images.js";
import * as looks from "./looks.js";
import * as planes from "./planes.js";
import { drawMark, takeMark } from "./preview_mark.js";

/** @import { Plane } from "./planes.js" */
/** @import { Cutout, Fields, Frame, Size } from "./types.js" */

/**
 * What a cut-out's looks are drawn from. `scale` is that of the preview to the picture.
 * @typedef {object} Layers
 * @property {Cutout} cutout
 * @property {Size} size
 * @property {number} scale
 * @property {ImageData} pixels of the cut-out, not weighted by alpha
 * @property {Plane} alpha
 * @property {HTMLImageElement} photo
 * @property {OffscreenCanvas | null} mark the corner with a preview's mark, which stays in the picture's corner
 */

/**
 * The cut-out with its edge and outline as the look asks for.
 * @typedef {object} Subject
 * @property {OffscreenCanvas} canvas
 * @property {Frame} box of what is visible
 */

const LAYERS_KEPT = 4;

export class Composer {
  /** @type {Map<string, Promise<Layers>>} */
  #loading = new Map();
  /** @type {Map<string, Layers>} */
  #loaded = new Map();
  /** @type {Map<string, HTMLImageElement>} */
  #backgrounds = new Map();
  #kept = new Kept();

  /**
   * Loads the layers of a cut-out, and the background picture of a look.
   * @param {Cutout} cutout
   * @param {string | null} [backgroundUrl]
   */
  async load(cutout, backgroundUrl = cutout.backgroundUrl) {
    const background = backgroundUrl ? this.#loadBackground(backgroundUrl) : null;
    let loading = this.#loading.get(cutout.url);
    if (!loading) {
      loading = loadLayers(cutout);
      this.#loading.set(cutout.url, loading);
      for (const oldest of this.#loading.keys()) {
        if (this.#loading.size <= LAYERS_KEPT) break;
        this.#loading.delete(oldest);
        this.#loaded.delete(oldest);
      }
    }
    try {
      this.#loaded.set(cutout.url, await loading);
      await background;
    } catch (error) {
      this.#loading.delete(cutout.url);
      throw error;
    }
  }

  /** @param {string} url */
  async #loadBackground(url) {
    this.#backgrounds.set(url, await loadImage(url));
  }

  /**
   * The box of the subject in the picture's coordinates, without its move; null until the layers are loaded.
   * @param {Cutout} cutout
   * @param {Fields} look
   * @returns {Frame | null}
   */
  subjectBox(cutout, look) {
    const layers = this.#loaded.get(cutout.url);
    const subject = layers && this.#subjectOf(layers, look);
    if (!layers || !subject) return null;
    const { x, y, width, height } = subject.box;
    const { scale } = layers;
    return { x: x / scale, y: y / scale, width: width / scale, height: height / scale };
  }

  /**
   * The look on a canvas of the preview's size; null if the layers are not loaded or only the server can draw it.
   * @param {Cutout} cutout
   * @param {Fields} look
   * @param {string | null} [backgroundUrl]
   * @returns {OffscreenCanvas | null}
   */
  compose(cutout, look, backgroundUrl = cutout.backgroundUrl) {
    const canvas = this.#compose(cutout, look, backgroundUrl);
    const mark = this.#loaded.get(cutout.url)?.mark;
    if (canvas && mark) drawMark(canvas, mark);
    return canvas;
  }

  /**
   * @param {Cutout} cutout
   * @param {Fields} look
   * @param {string | null} backgroundUrl
   * @returns {OffscreenCanvas | null}
   */
  #compose(cutout, look, backgroundUrl) {
    const layers = this.#loaded.get(cutout.url);
    if (!layers || !looks.isComposable(look)) return null;
    if ((look.bg_image_id || look.bg_scene) && !(backgroundUrl && this.#backgrounds.has(backgroundUrl)))
      return null;
    const { size } = layers;
    const canvas = new OffscreenCanvas(size.width, size.height);
    const context = offscreenContextOf(canvas);
    this.#drawBackground(context, layers, look, backgroundUrl);
    const subject = this.#subjectOf(layers, look);
    if (!subject) return canvas;
    const move = looks.moveOf(look, cutout, layers.scale);
    const isMoved = Boolean(move.x || move.y || move.degrees) || move.scale !== 1;
    const placed = isMoved ? movedCanvas(subject, size, move) : subject.canvas;
    const shadow = this.#shadowOf(layers, look, subject, placed);
    if (shadow) context.drawImage(shadow, 0, 0);
    context.drawImage(placed, 0, 0);
    return canvas;
  }

  /**
   * What is behind the subject, for strokes that erase it; transparent without a background.
   * @param {Cutout} cutout
   * @param {Fields} look
   */
  background(cutout, look) {
    const layers = this.#loaded.get(cutout.url);
    if (!layers) return null;
    const canvas = new OffscreenCanvas(layers.size.width, layers.size.height);
    this.#drawBackground(offscreenContextOf(canvas), layers, look, cutout.backgroundUrl);
    return canvas;
  }

  /**
   * @param {OffscreenCanvasRenderingContext2D} context
   * @param {Layers} layers
   * @param {Fields} look
   * @param {string | null} backgroundUrl
   */
  #drawBackground(context, layers, look, backgroundUrl) {
    const { width, height } = layers.size;
    const picture =
      (look.bg_image_id || look.bg_scene) && backgroundUrl ? this.#backgrounds.get(backgroundUrl) : null;
    const gradient = look.bg_gradient ? looks.gradientOf(look.bg_gradient, layers.size) : null;
    const blur = Number(look.bg_blur || "0");
    if (picture) {
      const part = looks.coverPart(
        { width: picture.naturalWidth, height: picture.naturalHeight },
        layers.size,
      );
      context.imageSmoothingQuality = "high";
      context.drawImage(picture, part.x, part.y, part.width, part.height, 0, 0, width, height);
    } else if (gradient) {
      const fill = context.createLinearGradient(
        gradient.from.x,
        gradient.from.y,
        gradient.to.x,
        gradient.to.y,
      );
      for (const [at, color] of gradient.colors.entries()) fill.addColorStop(at, color);
      context.fillStyle = fill;
      context.fillRect(0, 0, width, height);
    } else if (blur) {
      const small = this.#kept.get("blur", `${layers.cutout.url} ${blur}`, () => blurredPhoto(layers, blur));
      context.imageSmoothingQuality = "high";
      context.drawImage(small, 0, 0, width, height);
    } else if (look.bg_color) {
      context.fillStyle = looks.cssColor(look.bg_color);
      context.fillRect(0, 0, width, height);
    }
  }

  /**
   * @param {Layers} layers
   * @param {Fields} look
   * @returns {Subject | null} null if nothing is visible
   */
  #subjectOf(layers, look) {
    const names = ["shift_edge", "feather", "decontaminate", "outline_width", "outline_color"];
    const key = [layers.cutout.url, ...names.map((name) => look[name] ?? "")].join(" ");
    return this.#kept.get("subject", key, () => subjectOf(layers, look));
  }

  /**
   * @param {Layers} layers
   * @param {Fields} look
   * @param {Subject} subject
   * @param {OffscreenCanvas} placed the subject where it is drawn
   */
  #shadowOf(layers, look, subject, placed) {
    if (look.shadow !== "drop" && look.shadow !== "contact") return null;
    const names = Object.keys(look).filter((name) => /^(shadow|subject)/.test(name));
    const key = JSON.stringify([names.map((name) => [name, look[name]])]);
    return this.#kept.get("shadow", key, () => shadowCanvas(layers, look, placed), subject);
  }
}

/** What was computed last for each purpose, as long as it stays the same. */
class Kept {
  /** @type {Map<string, { key: string, source: unknown, value: any }>} */
  #values = new Map();

  /**
   * @template Value
   * @param {string} purpose
   * @param {string} key
   * @param {() => Value} compute
   * @param {unknown} [source] an object that the value depends on, too
   * @returns {Value}
   */
  get(purpose, key, compute, source = null) {
    const kept = this.#values.get(purpose);
    if (kept && kept.key === key && kept.source === source) return kept.value;
    const value = compute();
    this.#values.set(purpose, { key, source, value });
    return value;
  }
}

/**
 * @param {Cutout} cutout
 * @returns {Promise<Layers>}
 */
async function loadLayers(cutout) {
  const [image, photo] = await Promise.all([loadImage(cutout.url), loadImage(cutout.photoUrl)]);
  const size = { width: image.naturalWidth, height: image.naturalHeight };
  const context = offscreenContextOf(new OffscreenCanvas(size.width, size.height), {
    willReadFrequently: true,
  });
  context.drawImage(image, 0, 0);
  const mark = takeMark(context, cutout);
  const pixels = context.getImageData(0, 0, size.width, size.height);
  return { cutout, size, scale: size.width / cutout.width, pixels, alpha: alphaOf(pixels), photo, mark };
}

/** @param {ImageData} pixels */
function alphaOf(pixels) {
  const alpha = new Uint8ClampedArray(pixels.width * pixels.height);
  for (let at = 0; at < alpha.length; at += 1) alpha[at] = pixels.data[at * 4 + 3];
  return alpha;
}

/**
 * @param {Layers} layers
 * @param {Fields} look
 * @returns {Subject | null}
 */
function subjectOf(layers, look) {
  const { size, scale, alpha } = layers;
  const shift = Number(look.shift_edge || "0") * scale;
  const feather = Number(look.feather || "0") * scale;
  const edge = planes.feathered(shift ? planes.shifted(alpha, size, shift) : alpha, size, feather);
  let pixels = layers.pixels;
  if (edge !== alpha || look.decontaminate === "false") pixels = withEdge(layers, edge, look);
  let box = planes.objectBox(edge, size);
  if (!box) return null;
  const width = looks.outlineWidth(look, box, scale);
  if (width) {
    pixels = withOutline(pixels, planes.outline(edge, size, width, scale), look.outline_color || "#ffffff");
    box = planes.objectBox(alphaOf(pixels), size) ?? box;
  }
  const canvas = new OffscreenCanvas(size.width, size.height);
  offscreenContextOf(canvas).putImageData(pixels, 0, 0);
  return { canvas, box };
}

/**
 * The cut-out with another alpha. What was hidden gets the colors of the object nearby.
 * @param {Layers} layers
 * @param {Plane} edge
 * @param {Fields} look
 */
function withEdge(layers, edge, look) {
  const { size, alpha } = layers;
  const pixels = new ImageData(Uint8ClampedArray.from(layers.pixels.data), size.width, size.height);
  const isTinted = look.decontaminate === "false";
  const others = isTinted ? photoPixels(layers).data : null;
  const near = isTinted || edge === alpha ? null : nearbyColors(layers);
  for (let at = 0; at < alpha.length; at += 1) {
    const offset = at * 4;
    pixels.data[offset + 3] = edge[at];
    if (others && alpha[at] < 255) {
      for (const channel of [0, 1, 2]) pixels.data[offset + channel] = others[offset + channel];
    } else if (near && !alpha[at] && edge[at]) {
      for (const channel of [0, 1, 2]) pixels.data[offset + channel] = near[channel][at];
    }
  }
  return pixels;
}

/** @param {Layers} layers */
function photoPixels({ photo, size }) {
  const context = offscreenContextOf(new OffscreenCanvas(size.width, size.height), {
    willReadFrequently: true,
  });
  context.drawImage(photo, 0, 0, size.width, size.height);
  return context.getImageData(0, 0, size.width, size.height);
}

/** @param {Layers} layers */
function nearbyColors({ pixels, alpha, size }) {
  const sigma = Math.max(size.width, size.height) / 60;
  const weight = planes.blurred(Float32Array.from(alpha), size, sigma);
  return [0, 1, 2].map((channel) => {
    const weighted = new Float32Array(alpha.length);
    for (let at = 0; at < alpha.length; at += 1) weighted[at] = pixels.data[at * 4 + channel] * alpha[at];
    const spread = planes.blurred(weighted, size, sigma);
    return spread.map((value, at) => value / Math.max(weight[at], 1e-3));
  });
}

/**
 * @param {ImageData} pixels
 * @param {Plane} outline
 * @param {string} color
 */
function withOutline(pixels, outline, color) {
  const [red, green, blue, opacity] = bytesOf(color);
  const answer = new ImageData(pixels.width, pixels.height);
  for (let at = 0; at < outline.length; at += 1) {
    const offset = at * 4;
    const front = pixels.data[offset + 3] / 255;
    const back = (1 - front) * (outline[at] / 255) * (opacity / 255);
    const total = front + back;
    if (!total) continue;
    for (const [channel, value] of [red, green, blue].entries())
      answer.data[offset + channel] = (pixels.data[offset + channel] * front + value * back) / total;
    answer.data[offset + 3] = total * 255;
  }
  return answer;
}

/**
 * Any CSS color as bytes: red, green, blue, alpha.
 * @param {string} color
 */
function bytesOf(color) {
  const context = offscreenContextOf(new OffscreenCanvas(1, 1), { willReadFrequently: true });
  context.fillStyle = looks.cssColor(color);
  context.fillRect(0, 0, 1, 1);
  return context.getImageData(0, 0, 1, 1).data;
}

/**
 * @param {Subject} subject
 * @param {Size} size
 * @param {looks.Move} move
 */
function movedCanvas(subject, size, move) {
  const canvas = new OffscreenCanvas(size.width, size.height);
  const context = offscreenContextOf(canvas, { willReadFrequently: true });
  const middle = looks.middleOf(subject.box);
  context.imageSmoothingQuality = move.scale < 0.5 ? "high" : "low";
  context.translate(middle.x + move.x, middle.y + move.y);
  context.rotate((move.degrees * Math.PI) / 180);
  context.scale(move.scale, move.scale);
  context.drawImage(subject.canvas, -middle.x, -middle.y);
  return canvas;
}

/**
 * @param {Layers} layers
 * @param {Fields} look
 * @param {OffscreenCanvas} placed
 */
function shadowCanvas({ size, scale }, look, placed) {
  const source = new OffscreenCanvas(size.width, size.height);
  const reader = offscreenContextOf(source, { willReadFrequently: true });
  reader.drawImage(placed, 0, 0);
  const pixels = reader.getImageData(0, 0, size.width, size.height);
  const alpha = alphaOf(pixels);
  const box = planes.objectBox(alpha, size);
  const shadow = box && looks.shadowOf(look, box, scale);
  if (!box || !shadow) return null;
  const shape =
    shadow.kind === "contact" ? planes.foot(alpha, size, box) : planes.moved(alpha, size, shadow.x, shadow.y);
  const soft = planes.feathered(shape, size, shadow.blur);
  const [red, green, blue, opacity] = bytesOf(shadow.color);
  const share = shadow.opacity * (opacity / 255);
  for (let at = 0; at < alpha.length; at += 1) {
    pixels.data[at * 4] = red;
    pixels.data[at * 4 + 1] = green;
    pixels.data[at * 4 + 2] = blue;
    pixels.data[at * 4 + 3] = soft[at] * share;
  }
  reader.putImageData(pixels, 0, 0);
  return source;
}

/**
 * The photo's background, blurred, at a reduced size.
 * @param {Layers} layers
 * @param {number} strength
 */
function blurredPhoto(layers, strength) {
  const { size, sigma } = looks.backgroundBlur(strength, layers.size);
  const { data } = photoPixels(layers);
  const count = layers.size.width * layers.size.height;
  const colors = [0, 1, 2].map((channel) => {
    const plane = new Uint8Array(count);
    for (let at = 0; at < count; at += 1) plane[at] = data[at * 4 + channel];
    return planes.reduced(plane, layers.size, size);
  });
  const background = planes.reduced(layers.alpha, layers.size, size).map((value) => 1 - value / 255);
  const blurred = planes.blurredBackground(colors, background, size, sigma);
  const answer = new ImageData(size.width, size.height);
  for (let at = 0; at < size.width * size.height; at += 1) {
    for (const channel of [0, 1, 2]) answer.data[at * 4 + channel] = blurred[channel][at];
    answer.data[at * 4 + 3] = 255;
  }
  const canvas = new OffscreenCanvas(size.width, size.height);
  offscreenContextOf(canvas).putImageData(answer, 0, 0);
  return canvas;
}
