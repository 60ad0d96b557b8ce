// Draws looks of a cut-out at the preview's size, from the kept cut-out and its photo, in the next frame. The server
// draws the same look at full size when it is needed.

import { offscreenContextOf } from "./canvas.js";
import * as backgrounds from "./backgrounds.js";
import { loadImage } from "./images.js";
import { alphaOf, loadLayers, pixelsOf, subjectOf } from "./layers.js";
import * as looks from "./looks.js";
import { framed, moved, outlined, roomFor } from "./placed_subjects.js";
import { framingOf, isFramed, placedBox, placementOf, wholeFraming } from "./placement.js";
import * as planes from "./planes.js";
import { drawMark } from "./preview_mark.js";
import { shadowCanvas } from "./shadows.js";

/** @import { Layers, Subject } from "./layers.js" */
/** @import { Placed } from "./placed_subjects.js" */
/** @import { Framing } from "./placement.js" */
/** @import { Cutout, Fields, Frame, Preset, Size } from "./types.js" */

/**
 * The frame of a look in full resolution.
 * @typedef {object} LookFrame
 * @property {Size} size
 * @property {boolean} isExact whether the server's has that size for sure
 * @property {Frame | null} subject where it is without its move, if anything of it is visible
 */

const LAYERS_KEPT = 4;
/** How many results of each kind are kept. */
const KEPT = { look: 3, subject: 1, framed: 4, moved: 1, outlined: 2, alpha: 2, shadow: 2, blur: 1 };

export class Composer {
  /** @param {Preset[]} presets what the looks' presets stand for */
  constructor(presets) {
    this.presets = presets;
  }

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
   * The look with the subject where it is in the photo, which strokes and clicks refer to.
   * @param {Fields} look
   */
  unplaced(look) {
    return looks.unplaced(looks.resolved(look, this.presets));
  }

  /**
   * Whether `unplaced` shows something else than the look.
   * @param {Fields} look
   */
  isPlaced(look) {
    const resolved = looks.resolved(look, this.presets);
    return isFramed(resolved) || looks.isMoved(resolved);
  }

  /**
   * Whether a look has another frame than the photo; false until the layers are loaded.
   * @param {Cutout} cutout
   * @param {Fields} look
   */
  isFramed(cutout, look) {
    return this.#loaded.has(cutout.url) && isFramed(looks.resolved(look, this.presets));
  }

  /**
   * The frame of a look; null until the layers are loaded.
   * @param {Cutout} cutout
   * @param {Fields} fields
   * @returns {LookFrame | null}
   */
  frameOf(cutout, fields) {
    const layers = this.#loaded.get(cutout.url);
    if (!layers) return null;
    const look = looks.resolved(fields, this.presets);
    const subject = this.#subjectOf(layers, look);
    const framing = this.#framingOf(layers, look, subject);
    return {
      size: framing.canvas,
      isExact: subject?.isExact !== false || !look.crop || Boolean(look.output_size),
      subject: subject && placedBox(subject.fullBox, cutout, framing),
    };
  }

