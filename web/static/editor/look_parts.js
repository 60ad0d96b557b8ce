// The parts of a cut-out's look: its frame, the subject in it, its shadow, and the background. The last of each are kept.

import * as backgrounds from "./backgrounds.js";
import { Kept } from "./kept.js";
import { alphaOf, pixelsOf } from "./layers.js";
import * as looks from "./looks.js";
import { outlined, outlinedQuickly, roomFor, withRoom } from "./outlines.js";
import { framingOf, isFramed, placedBox, placementOf, wholeFraming } from "./placement.js";
import * as placing from "./placing.js";
import { objectBox } from "./planes.js";
import { shadowCanvas, shadowThumbnail } from "./shadows.js";
import { finished } from "./steps.js";
import { changesEdge, subjectOf, subjectThumbnail } from "./subjects.js";

/** @import { Picture } from "./images.js" */
/** @import { Layers } from "./layers.js" */
/** @import { Framing } from "./placement.js" */
/** @import { Plane } from "./planes.js" */
/** @import { Placed } from "./placing.js" */
/** @import { Steps } from "./steps.js" */
/** @import { Subject } from "./subjects.js" */
/** @import { Fields } from "./types.js" */

/**
 * Allows that what takes longer than a frame is drawn roughly.
 * @typedef {object} Drafting
 * @property {boolean} isExact whether nothing was
 */

/** @typedef {Pick<Subject, "fullBox" | "outlinedBox" | "isExact">} SubjectBox */

/** How many results of each kind are kept. */
const KEPT = {
  box: 20,
  subject: 1,
  thumbnail: 1,
  framed: 4,
  moved: 1,
  outlined: 2,
  alpha: 2,
  shadow: 3,
  blur: 1,
  covering: 1,
};

export class LookParts {
  #kept = new Kept(KEPT);

  /**
   * Computes the blur, the subject and the shadow of a look, which are kept for when it is drawn.
   * @param {Layers} layers
   * @param {Fields} look
   * @returns {Steps<void>}
   */
  *prepare(layers, look) {
    if (Number(look.bg_blur || "0")) yield* this.#blurOf(layers, look);
    const subject = yield* this.subject(layers, look);
    yield;
    if (!subject) return;
    const framing = this.framing(layers, look, subject);
    const placed = yield* this.placed(layers, look, subject, framing);
    yield* this.shadow(look, placed, framing);
  }

  /**
   * @param {Layers} layers
   * @param {Fields} look
   * @param {Pick<Subject, "outlinedBox"> | null} subject
   */
  framing({ cutout, size, scale }, look, subject) {
    if (!isFramed(look)) return wholeFraming(cutout, size);
    const box = subject?.outlinedBox ?? { x: 0, y: 0, width: cutout.width, height: cutout.height };
    const isTurned = Number(look.subject_rotate || "0") !== 0 || Number(look.subject_scale || "100") !== 100;
    return framingOf(placementOf(look, box, cutout), cutout, scale, isTurned);
  }

  /**
   * The subject with its edge, where it is in the photo.
   * @param {Layers} layers
   * @param {Fields} look
   * @param {Drafting | null} [draft]
   * @returns {Steps<Subject | null>} null if nothing is visible
   */
  *subject(layers, look, draft = null) {
    const key = subjectKey(layers, look);
    if (changesEdge(look) && this.#isDrafted(draft, "subject", key, layers)) {
      const compute = () => once(() => subjectThumbnail(layers, look));
      return yield* this.#kept.get("thumbnail", key, layers, compute);
    }
    const compute = () => subjectOf(layers, look, photoOf(layers, look));
    const subject = yield* this.#kept.get("subject", key, layers, compute);
    this.#kept.keep("box", key, layers, subject && boxOf(subject));
    return subject;
  }

  /**
   * Where the subject is in the photo; in a draft roughly if that was not computed yet.
   * @param {Layers} layers
   * @param {Fields} look
   * @param {Drafting | null} [draft]
   * @returns {SubjectBox | null}
   */
  subjectBox(layers, look, draft = null) {
    const compute = () => this.subject(layers, look, draft);
    const key = subjectKey(layers, look);
    /** @type {Steps<SubjectBox | null>} */
    const box = this.#kept.has("box", key, layers) ? this.#kept.get("box", key, layers, compute) : compute();
    return finished(box);
  }

