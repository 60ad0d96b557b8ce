// Puts the editor together: start screen, tools, stage, panel, bars; and the actions that involve several of them.

import { BatchTab } from "./batch/batch_tab.js";
import { BrandColors } from "./brand_colors.js";
import { Composer } from "./composer.js";
import { showApi, showHelp } from "./dialogs.js";
import { el, icon, setPressed } from "./elements.js";
import { Filmstrip } from "./filmstrip.js";
import * as history from "./history.js";
import { loadImage, thumbnail, widthOf } from "./images.js";
import { Keyboard } from "./keyboard.js";
import { LookRecorder } from "./look_recorder.js";
import { Messages } from "./messages.js";
import { NextSteps } from "./next_steps.js";
import { Panel } from "./panel.js";
import { Pointers } from "./pointers.js";
import * as previews from "./previews.js";
import { hintScrolling } from "./scroll_hint.js";
import { Stage } from "./stage.js";
import { StartScreen } from "./start_screen.js";
import { sweep } from "./sweep.js";
import { TOOLS } from "./tools/all_tools.js";
import { toolName } from "./tool_names.js";
import { suggestFormat, TopBar } from "./topbar.js";
import { needsLargerPreview } from "./view.js";
import { WorkMarks } from "./work_marks.js";

/** @import { Context } from "./canvas.js" */
/** @import { Model } from "./model.js" */
/** @import { Tool } from "./tools/tool.js" */
/** @import { Picture } from "./images.js" */
/** @import { Cutout, Fields, KeptSelection, RunRequest, Size, Step, View } from "./types.js" */

/** Tools whose results are worth a look at what has changed. */
const SWEPT_TOOLS = ["bg-removal", "upscale", "generative-fill", "magic-select"];