  /**
   * The look on a canvas of its preview's size; null until the layers are loaded. It is kept, so that it is shown again
   * at no cost once it is a step.
   * @param {Cutout} cutout
   * @param {Fields} fields
   * @param {string | null} [backgroundUrl]
   * @returns {OffscreenCanvas | null}
   */
  compose(cutout, fields, backgroundUrl = cutout.backgroundUrl) {
    const layers = this.#loaded.get(cutout.url);
    if (!layers) return null;
    const look = looks.resolved(fields, this.presets);
    if ((look.bg_image_id || look.bg_scene) && !(backgroundUrl && this.#backgrounds.has(backgroundUrl)))
      return null;
    const key = JSON.stringify([Object.entries(look).sort(), backgroundUrl]);
    return this.#kept.get("look", key, () => this.#compose(layers, look, backgroundUrl), layers);
  }

  /**
   * @param {Layers} layers
   * @param {Fields} look
   * @param {string | null} backgroundUrl
   */
  #compose(layers, look, backgroundUrl) {
    const subject = this.#subjectOf(layers, look);
    const framing = this.#framingOf(layers, look, subject);
    const canvas = new OffscreenCanvas(framing.size.width, framing.size.height);
    const context = offscreenContextOf(canvas);
    this.#drawBackground(context, layers, look, backgroundUrl, framing);
    if (subject) {
      const placed = this.#placed(layers, look, subject, framing);
      const shadow = this.#shadowOf(look, placed, framing);
      if (shadow) context.drawImage(shadow, 0, 0, canvas.width, canvas.height);
      context.drawImage(placed.canvas, 0, 0);
    }
    if (layers.mark) drawMark(canvas, layers.mark);
    return canvas;
  }

  /**
   * The photo in the frame of a look, to compare with it; null until the layers are loaded.
   * @param {Cutout} cutout
   * @param {Fields} fields
   */
  photoIn(cutout, fields) {
    const layers = this.#loaded.get(cutout.url);
    if (!layers) return null;
    const look = looks.resolved(fields, this.presets);
    const { size, picture } = this.#framingOf(layers, look, this.#subjectOf(layers, look));
    const canvas = new OffscreenCanvas(size.width, size.height);
    const context = offscreenContextOf(canvas);
    context.imageSmoothingQuality = "high";
    context.drawImage(layers.photo, picture.x, picture.y, picture.width, picture.height);
    return canvas;
  }

  /**
   * What is behind the subject in the frame of a look; transparent without a background. By default the frame is that of
   * the photo, for strokes that erase the subject.
   * @param {Cutout} cutout
   * @param {Fields} [fields]
   */
  background(cutout, fields = this.unplaced(cutout.look)) {
    const layers = this.#loaded.get(cutout.url);
    if (!layers) return null;
    const look = looks.resolved(fields, this.presets);
    const framing = this.#framingOf(layers, look, this.#subjectOf(layers, look));
    const canvas = new OffscreenCanvas(framing.size.width, framing.size.height);
    this.#drawBackground(offscreenContextOf(canvas), layers, look, cutout.backgroundUrl, framing);
    return canvas;
  }

  /**
   * @param {Layers} layers
   * @param {Fields} look
   * @param {Subject | null} subject
   */
  #framingOf({ cutout, size, scale }, look, subject) {
    if (!isFramed(look)) return wholeFraming(cutout, size);
    const box = subject?.outlinedBox ?? { x: 0, y: 0, width: cutout.width, height: cutout.height };
    const isTurned = Number(look.subject_rotate || "0") !== 0 || Number(look.subject_scale || "100") !== 100;
    return framingOf(placementOf(look, box, cutout), cutout, scale, isTurned);
  }

  /**
   * @param {OffscreenCanvasRenderingContext2D} context
   * @param {Layers} layers
   * @param {Fields} look
   * @param {string | null} backgroundUrl
   * @param {Framing} framing
   */
  #drawBackground(context, layers, look, backgroundUrl, framing) {
    const isPicture = look.bg_image_id || look.bg_scene;
    const picture = isPicture && backgroundUrl ? (this.#backgrounds.get(backgroundUrl) ?? null) : null;
    const { size } = framing;
    const blur = Number(look.bg_blur || "0");
    if (picture) {
      backgrounds.drawCovering(context, picture, size);
    } else if (look.bg_gradient) {
      backgrounds.drawGradient(context, look.bg_gradient, size);
    } else if (blur) {
      const small = this.#kept.get("blur", `${blur}`, () => backgrounds.blurredPhoto(layers, blur), layers);
      if (framing.keepsPixels) backgrounds.drawExtended(context, small, framing.picture, size);
      else backgrounds.drawCovering(context, small, size);
    } else if (look.bg_color) {
      context.fillStyle = looks.cssColor(look.bg_color);
      context.fillRect(0, 0, size.width, size.height);
    }
  }