  /**
   * The subject alone with its outline, where it is on the preview.
   * @param {Layers} layers
   * @param {Fields} look
   * @param {Subject} subject
   * @param {Framing} framing
   * @param {Drafting | null} [draft]
   * @returns {Steps<Placed>}
   */
  *placed(layers, look, subject, framing, draft = null) {
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
    const compute = () => outlined(bare, outline, framing.size);
    return yield* this.#kept.get("outlined", key, bare, compute);
  }

  /**
   * The subject without its outline, where it is on a preview with `room` around it.
   * @param {Layers} layers
   * @param {Subject} subject
   * @param {Framing} framing
   * @param {looks.Move} move
   * @param {number} room
   * @param {Drafting | null} draft
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
    const box = objectBox(yield* this.#alphaOf(inFrame), framing.size);
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
   * @param {Drafting | null} draft
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
   * @param {Placed} placed the subject
   * @param {Framing} framing
   * @param {Drafting | null} [draft]
   * @returns {Steps<OffscreenCanvas | null>}
   */
  *shadow(look, placed, framing, draft = null) {
    if (look.shadow !== "drop" && look.shadow !== "contact") return null;
    const names = Object.keys(look).filter((name) => name.startsWith("shadow"));
    const key = JSON.stringify([names.sort().map((name) => [name, look[name]]), framing.scale]);
    if (this.#isDrafted(draft, "shadow", key, placed)) return shadowThumbnail(placed.canvas, framing, look);
    const alpha = yield* this.#alphaOf(placed);
    yield;
    return yield* this.#kept.get("shadow", key, placed, () => shadowCanvas(alpha, framing, look));
  }

  /**
   * Draws what is behind the subject.
   * @param {OffscreenCanvasRenderingContext2D} context
   * @param {Layers} layers
   * @param {Fields} look
   * @param {HTMLImageElement | null} picture what the look has in the background, if that is a picture
   * @param {Framing} framing
   * @param {Drafting | null} [draft]
   * @returns {Steps<void>}
   */
  *drawBackground(context, layers, look, picture, framing, draft = null) {
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
      const small = this.#isDrafted(draft, "blur", this.#blurKey(layers, look), layers)
        ? backgrounds.blurredThumbnail(layers, Number(look.bg_blur))
        : yield* this.#blurOf(layers, look);
      if (framing.keepsPixels) backgrounds.drawExtended(context, small, framing.picture, size);
      else backgrounds.drawCovering(context, small, size);
    } else if (look.bg_color) {
      context.fillStyle = looks.cssColor(look.bg_color);
      context.fillRect(0, 0, size.width, size.height);
    }
  }

  /**
   * Whether something is to be drawn roughly, because it is not kept.
   * @param {Drafting | null} draft
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
   * @param {Fields} look
   */
  #blurKey(layers, look) {
    return JSON.stringify([look.bg_blur, photoOf(layers, look) === layers.photo]);
  }

  /**
   * @param {Layers} layers
   * @param {Fields} look
   * @returns {Steps<OffscreenCanvas>}
   */
  #blurOf(layers, look) {
    const compute = () => backgrounds.blurredPhoto(layers, photoOf(layers, look), Number(look.bg_blur));
    return this.#kept.get("blur", this.#blurKey(layers, look), layers, compute);
  }
}

/**
 * What is kept of a subject longer than its pixels.
 * @param {Subject} subject
 * @returns {SubjectBox}
 */
function boxOf({ fullBox, outlinedBox, isExact }) {
  return { fullBox, outlinedBox, isExact };
}

/**
 * @param {Layers} layers
 * @param {Fields} look
 */
function subjectKey(layers, look) {
  const names = ["shift_edge", "feather", "decontaminate", "outline_width"];
  const isTinted = look.decontaminate === "false";
  const fields = names.map((name) => look[name] ?? "");
  return JSON.stringify([...fields, isTinted && photoOf(layers, look) !== layers.photo]);
}

/**
 * The preview of the photo that a look is drawn from.
 * @param {Layers} layers
 * @param {Fields} look
 * @returns {Picture}
 */
function photoOf({ photo, sharpPhoto }, look) {
  return (looks.showsPhoto(look) && sharpPhoto) || photo;
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