export class Editor {
  /**
   * @param {HTMLElement} root
   * @param {Model} model
   */
  constructor(root, model) {
    this.root = root;
    this.model = model;
    this.stage = new Stage();
    /**
     * The tools that were chosen before for this picture, by name: they keep their settings.
     * @type {Map<string, Tool>}
     */
    this.tools = new Map();
    /** @type {Tool | null} */
    this.tool = null;
    /**
     * The project that the tools' settings belong to.
     * @type {string | null}
     */
    this.projectId = null;
    this.isComparing = false;
    /**
     * The user's view before a tool with a frame was chosen; null if it does not apply to the picture any more.
     * @type {View | null}
     */
    this.interruptedView = null;
    /** Ends the sweep over a result. */
    this.endSweep = () => {};
    /** Whether the larger preview of the current step is loading or shown. */
    this.isCloseUp = false;
    /** Draws looks of cut-outs here, and records them as steps. */
    this.composer = new Composer(model.session.presets);
    this.recorder = new LookRecorder(model);
    this.brandColors = new BrandColors(model);
    /**
     * The selection that Magic select keeps for other tools, and the size of the picture it was made in.
     * @type {{ selection: KeptSelection, overlay: OffscreenCanvas, size: Size } | null}
     */
    this.kept = null;
    this.toolInfos = model.session.tools.filter((tool) => tool.name in TOOLS);
    this.toolNames = this.toolInfos.map((tool) => tool.name);
    this.messages = new Messages(model);
    this.panel = new Panel(this);
    this.topbar = new TopBar(this);
    this.filmstrip = new Filmstrip(model);
    this.startScreen = new StartScreen(this);
    this.batch = new BatchTab(this);
    this.nextSteps = new NextSteps(this);
    this.rail = this.#buildRail();
    this.workplace = el(
      "div",
      { class: "workplace", hidden: true },
      this.rail,
      this.stage.element,
      this.nextSteps.element,
      this.panel.element,
      this.filmstrip.element,
    );
    root.replaceChildren(
      this.topbar.element,
      this.startScreen.element,
      this.workplace,
      this.batch.element,
      this.messages.element,
    );
    this.marks = new WorkMarks(this);
    this.keyboard = new Keyboard(this);
    this.stage.element.addEventListener("pointerdown", () => this.endSweep()); // and operate the tool
    new Pointers(this.stage, () => this.keyboard.isSpaceHeld);
    this.stage.onView = () => this.#onView();
    model.on("project", () => this.#showProject());
    /**
     * Resolves once the current step's picture is shown.
     * @type {Promise<void>}
     */
    this.stepShown = Promise.resolve();
    model.on("step", (detail) => (this.stepShown = this.#showStep(detail?.made ?? null)));
    model.on("run", () => root.classList.toggle("busy", model.run !== null));
    // A look that was just chosen is not lost when the page is left or reloaded.
    window.addEventListener("pagehide", () => {
      if (this.recorder.isBehind) this.model.leaveUnrecorded();
      void this.recorder.settle();
    });
    root.setAttribute("aria-busy", "false");
  }

  #buildRail() {
    const buttons = this.toolInfos.map((tool, at) => {
      const name = toolName(tool.name, this.model.session);
      return el(
        "button",
        {
          type: "button",
          "data-tool": tool.name,
          "aria-pressed": "false",
          title: `${name} (${at + 1}). ${tool.summary}`,
          onclick: () => this.choose(tool.name),
        },
        icon(tool.name),
        el("span", {}, name),
      );
    });
    const rail = el("nav", { class: "rail", "aria-label": "Tools" }, buttons);
    hintScrolling(rail);
    return rail;
  }

  /** @param {string} name */
  choose(name) {
    if (this.model.run || !this.model.step) return;
    if (!previews.worksOn(this.model.step, name)) this.showPhoto();
    const zoomed = this.tool && !this.stage.isFitted ? this.stage.view : null;
    if (this.tool?.name !== name) {
      this.tool?.leave();
      this.compare(false);
      this.nextSteps.hide();
      const tool = this.tools.get(name) ?? TOOLS[name](this);
      this.tools.set(name, tool);
      this.tool = this.stage.tool = tool;
      this.model.rememberTool(name);
      for (const button of this.rail.querySelectorAll("button")) {
        setPressed(button, button.dataset.tool === name);
        if (button.dataset.tool === name) button.scrollIntoView({ block: "nearest", inline: "nearest" });
      }
    }
    if (this.model.step?.cutout) this.refreshStep();
    this.panel.fold(false);
    this.panel.rebuild();
    this.setCursor(this.tool?.cursor ?? "grab");
    this.#adjustZoom(zoomed);
  }

  /** Whether the current step is a preview that the tool cannot be applied to. */
  get isLocked() {
    const { step } = this.model;
    return step !== null && this.tool !== null && !previews.worksOn(step, this.tool.name);
  }

  /** Goes back from a preview to its photo, to which every tool can be applied. */
  showPhoto() {
    const { photo } = this.model;
    if (photo) void this.model.goTo(photo.id);
  }

  /**
   * The zoom is kept when another tool is chosen, unless the tool has a frame that is to be seen as a whole. The tool
   * after that gets the zoom back.
   * @param {View | null} zoomed the user's own view before another tool was chosen
   */
  #adjustZoom(zoomed) {
    const { stage } = this;
    if (this.tool?.visibleFrame()) {
      if (zoomed) this.interruptedView = zoomed;
      stage.fit();
      return;
    }
    const view = zoomed ?? this.interruptedView;
    this.interruptedView = null;
    if (!view) {
      stage.fit();
      return;
    }
    stage.zoom(view.scale / stage.view.scale);
    stage.pan(view.x - stage.view.x, view.y - stage.view.y);
  }

  /** @param {string} cursor of the mouse over the stage, as in CSS */
  setCursor(cursor) {
    this.stage.element.style.cursor = cursor;
  }

  // Showing the project and its current step

  #showProject() {
    const hasPicture = Boolean(this.model.step);
    if (this.model.project?.id !== this.projectId) {
      // The settings of one picture do not apply to the next.
      this.tool?.leave();
      this.tools.clear();
      this.kept = null;
      this.projectId = this.model.project?.id ?? null;
      if (this.tool && hasPicture) {
        const { name } = this.tool;
        this.tool = this.stage.tool = null;
        this.choose(name);
      }
    }
    const hidden = hasPicture ? this.startScreen.element : this.workplace;
    const hadFocus = hidden.contains(document.activeElement);
    this.workplace.hidden = !hasPicture;
    if (hadFocus) (hasPicture ? this.stage : this.startScreen).element.focus({ preventScroll: true });
    if (!hasPicture) {
      this.stage.clear();
      this.tool?.leave();
      this.tool = this.stage.tool = null;
    } else if (!this.tool) {
      const { rememberedTool } = this.model;
      this.choose(this.toolNames.includes(rememberedTool) ? rememberedTool : this.toolNames[0]);
    }
  }

