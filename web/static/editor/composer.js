// Draws looks of a cut-out at the preview's size, from the kept cut-out and its photo, in the next frame. The server
// draws the same look at full size when it is needed.

import { offscreenContextOf } from "./canvas.js";
import * as backgrounds from "./backgrounds.js";
import { loadImage } from "./images.js";
import { Kept } from "./kept.js";
import { alphaOf, loadLayers, pixelsOf, subjectOf } from "./layers.js";
import * as looks from "./looks.js";
import { outlined, outlinedQuickly, roomFor, withRoom } from "./outlines.js";
import { framingOf, isFramed, placedBox, placementOf, wholeFraming } from "./placement.js";
import * as placing from "./placing.js";
import * as planes from "./planes.js";
import { drawMark } from "./preview_mark.js";
import { shadowCanvas, shadowThumbnail } from "./shadows.js";
import { finished, finishedInSlices } from "./steps.js";

/** @import { Layers, Subject } from "./layers.js" */
/** @import { Framing } from "./placement.js" */
/** @import { Plane } from "./planes.js" */
/** @import { Placed } from "./placing.js" */
/** @import { Steps } from "./steps.js" */
/** @import { Cutout, Fields, Frame, Point, Preset, Size } from "./types.js" */

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
/** How many results of each kind are kept. */
const KEPT = {
  look: 3,
  subject: 1,
  framed: 4,
  moved: 1,
  outlined: 2,
  alpha: 2,
  shadow: 3,
  blur: 1,
  covering: 1,
};

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
  #kept = new Kept(KEPT);

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
    for (const look of FIRST_LOOKS)
      await finishedInSlices(this.#ingredients(layers, { ...shown, ...look }), signal);
  }

  /**
   * @param {Layers} layers
   * @param {Fields} look
   * @returns {Steps<void>}
   */
  *#ingredients(layers, look) {
    if (Number(look.bg_blur || "0")) yield* this.#blurOf(layers, look.bg_blur);
    const subject = this.#subjectOf(layers, look);
    yield;
    if (!subject) return;
    const framing = this.#framingOf(layers, look, subject);
    const placed = yield* this.#placed(layers, look, subject, framing, null);
    yield* this.#shadowOf(look, placed, framing, null);
  }

  /**
   * @param {Cutout} cutout
   * @param {Fields} fields
   * @param {string | null} backgroundUrl
   * @param {{ isExact: boolean } | null} [draft] says afterwards whether the look was drawn exactly; by default it is
   * @returns {Steps<OffscreenCanvas> | null}
   */
  #composing(cutout, fields, backgroundUrl, draft = null) {
    const layers = this.#loaded.get(cutout.url);
    if (!layers) return null;
    const look = looks.resolved(fields, this.presets);
    if ((look.bg_image_id || look.bg_scene) && !(backgroundUrl && this.#backgrounds.has(backgroundUrl)))
      return null;
    const key = JSON.stringify([Object.entries(look).sort(), backgroundUrl]);
    const compose = () => this.#compose(layers, look, backgroundUrl, draft);
    if (!draft || this.#kept.has("look", key, layers)) return this.#kept.get("look", key, layers, compose);
    return this.#drafting(key, layers, compose, draft);
  }

  /**
   * @param {string} key
   * @param {Layers} layers
   * @param {() => Steps<OffscreenCanvas>} compose
   * @param {{ isExact: boolean }} draft
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
   * @param {{ isExact: boolean } | null} draft
   * @returns {Steps<OffscreenCanvas>}
   */
  *#compose(layers, look, backgroundUrl, draft) {
    const subject = this.#subjectOf(layers, look);
    yield;
    const framing = this.#framingOf(layers, look, subject);
    const canvas = new OffscreenCanvas(framing.size.width, framing.size.height);
    const context = offscreenContextOf(canvas);
    yield* this.#drawBackground(context, layers, look, backgroundUrl, framing, draft);
    if (subject) {
      const placed = yield* this.#placed(layers, look, subject, framing, draft);
      const shadow = yield* this.#shadowOf(look, placed, framing, draft);
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
    const context = offscreenContextOf(canvas);
    finished(this.#drawBackground(context, layers, look, cutout.backgroundUrl, framing, null));
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
   * @param {{ isExact: boolean } | null} draft
   * @returns {Steps<void>}
   */
  *#drawBackground(context, layers, look, backgroundUrl, framing, draft) {
    const isPicture = look.bg_image_id || look.bg_scene;
    const picture = isPicture && backgroundUrl ? (this.#backgrounds.get(backgroundUrl) ?? null) : null;
    const { size } = framing;
    if (picture) {
      const key = JSON.stringify(size);
      if (this.#isDrafted(draft, "covering", key, picture)) {
        backgrounds.drawCovering(context, picture, size);
        return;
      }
      const compute = () => backgrounds.covering(picture, size);
      context.drawImage(yield* this.#kept.get("covering", key, picture, compute), 0, 0);
    } else if (look.bg_gradient) {
      backgrounds.drawGradient(context, look.bg_gradient, size);
    } else if (Number(look.bg_blur || "0")) {
      const small = this.#isDrafted(draft, "blur", look.bg_blur, layers)
        ? backgrounds.blurredThumbnail(layers, Number(look.bg_blur))
        : yield* this.#blurOf(layers, look.bg_blur);
      if (framing.keepsPixels) backgrounds.drawExtended(context, small, framing.picture, size);
      else backgrounds.drawCovering(context, small, size);
    } else if (look.bg_color) {
      context.fillStyle = looks.cssColor(look.bg_color);
      context.fillRect(0, 0, size.width, size.height);
    }
  }

  /**
   * Whether something is to be drawn roughly, because it is not kept.
   * @param {{ isExact: boolean } | null} draft
   * @param {keyof typeof KEPT} purpose
   * @param {string} key
   * @param {unknown} source
   */
  #isDrafted(draft, purpose, key, source) {
    if (!draft || this.#kept.has(purpose, key, source)) return false;
    draft.isExact = false;
    return true;
  }

  /**
   * @param {Layers} layers
   * @param {string} strength
   * @returns {Steps<OffscreenCanvas>}
   */
  #blurOf(layers, strength) {
    return this.#kept.get("blur", strength, layers, () => backgrounds.blurredPhoto(layers, Number(strength)));
  }

  /**
   * @param {Layers} layers
   * @param {Fields} look
   * @returns {Subject | null} null if nothing is visible
   */
  #subjectOf(layers, look) {
    const names = ["shift_edge", "feather", "decontaminate", "outline_width"];
    const key = JSON.stringify(names.map((name) => look[name] ?? ""));
    return finished(this.#kept.get("subject", key, layers, () => once(() => subjectOf(layers, look))));
  }

  /**
   * The subject alone with its outline, where it is on the preview.
   * @param {Layers} layers
   * @param {Fields} look
   * @param {Subject} subject
   * @param {Framing} framing
   * @param {{ isExact: boolean } | null} draft
   * @returns {Steps<Placed>}
   */
  *#placed(layers, look, subject, framing, draft) {
    const move = looks.moveOf(look, framing.canvas, framing.scale);
    if (!subject.outlineWidth) return yield* this.#moved(layers, subject, framing, move, 0, draft);
    const outline = {
      width: subject.outlineWidth,
      scale: (framing.picture.width / layers.cutout.width) * move.scale,
      color: look.outline_color || "#ffffff",
    };
    // Around what is moved beyond the frame, too.
    const room = looks.moves(move) ? roomFor(outline, framing.scale) : 0;
    const bare = yield* this.#moved(layers, subject, framing, move, room, draft);
    const key = JSON.stringify(outline);
    if (this.#isDrafted(draft, "outlined", key, bare)) return outlinedQuickly(bare, outline, framing.size);
    const compute = () => once(() => outlined(bare, outline, framing.size));
    return yield* this.#kept.get("outlined", key, bare, compute);
  }

  /**
   * The subject without its outline, where it is on a preview with `room` around it.
   * @param {Layers} layers
   * @param {Subject} subject
   * @param {Framing} framing
   * @param {looks.Move} move
   * @param {number} room
   * @param {{ isExact: boolean } | null} draft
   * @returns {Steps<Placed>}
   */
  *#moved(layers, subject, framing, move, room, draft) {
    const inFrame = yield* this.#framed(subject, framing, draft);
    if (!looks.moves(move)) return inFrame;
    const place = placedBox(subject.fullBox, layers.cutout, framing);
    const middle = looks.middleOf(place);
    const about = { x: middle.x * framing.scale + room, y: middle.y * framing.scale + room };
    const key = JSON.stringify([move, about, room]);
    const turn = () => placing.turned(withRoom(inFrame, room).canvas, about, move);
    if (move.scale >= placing.SMALLEST_INTERPOLATED)
      return yield* this.#kept.get("moved", key, inFrame, () => once(turn));
    if (this.#isDrafted(draft, "moved", key, inFrame)) return turn();
    const box = planes.objectBox(yield* this.#alphaOf(inFrame), framing.size);
    if (!box) return inFrame;
    yield;
    const shrink = () =>
      placing.shrunk(withRoom(inFrame, room), { ...box, x: box.x + room, y: box.y + room }, about, move);
    return yield* this.#kept.get("moved", key, inFrame, () => once(shrink));
  }

  /**
   * The subject alone in its frame, without its move.
   * @param {Subject} subject
   * @param {Framing} framing
   * @param {{ isExact: boolean } | null} draft
   * @returns {Steps<Placed>}
   */
  *#framed(subject, framing, draft) {
    if (placing.isWhole(framing, subject.canvas)) return subject;
    const key = JSON.stringify([framing.picture, framing.size]);
    if (!placing.keepsPixels(subject, framing) && this.#isDrafted(draft, "framed", key, subject))
      return placing.framedQuickly(subject, framing);
    return yield* this.#kept.get("framed", key, subject, () => placing.framed(subject, framing));
  }

  /**
   * @param {Placed} placed
   * @returns {Steps<Plane>}
   */
  #alphaOf(placed) {
    return this.#kept.get("alpha", "", placed, () =>
      once(() => alphaOf(placed.pixels ?? pixelsOf(placed.canvas))),
    );
  }

  /**
   * @param {Fields} look
   * @param {Placed} placed
   * @param {Framing} framing
   * @param {{ isExact: boolean } | null} draft
   * @returns {Steps<OffscreenCanvas | null>}
   */
  *#shadowOf(look, placed, framing, draft) {
    if (look.shadow !== "drop" && look.shadow !== "contact") return null;
    const names = Object.keys(look).filter((name) => name.startsWith("shadow"));
    const key = JSON.stringify([names.sort().map((name) => [name, look[name]]), framing.scale]);
    if (this.#isDrafted(draft, "shadow", key, placed)) return shadowThumbnail(placed.canvas, framing, look);
    const alpha = yield* this.#alphaOf(placed);
    yield;
    return yield* this.#kept.get("shadow", key, placed, () => shadowCanvas(alpha, framing, look));
  }
}

/**
 * A computation in one step.
 * @template Value
 * @param {() => Value} compute
 * @returns {Steps<Value>}
 */
// eslint-disable-next-line require-yield -- a computation that is too short to pause
function* once(compute) {
  return compute();
}
