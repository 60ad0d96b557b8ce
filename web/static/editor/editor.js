// The editor put together: rail of tools, stage, panel, bars; and what goes across them.

import { showApi, showHelp } from "./dialogs.js";
import { drawn, el } from "./elements.js";
import { Filmstrip } from "./filmstrip.js";
import * as history from "./history.js";
import { Keyboard } from "./keyboard.js";
import { Messages } from "./messages.js";
import { Model } from "./model.js";
import { ACCEPTED, Opening } from "./start_screen.js";
import { Panel } from "./panel.js";
import * as pictures from "./images.js";
import { Pointers } from "./pointers.js";
import { Stage } from "./stage.js";
import { BgRemoval } from "./tools/bg_removal.js";
import { Brush } from "./tools/brush.js";
import { Crop } from "./tools/crop.js";
import { GenerativeExpand } from "./tools/generative_expand.js";
import { GenerativeFill } from "./tools/generative_fill.js";
import { MagicSelect } from "./tools/magic_select.js";
import { Upscale } from "./tools/upscale.js";
import { proposedFormat, TopBar } from "./topbar.js";
import { needsMore } from "./view.js";

const TOOLS = [BgRemoval, Upscale, GenerativeFill, GenerativeExpand, MagicSelect, Crop, Brush];
const SHORT_NAMES = {
  "bg-removal": "Cut out",
  upscale: "Upscale",
  "generative-fill": "Fill",
  "generative-expand": "Expand",
  "magic-select": "Select",
  crop: "Crop",
  brush: "Brush",
};

export class Editor {
  constructor(root, session) {
    this.root = root;
    this.ACCEPTED = ACCEPTED;
    this.model = new Model(session);
    this.stage = new Stage();
    this.tools = new Map();
    this.tool = null;
    this.isComparing = false;
    this.mask = null;
    this.toolNames = session.tools.map((tool) => tool.name);
    this.messages = new Messages(this.model);
    this.panel = new Panel(this);
    this.topbar = new TopBar(this);
    this.filmstrip = new Filmstrip(this.model);
    this.opening = new Opening(this);
    this.rail = this.#buildRail();
    this.workplace = el(
      "div",
      { class: "workplace", hidden: true },
      this.rail,
      this.stage.element,
      this.panel.element,
      this.filmstrip.element,
    );
    root.replaceChildren(this.topbar.element, this.opening.element, this.workplace, this.messages.element);
    this.keyboard = new Keyboard(this);
    new Pointers(this.stage, { isPanning: () => this.keyboard.isSpaceHeld });
    this.stage.onview = () => this.#viewed();
    this.model.on("project", () => this.#showProject());
    this.shown = Promise.resolve(); // once the present step's picture is
    this.model.on("step", (detail) => (this.shown = this.#showStep(detail?.made)));
    this.model.on("run", () => root.classList.toggle("busy", this.model.run !== null));
    root.setAttribute("aria-busy", "false");
  }

  #buildRail() {
    const buttons = this.model.session.tools.map((tool, at) =>
      el(
        "button",
        {
          type: "button",
          "data-tool": tool.name,
          "aria-pressed": "false",
          title: `${tool.title} (${at + 1}). ${tool.summary}`,
          onclick: () => this.choose(tool.name),
        },
        drawn(tool.name),
        el("span", {}, SHORT_NAMES[tool.name] ?? tool.title),
      ),
    );
    return el("nav", { class: "rail", "aria-label": "Tools" }, buttons);
  }

  choose(name) {
    if (this.model.run || !this.model.step) return;
    const isSame = this.tool?.name === name;
    if (!isSame) {
      this.tool?.leave();
      this.compare(false);
      if (!this.tools.has(name)) {
        const Made = TOOLS[this.toolNames.indexOf(name)];
        this.tools.set(name, new Made(this));
      }
      this.tool = this.stage.tool = this.tools.get(name);
      for (const button of this.rail.children)
        button.setAttribute("aria-pressed", `${button.dataset.tool === name}`);
    }
    this.panel.fold(false);
    this.panel.rebuild();
    this.setCursor();
    this.stage.fit();
  }

  setCursor() {
    this.stage.element.style.cursor = this.tool?.cursor ?? "grab";
  }

  // What is shown

  #showProject() {
    const hasPicture = Boolean(this.model.step);
    this.workplace.hidden = !hasPicture;
    this.root.classList.toggle("opening-picture", this.model.isOpening);
    if (!hasPicture) {
      this.stage.clear();
      this.tool?.leave();
      this.tool = this.stage.tool = null;
    } else if (!this.tool) this.choose(this.toolNames[0]);
  }

  async #showStep(made) {
    const { step } = this.model;
    if (!step) return;
    this.topbar.forgetFormat();
    if (!made || made.id !== step.id || made.tool !== "bg-removal") this.compare(false);
    this.tool?.onStep(made);
    this.#loadMask();
    this.stage.element.classList.add("loading");
    try {
      const image = await pictures.load(step.previewUrl);
      if (this.model.step?.previewUrl !== step.previewUrl) return;
      this.isClose = false;
      this.stage.show(image, { width: step.width, height: step.height });
      this.tool?.onShown?.(image);
      if (this.isComparing) await this.compare(true);
      this.#viewed();
    } catch {
      this.model.tell("notice", "This step's picture cannot be shown.");
    }
    this.stage.element.classList.remove("loading");
    this.topbar.refresh();
  }