  /** @param {Step | null} made the step that a run has just made */
  async #showStep(made) {
    const { step } = this.model;
    if (!step) return;
    this.topbar.download.resetFormat();
    if (step.width !== this.stage.size.width || step.height !== this.stage.size.height)
      this.interruptedView = null;
    this.stage.tool = this.isLocked ? null : this.tool;
    const isResult = made?.id === step.id;
    const keepsNextSteps = isResult && history.isLook(step) && this.nextSteps.isShown;
    this.compare(false);
    if (!keepsNextSteps && !this.nextSteps.isOf(step)) this.nextSteps.hide();
    this.tool?.onStep(made);
    this.stage.element.classList.add("loading");
    try {
      const { image, size } = await this.#pictureOf(step);
      if (this.model.step?.id !== step.id) return;
      this.isCloseUp = image instanceof OffscreenCanvas; // there is no larger one of a look drawn here
      if (!this.#isAheadOf(step)) this.stage.show(image, size);
      this.messages.forgetUnshown();
      this.tool?.onShown(image);
      if (this.isComparing) await this.compare(true);
      this.#onView();
      if (isResult && !history.isLook(step)) void this.#presentResult(step);
      else if (keepsNextSteps) this.nextSteps.show(step);
    } catch {
      if (this.model.step?.id !== step.id) return;
      this.model.emit("notice", "This step's picture cannot be shown.");
    }
    this.stage.element.classList.remove("loading");
    this.topbar.refresh();
  }

