// Draws looks of a cut-out at the preview's size, from the kept cut-out and its photo, in the next frame. The server
// draws the same look at full size when it is needed.

import { losslessUrl } from "./api.js";
import { offscreenContextOf } from "./canvas.js";
import { loadImage } from "./images.js";
import { Kept } from "./kept.js";
import { hasBackground, loadLayers } from "./layers.js";
import { LookParts } from "./look_parts.js";
import * as looks from "./looks.js";
import { isFramed, placedBox } from "./placement.js";
import { drawMark } from "./preview_mark.js";
import { finished, finishedInSlices } from "./steps.js";

/** @import { Layers } from "./layers.js" */
/** @import { Drafting } from "./look_parts.js" */
/** @import { Steps } from "./steps.js" */
/** @import { Cutout, Fields, Frame, Preset, Size } from "./types.js" */

/**
 * The frame of a look in full resolution.
 * @typedef {object} LookFrame
 * @property {Size} size
 * @property {boolean} isExact whether the server's has that size for sure
 * @property {Frame | null} subject where it is without its move, if anything of it is visible
 */

/**
 * A look that is drawn within one frame: what takes longer is drawn roughly.
 * @typedef {object} Draft
 * @property {OffscreenCanvas} canvas
 * @property {boolean} isExact whether nothing is
 */

/**
 * Looks that are often chosen first.
 * @type {Fields[]}
 */
const FIRST_LOOKS = [{ bg_blur: "30" }, { shadow: "drop" }, { shadow: "contact" }];
const LAYERS_KEPT = 4;
/** How many looks are kept. */
const KEPT = { look: 3 };

export class Composer {
  /** @param {Preset[]} presets what the looks' presets stand for */
  constructor(presets) {
    this.presets = presets;
  }

  /** @type {Map<string, Promise<Layers>>} */
  #loading = new Map();
  /** @type {Map<string, Layers>} */
  #loaded = new Map();
  /**
   * Pictures behind subjects, by their addresses without the signature, which each answer of the server has anew.
   * @type {Map<string, HTMLImageElement>}
   */
  #backgrounds = new Map();
  /**
   * The same without loss.
   * @type {Map<string, HTMLImageElement>}
   */
  #sharpBackgrounds = new Map();
  /**
   * Pictures on their way, by the same addresses, so that two looks that need one do not both ask for it.
   * @type {Map<string, Promise<void>>}
   */
  #arriving = new Map();
  #kept = new Kept(KEPT);
  #parts = new LookParts();