  /** Draws a larger preview once somebody looks closely. */
  async #viewed() {
    this.topbar.showScale(this.stage.view.scale);
    const { step } = this.model;
    const { image } = this.stage;
    if (!step || !image || this.isClose) return;
    if (!needsMore(this.stage.view, step.width, image.naturalWidth, window.devicePixelRatio)) return;
    this.isClose = true;
    const closer = await pictures.load(step.closeUrl).catch(() => null);
    if (closer && this.model.step?.id === step.id && this.isClose) {
      this.stage.show(closer, { width: step.width, height: step.height });
    }
  }

  /** The step to compare with: the one before, if it has the same shape; else the original. */
  #comparable() {
    const { step, steps } = this.model;
    if (!step?.parentId) return null;
    // A cut-out that was framed anew has other places for the same things; only upscaling keeps them.
    const hasShape = (one) =>
      one?.lives && (isAsLarge(one, step) || (step.tool === "upscale" && isOfShape(one, step)));
    return [history.before(steps, step.id), history.original(steps)].find(hasShape) ?? null;
  }

  canCompare() {
    return this.#comparable() !== null;
  }

  async compare(isOn) {
    const wasComparing = this.isComparing;
    this.isComparing = isOn && this.canCompare();
    this.topbar.showCompare(this.isComparing);
    if (this.isComparing) {
      if (!wasComparing) this.stage.divider = 0.5;
      await this.#showBefore();
    } else if (!this.stage.showsBefore) {
      this.stage.before = null;
    }
    this.stage.invalidate();
  }

  async #showBefore() {
    const step = this.#comparable();
    const image = step && (await pictures.load(step.previewUrl).catch(() => null));
    if (!this.isComparing) return;
    this.stage.before = image;
    this.stage.invalidate();
  }

  /** The original, as long as a key is held. */
  async showOriginal(isShown) {
    if (this.stage.showsBefore === isShown || !this.model.step) return;
    const first = history.original(this.model.steps);
    this.stage.showsBefore = isShown;
    if (isShown && first?.lives) {
      const image = await pictures.load(first.previewUrl).catch(() => null);
      if (this.stage.showsBefore) this.stage.before = image;
    } else {
      this.stage.before = null;
      if (this.isComparing) await this.#showBefore();
    }
    this.stage.invalidate();
  }

  actualPixels() {
    const { stage } = this;
    if (stage.size) stage.zoom(1 / window.devicePixelRatio / stage.view.scale);
  }

  // Selections that were kept

  tellMaskKept() {
    this.messages.notice("The selection is kept. Fill and Brush can use it.");
  }

  async #loadMask() {
    const { step, steps } = this.model;
    const kept = step && history.maskFor(steps, step);
    if (kept?.id === this.mask?.id) return;
    this.mask = kept ? { id: kept.id, overlay: null } : null;
    if (!kept) return;
    const image = await pictures.load(kept.previewUrl).catch(() => null);
    if (!image || this.mask?.id !== kept.id) return;
    const small = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
    small.getContext("2d").drawImage(image, 0, 0);
    const color = getComputedStyle(this.stage.element).getPropertyValue("--selection");
    this.mask.overlay = pictures.tinted(small, color);
    this.stage.invalidate();
  }

  drawMask(context) {
    if (!this.mask?.overlay) return;
    const box = this.stage.boxOf({ x: 0, y: 0, ...this.stage.size });
    context.drawImage(this.mask.overlay, box.x, box.y, box.width, box.height);
  }

  // What is done

  apply(request) {
    this.compare(false);
    return this.model.apply(request);
  }

  applyChief() {
    const action = this.model.mayApply && this.tool?.actions().find((one) => !one.hidden);
    if (action && !action.problem) this.apply(action.request());
  }

  undo() {
    if (this.model.run) return;
    if (!this.tool?.undo()) this.model.undo();
  }

  escape() {
    if (this.model.run) this.model.cancel();
    else {
      this.tool?.abandon?.();
      this.tool?.clear();
    }
  }

  startAgain() {
    if (!this.model.run) this.model.close();
  }

  showHelp() {
    showHelp(this.root);
  }

  showApi() {
    const example = this.tool?.example();
    if (!example) return;
    const source = history.stepOf(this.model.steps, example.stepId ?? this.model.step.id);
    showApi(this.root, this.model, example, source);
  }

  /** The type of file that suits the picture that is shown. */
  ownFormat() {
    return proposedFormat(this.model.steps, this.stage.hasTransparency);
  }

  signUpAddress() {
    return `/signup?next=${encodeURIComponent("/app/")}`;
  }

  logInAddress() {
    return `/login?next=${encodeURIComponent("/app/")}`;
  }
}

const isAsLarge = (one, other) => one.width === other.width && one.height === other.height;
const isOfShape = (one, other) => Math.abs(one.width / one.height - other.width / other.height) < 0.01;