  /**
   * Sweeps once over a result that costs a credit, and proposes what can follow.
   * @param {Step} step
   */
  async #presentResult(step) {
    if (SWEPT_TOOLS.includes(step.tool ?? "")) await this.#sweep(step);
    if (this.model.step?.id === step.id && !this.model.run) this.nextSteps.show(step);
  }

  /** @param {Step} step */
  async #sweep(step) {
    const image = await this.#pictureBefore();
    if (!image || this.model.step?.id !== step.id || this.isComparing) return;
    const ending = new AbortController();
    const end = () => {
      if (ending.signal.aborted) return;
      ending.abort();
      this.endSweep = () => {};
      if (!this.isComparing && !this.stage.showsBefore) this.stage.before = null;
      this.stage.invalidate();
    };
    this.endSweep = end;
    this.stage.before = image;
    await sweep((divider) => {
      this.stage.divider = divider;
      this.stage.invalidate();
    }, ending.signal);
    end();
  }

  /**
   * Whether the stage shows another look already, which was chosen while this one was being recorded.
   * @param {Step} step
   */
  #isAheadOf(step) {
    const { pending } = this.recorder;
    return (
      this.tool?.name === "bg-removal" && pending?.step.cutout?.url === step.cutout?.url && pending !== null
    );
  }

  /** Shows the current step again, as the tool that was chosen shows it. */
  refreshStep() {
    this.stepShown = this.#showStep(null);
  }

  /** The look that the stage shows of a step, or null for its stored image. */
  lookShown() {
    const cutout = this.model.step?.cutout;
    if (!cutout) return null;
    if (this.tool?.retouches) return this.composer.unplaced(cutout.look);
    return this.model.step?.isRendered ? null : cutout.look;
  }

  /**
   * The preview of a step: its stored image, or its look drawn here.
   * @param {Step} step
   * @returns {Promise<{ image: Picture, size: Size }>}
   */
  async #pictureOf(step) {
    const look = this.lookShown();
    if (step.cutout && look) {
      await this.composer.load(step.cutout);
      await this.composer.sharpen(step.cutout, look);
      const drawn = await this.composer.composeInSlices(step.cutout, look);
      const frame = this.composer.frameOf(step.cutout, look);
      // Other tools refer to the pixels of the result, so its size has to be the server's.
      const isSettled = frame?.isExact || this.tool?.retouches || this.tool?.name === "bg-removal";
      if (drawn && frame && isSettled) {
        // The server knows the size of a crop only once it has drawn it.
        if (!this.tool?.retouches) Object.assign(step, frame.size);
        void this.#showThumbnail(step, drawn);
        return { image: drawn, size: frame.size };
      }
    }
    const { previewUrl, width, height } = step.isRendered ? step : await this.recorder.render(step);
    return { image: await loadImage(previewUrl), size: { width, height } };
  }

  /**
   * @param {Step} step
   * @param {OffscreenCanvas} drawn its look
   */
  async #showThumbnail(step, drawn) {
    const former = step.thumbnailUrl;
    step.thumbnailUrl = await thumbnail(drawn);
    if (former.startsWith("blob:")) URL.revokeObjectURL(former);
    this.filmstrip.refreshStep(step);
  }

  /** Loads a larger preview once the user zooms in. */
  async #onView() {
    this.topbar.showScale(this.stage.view.scale);
    this.marks.refresh();
    const { step } = this.model;
    const { image, view } = this.stage;
    if (!step || !image || this.isCloseUp) return;
    if (!needsLargerPreview(view, step.width, widthOf(image), window.devicePixelRatio)) return;
    this.isCloseUp = true;
    const larger = await loadImage(step.closeUrl).catch(() => null);
    if (larger && this.model.step?.id === step.id && this.isCloseUp) {
      this.stage.show(larger, { width: step.width, height: step.height });
    }
  }

  // Comparing

  #comparable() {
    const { step, steps } = this.model;
    if (step?.isPreview) return previews.beforePreview(steps, step);
    return step && history.comparable(steps, step);
  }

  /** The layers of the current step, if its look has another frame than the photo and is shown in it. */
  get #framedCutout() {
    const cutout = this.model.step?.cutout;
    return cutout && !this.tool?.retouches && this.composer.isFramed(cutout, cutout.look) ? cutout : null;
  }

  /** The photo in the frame of the look that is shown, if it is another one than the photo's. */
  #photoInFrame() {
    const cutout = this.#framedCutout;
    return cutout && this.composer.photoIn(cutout, cutout.look);
  }

  /**
   * The picture to compare the current step with.
   * @returns {Promise<Picture | null>}
   */
  async #pictureBefore() {
    const photo = this.#photoInFrame();
    const step = photo ? null : this.#comparable();
    return step ? loadImage(step.previewUrl).catch(() => null) : photo;
  }

  canCompare() {
    return this.#framedCutout !== null || this.#comparable() !== null;
  }

  /** @param {boolean} isOn */
  async compare(isOn) {
    this.endSweep();
    const wasComparing = this.isComparing;
    this.isComparing = isOn && this.canCompare();
    this.topbar.showComparing(this.isComparing);
    if (this.isComparing) {
      if (!wasComparing) this.stage.divider = 0.5;
      await this.#showBefore();
    } else if (!this.stage.showsBefore) {
      this.stage.before = null;
    }
    this.stage.invalidate();
  }

  async #showBefore() {
    const image = await this.#pictureBefore();
    if (!this.isComparing) return;
    this.stage.before = image;
    this.stage.invalidate();
  }

  /**
   * Shows the original for as long as a key is held.
   * @param {boolean} isShown
   */
  async showOriginal(isShown) {
    if (this.stage.showsBefore === isShown || !this.model.step) return;
    const original = history.originalOf(this.model.steps);
    this.stage.showsBefore = isShown;
    if (isShown && original?.isAvailable) {
      const image = this.#photoInFrame() ?? (await loadImage(original.previewUrl).catch(() => null));
      if (this.stage.showsBefore) this.stage.before = image;
    } else {
      this.stage.before = null;
      if (this.isComparing) await this.#showBefore();
    }
    this.stage.invalidate();
  }

  /** Zooms to one picture pixel per screen pixel. */
  actualPixels() {
    this.stage.zoom(1 / window.devicePixelRatio / this.stage.view.scale);
  }

  // The selection that Magic select keeps

  /**
   * Keeps a selection for Remove object and Retouch. It costs nothing until one of them is applied.
   * @param {Fields} params
   * @param {OffscreenCanvas} overlay
   */
  keepSelection(params, overlay) {
    const { step } = this.model;
    if (!step) return;
    const { width, height } = step;
    this.kept = { selection: { stepId: step.id, params }, overlay, size: { width, height } };
    this.stage.invalidate();
    const filling = toolName("generative-fill", this.model.session);
    this.model.emit("notice", `The selection is kept for “${filling}” and Retouch. Nothing was charged.`);
  }

  /** The kept selection if it fits the current picture. */
  get keptSelection() {
    const { step } = this.model;
    const { kept } = this;
    const fits =
      kept && step && !step.cutout && kept.size.width === step.width && kept.size.height === step.height;
    return fits ? kept.selection : null;
  }

  /** @param {Context} context */
  drawKeptSelection(context) {
    if (!this.kept || !this.keptSelection) return;
    const box = this.stage.pictureBox();
    context.drawImage(this.kept.overlay, box.x, box.y, box.width, box.height);
  }

  /** The color of selections, which depends on the color scheme. */
  selectionColor() {
    return getComputedStyle(this.stage.element).getPropertyValue("--selection");
  }

  // Actions

  /** @param {RunRequest} request */
  async apply(request) {
    const stepId = request.stepId ?? this.model.step?.id;
    this.compare(false);
    await this.recorder.settle(); // the look that is shown is part of what the tool is applied to
    const made = await this.model.apply(request);
    // A step of an earlier run may have arrived instead.
    if (stepId && made?.parentId === stepId) this.nextSteps.remember(made, { ...request, stepId });
    return made;
  }

  /** Resolves once the shown picture is that of the current step, which can then be downloaded. */
  async settled() {
    await this.recorder.settle();
    await this.stepShown;
  }

  /** Applies the tool's first action. */
  applyPrimary() {
    if (this.isLocked || (this.model.getsPreviews && this.tool?.usesWords)) return;
    const action = this.tool?.actions().find((one) => !one.isHidden);
    if (!action || action.problem) return;
    if (action.act) action.act();
    else this.apply(action.request());
  }

  /** Takes back what was drawn last, else the last step. */
  async undo() {
    if (this.model.run || this.tool?.undo()) return;
    // A look that was just chosen can be redone, unless the server cannot record it now.
    if (await this.recorder.trySettle()) this.model.undo();
    else this.recorder.withdraw();
  }

  /** Cancels the run, else discards what was drawn. */
  escape() {
    if (this.model.run) this.model.cancel();
    else {
      this.tool?.cancelPointer();
      this.tool?.clear();
    }
  }

  /** Goes back to the start screen. */
  closeProject() {
    if (!this.model.run) this.model.close();
  }

  showHelp() {
    showHelp(this.root, this.model);
  }

  showApi() {
    const { step, steps } = this.model;
    if (!this.tool || !step) return;
    const { tool, params, stepId } = this.tool.example();
    const source = history.findStep(steps, stepId ?? step.id);
    if (source) showApi(this.root, this.model, { tool, params }, source);
  }

  suggestedFormat() {
    return suggestFormat(this.model.steps, this.stage.hasTransparency);
  }

  signUpUrl() {
    return `/signup?next=${encodeURIComponent(this.model.ownAddress)}`;
  }

  logInUrl() {
    return `/login?next=${encodeURIComponent(this.model.ownAddress)}`;
  }
}