  /**
   * @param {Layers} layers
   * @param {Fields} look
   * @returns {Subject | null} null if nothing is visible
   */
  #subjectOf(layers, look) {
    const names = ["shift_edge", "feather", "decontaminate", "outline_width"];
    const key = JSON.stringify(names.map((name) => look[name] ?? ""));
    return this.#kept.get("subject", key, () => subjectOf(layers, look), layers);
  }

  /**
   * The subject alone with its outline, where it is on the preview.
   * @param {Layers} layers
   * @param {Fields} look
   * @param {Subject} subject
   * @param {Framing} framing
   * @returns {Placed}
   */
  #placed({ cutout }, look, subject, framing) {
    const move = looks.moveOf(look, framing.canvas, framing.scale);
    if (!subject.outlineWidth) return this.#moved(subject, framing, move, 0);
    const outline = {
      width: subject.outlineWidth,
      scale: (framing.picture.width / cutout.width) * move.scale,
      color: look.outline_color || "#ffffff",
    };
    // Around what is moved beyond the frame, too.
    const room = looks.moves(move) ? roomFor(outline, framing.scale) : 0;
    const bare = this.#moved(subject, framing, move, room);
    const key = JSON.stringify(outline);
    return this.#kept.get("outlined", key, () => outlined(bare, outline, framing.size), bare);
  }

  /**
   * The subject without its outline, where it is on a preview with `room` around it.
   * @param {Subject} subject
   * @param {Framing} framing
   * @param {looks.Move} move
   * @param {number} room
   * @returns {Placed}
   */
  #moved(subject, framing, move, room) {
    const inFrame = this.#framed(subject, framing);
    if (!looks.moves(move)) return inFrame;
    // Where it is seen, because filters move its edge, and not where its box was placed.
    const box = inFrame === subject ? subject.box : planes.objectBox(this.#alphaOf(inFrame), framing.size);
    if (!box) return inFrame;
    const middle = looks.middleOf(box);
    const key = JSON.stringify([move, middle, room]);
    return this.#kept.get("moved", key, () => moved(inFrame.canvas, middle, move, room), inFrame);
  }

  /**
   * The subject alone in its frame, without its move.
   * @param {Subject} subject
   * @param {Framing} framing
   * @returns {Placed}
   */
  #framed(subject, framing) {
    if (isWhole(framing, subject.canvas)) return subject;
    const key = JSON.stringify([framing.picture, framing.size]);
    return this.#kept.get("framed", key, () => framed(subject, framing), subject);
  }

  /** @param {Placed} placed */
  #alphaOf(placed) {
    return this.#kept.get("alpha", "", () => alphaOf(placed.pixels ?? pixelsOf(placed.canvas)), placed);
  }

  /**
   * @param {Fields} look
   * @param {Placed} placed
   * @param {Framing} framing
   */
  #shadowOf(look, placed, framing) {
    if (look.shadow !== "drop" && look.shadow !== "contact") return null;
    const names = Object.keys(look).filter((name) => name.startsWith("shadow"));
    const key = JSON.stringify([names.map((name) => [name, look[name]]), framing.scale]);
    const alpha = this.#kept.get(
      "alpha",
      "",
      () => alphaOf(placed.pixels ?? pixelsOf(placed.canvas)),
      placed,
    );
    return this.#kept.get("shadow", key, () => shadowCanvas(alpha, framing, look), placed);
  }
}

/** What was computed last for each purpose, as long as it stays the same. */
class Kept {
  /** @type {Map<string, { key: string, source: unknown, value: any }[]>} */
  #values = new Map();

  /**
   * @template Value
   * @param {keyof typeof KEPT} purpose
   * @param {string} key
   * @param {() => Value} compute
   * @param {unknown} source an object that the value depends on, too
   * @returns {Value}
   */
  get(purpose, key, compute, source) {
    const values = this.#values.get(purpose) ?? [];
    const kept = values.find((one) => one.key === key && one.source === source);
    const newest = kept ?? { key, source, value: compute() };
    const others = values.filter((one) => one !== kept);
    this.#values.set(purpose, [newest, ...others].slice(0, KEPT[purpose]));
    return newest.value;
  }
}

/**
 * @param {Framing} framing
 * @param {Size} size of the picture's preview
 */
function isWhole({ picture }, size) {
  return picture.x === 0 && picture.y === 0 && picture.width === size.width && picture.height === size.height;
}
