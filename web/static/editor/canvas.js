// Drawing on canvases: strokes as the server will paint them, approximately; brush cursor, frames.

/** @import { Frame, Point, Stroke, View } from "./types.js" */
/** @import { Stage } from "./stage.js" */

/** @typedef {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D} Context */

const GHOST_OPACITY = 0.3;
/** @type {OffscreenCanvas | null} */
let scratch = null;

/**
 * @param {HTMLCanvasElement} canvas
 * @returns {CanvasRenderingContext2D}
 */
export function contextOf(canvas) {
  const context = canvas.getContext("2d");
  if (!context) throw new Error("The browser does not support canvas drawing.");
  return context;
}

/**
 * @param {OffscreenCanvas} canvas
 * @param {CanvasRenderingContext2DSettings} [settings]
 */
export function offscreenContextOf(canvas, settings) {
  const context = canvas.getContext("2d", settings);
  if (!context) throw new Error("The browser does not support canvas drawing.");
  return context;
}

/**
 * An empty canvas of the stage's size, in the same coordinates. It is shared: each call clears it.
 * @param {Stage} stage
 */
export function scratchLayer(stage) {
  const { width, height } = stage.picture;
  if (scratch?.width !== width || scratch?.height !== height) scratch = new OffscreenCanvas(width, height);
  const context = offscreenContextOf(scratch);
  const ratio = window.devicePixelRatio;
  context.reset();
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { canvas: scratch, context };
}

/**
 * @param {Context} context
 * @param {Stroke[]} strokes
 * @param {View} view from picture coordinates to the canvas
 * @param {string} color
 */
export function drawStrokes(context, strokes, view, color) {
  for (const stroke of strokes) {
    const size = stroke.size * view.scale;
    const soft = (1 - stroke.hardness) * size;
    context.save();
    context.globalAlpha *= stroke.opacity;
    if (soft > 1) context.filter = `blur(${soft / 6}px)`;
    context.strokeStyle = color;
    context.fillStyle = color;
    context.lineWidth = Math.max(1, size - soft / 2);
    context.lineCap = "round";
    context.lineJoin = "round";
    context.beginPath();
    const [first, ...others] = stroke.points;
    const x = first[0] * view.scale + view.x;
    const y = first[1] * view.scale + view.y;
    if (!others.length) {
      context.arc(x, y, context.lineWidth / 2, 0, 2 * Math.PI);
      context.fill();
    } else {
      context.moveTo(x, y);
      for (const [px, py] of others) context.lineTo(px * view.scale + view.x, py * view.scale + view.y);
      context.stroke();
    }
    context.restore();
  }
}

/**
 * A picture drawn faintly, to show what is missing in the one below it.
 * @param {Context} context
 * @param {HTMLImageElement} image
 * @param {Frame} box
 */
export function drawGhost(context, image, box) {
  context.save();
  context.globalAlpha = GHOST_OPACITY;
  context.drawImage(image, box.x, box.y, box.width, box.height);
  context.restore();
}

/**
 * A circle of the brush's size, light on dark so that it is visible on any picture.
 * @param {Context} context
 * @param {Point} point
 * @param {number} diameter
 */
export function drawBrushCursor(context, point, diameter) {
  context.save();
  for (const { color, width } of [
    { color: "rgb(0 0 0 / 60%)", width: 3 },
    { color: "white", width: 1.25 },
  ]) {
    context.strokeStyle = color;
    context.lineWidth = width;
    context.beginPath();
    context.arc(point.x, point.y, Math.max(1, diameter / 2), 0, 2 * Math.PI);
    context.stroke();
  }
  context.restore();
}

/**
 * A frame with handles.
 * @param {Context} context
 * @param {Frame} box in screen pixels
 * @param {{ thirds?: boolean }} [options] whether to draw the lines of the rule of thirds
 */
export function drawFrame(context, box, { thirds = false } = {}) {
  context.save();
  context.strokeStyle = "rgb(0 0 0 / 55%)";
  context.lineWidth = 3;
  context.strokeRect(box.x, box.y, box.width, box.height);
  context.strokeStyle = "white";
  context.lineWidth = 1.5;
  context.strokeRect(box.x, box.y, box.width, box.height);
  if (thirds) {
    context.globalAlpha = 0.5;
    context.lineWidth = 1;
    context.beginPath();
    for (const share of [1 / 3, 2 / 3]) {
      context.moveTo(box.x + box.width * share, box.y);
      context.lineTo(box.x + box.width * share, box.y + box.height);
      context.moveTo(box.x, box.y + box.height * share);
      context.lineTo(box.x + box.width, box.y + box.height * share);
    }
    context.stroke();
    context.globalAlpha = 1;
  }
  for (const across of [0, 0.5, 1]) {
    for (const down of [0, 0.5, 1]) {
      if (across === 0.5 && down === 0.5) continue;
      context.beginPath();
      context.arc(box.x + box.width * across, box.y + box.height * down, 6, 0, 2 * Math.PI);
      context.fillStyle = "white";
      context.fill();
      context.strokeStyle = "rgb(0 0 0 / 55%)";
      context.lineWidth = 1.5;
      context.stroke();
    }
  }
  context.restore();
}

/**
 * Darkens the picture outside of a box.
 * @param {Context} context
 * @param {Frame} picture in screen pixels
 * @param {Frame} box in screen pixels
 */
export function darkenOutside(context, picture, box) {
  context.save();
  context.fillStyle = "rgb(0 0 0 / 55%)";
  context.beginPath();
  context.rect(picture.x, picture.y, picture.width, picture.height);
  context.rect(box.x, box.y, box.width, box.height);
  context.fill("evenodd");
  context.restore();
}
