// Remove background: the cut-out costs a credit once. Its look is then free: it is drawn here at once, and recorded as
// a step of the history.

import { describeCutout } from "../confidence.js";
import { el, segments } from "../elements.js";
import { sizeProblem } from "../frames.js";
import * as history from "../history.js";
import * as looks from "../looks.js";
import { LookPanel } from "./look_panel.js";
import { SubjectHandles } from "./subject_handles.js";
import { note, Tool } from "./tool.js";

/** @import { Context } from "../canvas.js" */
/** @import { Editor } from "../editor.js" */
/** @import { Action, Cutout, Fields, Point, Step } from "../types.js" */
/** @import { Background } from "./look_panel.js" */
/** @import { Hover } from "./tool.js" */

/** Parameters that decide what is cut out. They are fixed once the cut-out is paid. */
const CUT_OUT_PARAMETERS = ["model", "channels", "roi"];
const HIDDEN = [
  "model",
  "bg_color",
  "bg_gradient",
  "bg_scene",
  "bg_blur",
  "preset",
  "shadow",
  "shadow_opacity",
  "shadow_color",
  "shadow_blur",
  "shadow_x",
  "shadow_y",
  "outline_width",
  "outline_color",
  "subject_x",
  "subject_y",
  "subject_scale",
  "subject_rotate",
  "feather",
  "shift_edge",
  "decontaminate",
  "format",
  "quality",
  "channels",
];

export class BgRemoval extends Tool {
  /** @param {Editor} editor */
  constructor(editor) {
    super(editor, "bg-removal");
    this.look = new LookPanel(this);
    /** @type {Background} */
    this.background = "none";
    /** @type {{ imageId: string, thumbnailUrl?: string, previewUrl: string } | null} */
    this.backgroundImage = null;
    /**
     * The id of the step whose settings the controls have. Loading them again would lose changes.
     * @type {string | null}
     */
    this.loadedId = null;
    this.subject = new SubjectHandles(this);
    editor.recorder.onRefused = () => this.#reload();
  }

  /** Ends the drawing of what a look shows roughly at first. */
  #refining = new AbortController();
  /** Ends the computation of what likely looks need. */
  #warming = new AbortController();
  /**
   * The cut-out that it was done for.
   * @type {string | null}
   */
  #warmedUrl = null;

  /**
   * The layers of the current step, if it shows a cut-out that can be changed.
   * @returns {Cutout | null}
   */
  get cutout() {
    return this.model.step?.cutout ?? null;
  }

  build() {
    this.#loadSettings();
    const isCutout = this.cutout !== null;
    return [
      isCutout &&
        note(
          `${describeCutout(history.pathTo(this.model.steps, this.step.id))} Changing background, shadow, edge and frame is free.`,
        ),
      isCutout ? null : this.#buildDetail(),
      ...this.look.build(),
      isCutout && this.look.buildPlace(),
      this.look.buildPreset(),
      this.controls.advanced(isCutout ? [...HIDDEN, ...CUT_OUT_PARAMETERS] : HIDDEN),
    ];
  }

  /** @returns {Action[]} */
  actions() {
    return this.cutout ? [] : super.actions();
  }

  /** @returns {Fields} */
  fields() {
    const fields = this.controls.fields();
    if (this.background === "picture" && this.backgroundImage) {
      fields.bg_image_id = this.backgroundImage.imageId;
    }
    return looks.effective(fields);
  }

  example() {
    const request = this.request(this.fields());
    const photo = this.model.steps.find((step) => step.imageId === this.cutout?.photoId);
    return photo ? { ...request, stepId: photo.id } : request;
  }

  /** @param {string} name */
  onChange(name) {
    super.onChange(name);
    const { step } = this.model;
    if (!step?.cutout) return;
    this.editor.compare(false);
    this.#showLook(step.cutout);
    const { recorder } = this.editor;
    const problem = this.#sizeProblem;
    if (problem) {
      recorder.discard();
      this.model.emit("notice", `${problem} Choose a smaller margin or size.`);
      return;
    }
    if (looks.isSameLook(step.cutout.look, this.lookFields)) {
      // A change that was taken back adds no step to the history.
      recorder.discard();
      if (!recorder.isBehind) return;
    }
    recorder.schedule(step, this.request(this.fields()).params);
  }