  /**
   * Loads the layers of a cut-out, and the background picture of a look.
   * @param {Cutout} cutout
   * @param {string | null} [backgroundUrl]
   */
  async load(cutout, backgroundUrl = cutout.backgroundUrl) {
    const background = backgroundUrl ? this.#loadBackground(backgroundUrl) : null;
    background?.catch(() => {}); // reported below, unless the layers fail first
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

  /**
   * Loads previews of the photo and of a background picture that are hardly compressed, for looks that show them: a
   * download is drawn from the pictures themselves. Resolves to whether the look is now drawn from another preview than
   * before.
   * @param {Cutout} cutout
   * @param {Fields} fields
   * @param {string | null} [backgroundUrl]
   */
  async sharpen(cutout, fields, backgroundUrl = cutout.backgroundUrl) {
    const look = looks.resolved(fields, this.presets);
    const layers = this.#loaded.get(cutout.url);
    let isChanged = false;
    try {
      if (look.bg_image_id && backgroundUrl && !this.#sharpBackgrounds.has(pathOf(backgroundUrl))) {
        await this.#loadOnce(losslessUrl(backgroundUrl), this.#sharpBackgrounds, pathOf(backgroundUrl));
        isChanged = true;
      }
      if (looks.showsPhoto(look) && layers && !layers.sharpPhoto) {
        layers.sharpPhoto = await loadImage(cutout.sharpPhotoUrl);
        isChanged = true;
      }
    } catch {
      return isChanged; // the other previews look nearly the same
    }
    return isChanged;
  }

  /** @param {string} url */
  async #loadBackground(url) {
    if (!this.#backgrounds.has(pathOf(url))) await this.#loadOnce(url, this.#backgrounds, pathOf(url));
  }

  /**
   * @param {string} url
   * @param {Map<string, HTMLImageElement>} loaded where the picture is kept
   * @param {string} key
   */
  #loadOnce(url, loaded, key) {
    const known = this.#arriving.get(pathOf(url));
    if (known) return known;
    const arriving = loadImage(url)
      .then((image) => void loaded.set(key, image))
      .finally(() => this.#arriving.delete(pathOf(url)));
    this.#arriving.set(pathOf(url), arriving);
    return arriving;
  }

  /**
   * Whether the photo of a cut-out has a background that can be blurred; null until the layers are loaded.
   * @param {Cutout} cutout
   */
  hasBackground(cutout) {
    const layers = this.#loaded.get(cutout.url);
    return layers ? hasBackground(layers) : null;
  }

  /**
   * The look as these layers can have it: without a background, there is nothing to blur.
   * @param {Layers} layers
   * @param {Fields} fields
   */
  #lookOf(layers, fields) {
    const isBlurred = Number(fields.bg_blur || "0") > 0;
    return looks.resolved(
      isBlurred && !hasBackground(layers) ? { ...fields, bg_blur: "" } : fields,
      this.presets,
    );
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
   * The frame of a look, roughly as long as only its draft was drawn; null until the layers are loaded.
   * @param {Cutout} cutout
   * @param {Fields} fields
   * @returns {LookFrame | null}
   */
  frameOf(cutout, fields) {
    const layers = this.#loaded.get(cutout.url);
    if (!layers) return null;
    const look = this.#lookOf(layers, fields);
    const subject = this.#parts.subjectBox(layers, look, { isExact: true });
    const framing = this.#parts.framing(layers, look, subject);
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
    const composing = this.#composing(cutout, fields, backgroundUrl);
    return composing && finished(composing);
  }

  /**
   * The same, computed in slices while the page is idle. Rejects once the signal is aborted.
   * @param {Cutout} cutout
   * @param {Fields} fields
   * @param {string | null} [backgroundUrl]
   * @param {AbortSignal} [signal]
   * @returns {Promise<OffscreenCanvas | null>}
   */
  async composeInSlices(cutout, fields, backgroundUrl = cutout.backgroundUrl, signal) {
    const composing = this.#composing(cutout, fields, backgroundUrl);
    return composing && finishedInSlices(composing, signal);
  }

  /**
   * The look within one frame; null until the layers are loaded.
   * @param {Cutout} cutout
   * @param {Fields} fields
   * @param {string | null} [backgroundUrl]
   * @returns {Draft | null}
   */
  draft(cutout, fields, backgroundUrl = cutout.backgroundUrl) {
    const draft = { isExact: true };
    const composing = this.#composing(cutout, fields, backgroundUrl, draft);
    return composing && { canvas: finished(composing), isExact: draft.isExact };
  }

  /**
   * Computes what looks that are often chosen first need, in slices while the page is idle. Rejects once the signal is
   * aborted.
   * @param {Cutout} cutout
   * @param {AbortSignal} signal
   */
  async warmUp(cutout, signal) {
    const layers = this.#loaded.get(cutout.url);
    if (!layers) return;
    const shown = looks.resolved(cutout.look, this.presets);
    for (const first of FIRST_LOOKS) {
      const look = this.#lookOf(layers, { ...shown, ...first });
      await finishedInSlices(this.#parts.prepare(layers, look), signal);
    }
  }

  /**
   * @param {Cutout} cutout
   * @param {Fields} fields
   * @param {string | null} backgroundUrl
   * @param {Drafting | null} [draft] says afterwards whether the look was drawn exactly; by default it is
   * @returns {Steps<OffscreenCanvas> | null}
   */
  #composing(cutout, fields, backgroundUrl, draft = null) {
    const layers = this.#loaded.get(cutout.url);
    if (!layers) return null;
    const look = this.#lookOf(layers, fields);
    const background = backgroundUrl && pathOf(backgroundUrl);
    if ((look.bg_image_id || look.bg_scene) && !(background && this.#backgrounds.has(background)))
      return null;
    const isSharp = looks.showsPhoto(look) && layers.sharpPhoto !== null;
    const isSharpBehind = background !== null && this.#sharpBackgrounds.has(background);
    const key = JSON.stringify([Object.entries(look).sort(), background, isSharp, isSharpBehind]);
    const compose = () => this.#compose(layers, look, backgroundUrl, draft);
    if (!draft || this.#kept.has("look", key, layers)) return this.#kept.get("look", key, layers, compose);
    return this.#drafting(key, layers, compose, draft);
  }

  /**
   * @param {string} key
   * @param {Layers} layers
   * @param {() => Steps<OffscreenCanvas>} compose
   * @param {Drafting} draft
   * @returns {Steps<OffscreenCanvas>}
   */
  *#drafting(key, layers, compose, draft) {
    const canvas = yield* compose();
    if (draft.isExact) this.#kept.keep("look", key, layers, canvas);
    return canvas;
  }

  /**
   * @param {Layers} layers
   * @param {Fields} look
   * @param {string | null} backgroundUrl
   * @param {Drafting | null} draft
   * @returns {Steps<OffscreenCanvas>}
   */
  *#compose(layers, look, backgroundUrl, draft) {
    const subject = yield* this.#parts.subject(layers, look, draft);
    yield;
    const framing = this.#parts.framing(layers, look, subject);
    const canvas = new OffscreenCanvas(framing.size.width, framing.size.height);
    const context = offscreenContextOf(canvas);
    const picture = this.#pictureBehind(look, backgroundUrl);
    yield* this.#parts.drawBackground(context, layers, look, picture, framing, draft);
    if (subject) {
      const placed = yield* this.#parts.placed(layers, look, subject, framing, draft);
      const shadow = yield* this.#parts.shadow(look, placed, framing, draft);
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
    const look = this.#lookOf(layers, fields);
    const { size, picture } = this.#parts.framing(layers, look, this.#parts.subjectBox(layers, look));
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
    const look = this.#lookOf(layers, fields);
    const framing = this.#parts.framing(layers, look, this.#parts.subjectBox(layers, look));
    const canvas = new OffscreenCanvas(framing.size.width, framing.size.height);
    const context = offscreenContextOf(canvas);
    const picture = this.#pictureBehind(look, cutout.backgroundUrl);
    finished(this.#parts.drawBackground(context, layers, look, picture, framing));
    return canvas;
  }
  /**
   * The picture that a look has behind the subject, if it is loaded.
   * @param {Fields} look
   * @param {string | null} url
   */
  #pictureBehind(look, url) {
    const isPicture = look.bg_image_id || look.bg_scene;
    if (!isPicture || !url) return null;
    return this.#sharpBackgrounds.get(pathOf(url)) ?? this.#backgrounds.get(pathOf(url)) ?? null;
  }
}

/** @param {string} url */
function pathOf(url) {
  return url.split("?")[0];
}