  /** Why the frame of the look is too large, or "". */
  get #sizeProblem() {
    const frame = this.#frame;
    return frame ? sizeProblem(frame.size, this.model.limits.outputPixels) : "";
  }

  /** The frame of the controls' look, once it can be drawn. */
  get #frame() {
    return this.cutout && this.editor.composer.frameOf(this.cutout, this.lookFields);
  }

  /** The fields of the look that the controls have. */
  get lookFields() {
    return looks.lookFields(this.fields());
  }

  /**
   * Draws the look of the controls. The layers are loaded once, when the first look is drawn.
   * @param {Cutout} cutout
   */
  #showLook(cutout) {
    this.#refining.abort();
    const { signal } = (this.#refining = new AbortController());
    const { composer } = this.editor;
    const backgroundUrl = this.#backgroundUrl;
    const show = () => {
      const fields = this.lookFields;
      const draft = composer.draft(cutout, fields, backgroundUrl);
      if (!draft) return false;
      this.#showDrawn(cutout, draft.canvas);
      const refine = async () => {
        const sharpening = composer.sharpen(cutout, fields, backgroundUrl);
        const draw = async () =>
          this.#showDrawn(cutout, await composer.composeInSlices(cutout, fields, backgroundUrl, signal));
        if (!draft.isExact) await draw();
        if ((await sharpening) && !signal.aborted) await draw();
      };
      refine().catch((error) => signal.aborted || this.editor.messages.reportUnshown(error));
      return true;
    };
    if (show()) return;
    composer.load(cutout, backgroundUrl).then(
      () => signal.aborted || show(),
      (error) => signal.aborted || this.editor.messages.reportUnshown(error),
    );
  }

  /**
   * @param {Cutout} cutout
   * @param {OffscreenCanvas | null} drawn
   */
  #showDrawn(cutout, drawn) {
    const frame = this.#frame;
    if (!drawn || !frame || this.cutout?.url !== cutout.url) return;
    this.stage.show(drawn, frame.size);
    this.editor.messages.forgetUnshown();
  }

  /** The picture behind the subject, if there is one. */
  get #backgroundUrl() {
    if (this.background === "picture") return this.backgroundImage?.previewUrl ?? null;
    const scene = this.controls.get("bg_scene");
    return this.model.session.scenes.find((one) => one.name === scene)?.url ?? null;
  }

  /** Shows the settings of the stored step again. */
  #reload() {
    if (this.editor.tool !== this) return;
    this.loadedId = null;
    this.editor.panel.rebuild();
    this.editor.refreshStep();
  }

  /** @param {Step | null} made */
  onStep(made) {
    const { step } = this.model;
    this.subject.drop();
    if (made === null) this.editor.recorder.discard(); // another step was chosen meanwhile
    const isOwn = made && made.id === step?.id && made.cutout && this.#isShown(made.cutout);
    if (isOwn || this.editor.recorder.pending) {
      this.loadedId = step?.id ?? null;
      return;
    }
    if (step?.id === this.loadedId && made !== null) return;
    this.loadedId = null;
    this.editor.panel.rebuild();
  }

  /**
   * Whether the controls have the look of these layers: rebuilding them would only disturb who uses them.
   * @param {Cutout} cutout
   */
  #isShown(cutout) {
    return this.wasCutout && this.loadedId !== null && looks.isSameLook(cutout.look, this.lookFields);
  }

  onShown() {
    // The layers are at hand when the first color is clicked, and for comparing.
    const { composer, topbar } = this.editor;
    const { cutout } = this;
    if (!cutout || this.#warmedUrl === cutout.url) return;
    this.#warming.abort();
    const { signal } = (this.#warming = new AbortController());
    this.#warmedUrl = cutout.url;
    const warmUp = async () => {
      await composer.load(cutout);
      topbar.refresh();
      if (!signal.aborted) this.look.onLoaded();
      await composer.warmUp(cutout, signal);
    };
    // Not at hand, it is computed when it is needed.
    warmUp().catch(() => (this.#warmedUrl = null));
  }

  leave() {
    void this.editor.recorder.settle();
    this.loadedId = null;
    this.subject.leave();
    this.#refining.abort();
    this.#warming.abort();
  }

  /** Shows the settings that the current cut-out was made with. */
  #loadSettings() {
    const { step } = this.model;
    if (!step || step.id === this.loadedId) return;
    this.loadedId = step.id;
    const { cutout } = this;
    if (!cutout) {
      if (this.wasCutout) [this.controls.values, this.background] = [{}, "none"];
      this.wasCutout = false;
      return;
    }
    this.wasCutout = true;
    const { bg_image_id: imageId, ...values } = cutout.look;
    this.controls.values = values;
    this.background = imageId
      ? "picture"
      : values.bg_gradient
        ? "gradient"
        : values.bg_scene
          ? "scene"
          : values.bg_blur && values.bg_blur !== "0"
            ? "blur"
            : values.bg_color
              ? "color"
              : "none";
    if (imageId && this.backgroundImage?.imageId !== imageId) {
      this.backgroundImage = { imageId, previewUrl: cutout.backgroundUrl ?? "" };
    }
  }

  /** Whether the controls were loaded from a cut-out: its settings do not apply to the photo before it. */
  wasCutout = false;

  #buildDetail() {
    const options = { auto: "Automatic", fast: "Fast", quality: "Fine" };
    const chosen = /** @type {keyof typeof options} */ (this.controls.get("model"));
    return el(
      "div",
      { class: "field" },
      el("span", { class: "label" }, "Detail"),
      segments("Detail", options, chosen, (model) => this.controls.set("model", model)),
    );
  }

  /** @param {File} file */
  async storeBackground(file) {
    const { project } = this.model;
    try {
      const stored = await this.model.client.storeBackground(file);
      if (this.model.project === project) this.useBackground(stored); // else another picture was opened meanwhile
    } catch (error) {
      this.model.reportError(error);
    }
  }

  /** @param {{ imageId: string, thumbnailUrl: string, previewUrl: string }} picture */
  useBackground(picture) {
    this.backgroundImage = picture;
    this.background = "picture";
    this.look.fillBackground("picture");
    this.onChange("background");
    this.editor.panel.rebuild();
  }

  // The subject on the stage

  /** The frame of the look that the controls have; null while the subject cannot be moved. */
  get movableFrame() {
    return this.stage.before ? null : this.#frame;
  }

  /** @param {Point} point */
  handlesPointer(point) {
    return this.subject.actionAt(point) !== null;
  }

  /** @param {Point} point */
  pointerDown(point) {
    this.subject.down(point);
  }

  pointerBeside() {
    this.subject.beside();
  }

  /** @param {Point} point */
  pointerMove(point) {
    this.subject.move(point);
  }

  pointerUp() {
    this.subject.up();
  }

  cancelPointer() {
    this.subject.cancel();
  }

  /** @param {Point} steps */
  nudge(steps) {
    return this.subject.nudge(steps);
  }

  /** @param {Hover | null} hover */
  hover(hover) {
    this.subject.hover(hover);
  }

  /** @param {Context} context */
  drawOverlay(context) {
    this.subject.draw(context);
  }
}
