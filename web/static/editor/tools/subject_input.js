// Moving, scaling and turning the subject of a cut-out on the stage: drag it, its corners, or the handle above it.

import { middleOf, movedPoint, moveOf } from "../looks.js";
import { toScreen } from "../view.js";

/** @import { Context } from "../canvas.js" */
/** @import { Fields, Frame, Point, Size, View } from "../types.js" */

/** @typedef {"move" | "scale" | "rotate"} Action */

/**
 * The handles in screen pixels: their radius, how near to press, and how far from the box is the one that turns it.
 * @typedef {object} Handles
 * @property {number} radius
 * @property {number} reach
 * @property {number} distance
 */

/** @type {Handles} */
export const MOUSE_HANDLES = { radius: 7, reach: 16, distance: 28 };
/** @type {Handles} */
export const FINGER_HANDLES = { radius: 11, reach: 24, distance: 42 };
const NUDGE_SHARE = 0.005; // of the canvas
const SNAP_DEGREES = 3;
const MIN_SCALE = 5;
const MAX_SCALE = 400;

/**
 * The corners of the moved subject's box on the screen, clockwise from the top left, and the handle that turns it.
 * @param {Frame} box of the subject, unmoved, in picture coordinates
 * @param {Fields} look
 * @param {Size} canvas
 * @param {View} view
 * @param {Size} viewport
 * @param {Handles} handles
 */
export function outlineOf(box, look, canvas, view, viewport, handles) {
  const move = moveOf(look, canvas, 1);
  const middle = middleOf(box);
  const onScreen = (/** @type {Point} */ point) => toScreen(view, movedPoint(point, middle, move));
  const corners = [
    { x: box.x, y: box.y },
    { x: box.x + box.width, y: box.y },
    { x: box.x + box.width, y: box.y + box.height },
    { x: box.x, y: box.y + box.height },
  ].map(onScreen);
  const top = { x: (corners[0].x + corners[1].x) / 2, y: (corners[0].y + corners[1].y) / 2 };
  const angle = (move.degrees * Math.PI) / 180;
  const outwards = (/** @type {number} */ pixels) => ({
    x: top.x + pixels * Math.sin(angle),
    y: top.y - pixels * Math.cos(angle),
  });
  const { radius } = handles;
  const above = outwards(handles.distance);
  const isVisible = Math.min(above.x, above.y, viewport.width - above.x, viewport.height - above.y) >= radius;
  // A subject that fills the stage has no room above it.
  return {
    corners,
    rotate: isVisible ? above : outwards(-handles.distance),
    middle: onScreen(middle),
    handles,
  };
}

/**
 * What pressing at a point of the screen does to the subject; null beside it.
 * @param {ReturnType<typeof outlineOf>} outline
 * @param {Point} point
 * @returns {Action | null}
 */
export function actionAt(outline, point) {
  const { corners, rotate, handles } = outline;
  const inside = isInside(corners, point);
  // Small subjects can be moved, too.
  const shorter = Math.min(distance(corners[0], corners[1]), distance(corners[1], corners[2]));
  const reach = inside ? Math.min(handles.reach, shorter / 3) : handles.reach;
  if (distance(rotate, point) <= reach) return "rotate";
  if (corners.some((corner) => distance(corner, point) <= reach)) return "scale";
  return inside ? "move" : null;
}

/**
 * @param {Point} from
 * @param {Point} to
 */
function distance(from, to) {
  return Math.hypot(to.x - from.x, to.y - from.y);
}

/**
 * The fields of the subject's place after moving it by a number of small steps.
 * @param {Fields} look before
 * @param {Size} canvas
 * @param {Point} steps
 * @returns {Fields}
 */
export function nudged(look, canvas, steps) {
  const pixels = NUDGE_SHARE * Math.max(canvas.width, canvas.height);
  const start = { x: 0, y: 0 };
  return dragged("move", look, canvas, start, start, { x: steps.x * pixels, y: steps.y * pixels });
}

/**
 * @param {Point[]} corners of a rectangle, in order
 * @param {Point} point
 */
function isInside(corners, point) {
  return corners.every((corner, at) => {
    const next = corners[(at + 1) % corners.length];
    return (next.x - corner.x) * (point.y - corner.y) - (next.y - corner.y) * (point.x - corner.x) >= 0;
  });
}

/**
 * The fields of the subject's place after dragging from one point of the picture to another.
 * @param {Action} action
 * @param {Fields} look before
 * @param {Size} canvas
 * @param {Point} middle of the subject where it was, in picture coordinates
 * @param {Point} from
 * @param {Point} to
 * @returns {Fields}
 */
export function dragged(action, look, canvas, middle, from, to) {
  const move = moveOf(look, canvas, 1);
  if (action === "move") {
    return {
      subject_x: percent(move.x + to.x - from.x, canvas.width),
      subject_y: percent(move.y + to.y - from.y, canvas.height),
    };
  }
  const before = { x: from.x - middle.x, y: from.y - middle.y };
  const after = { x: to.x - middle.x, y: to.y - middle.y };
  if (action === "scale") {
    const factor = Math.hypot(after.x, after.y) / Math.max(1, Math.hypot(before.x, before.y));
    const scale = Math.min(MAX_SCALE, Math.max(MIN_SCALE, Math.round(move.scale * factor * 100)));
    return { subject_scale: `${scale}` };
  }
  const turned = ((Math.atan2(after.y, after.x) - Math.atan2(before.y, before.x)) * 180) / Math.PI;
  const degrees = ((((move.degrees + turned + 180) % 360) + 360) % 360) - 180;
  const snapped = Math.round(degrees / 90) * 90;
  return { subject_rotate: `${Math.round(Math.abs(degrees - snapped) < SNAP_DEGREES ? snapped : degrees)}` };
}

/**
 * @param {number} pixels
 * @param {number} side
 */
function percent(pixels, side) {
  const limited = Math.min(200, Math.max(-200, (pixels / side) * 100));
  return `${Math.round(limited * 100) / 100}%`;
}

/**
 * @param {Context} context
 * @param {ReturnType<typeof outlineOf>} outline
 */
export function drawOutline(context, { corners, rotate, handles }) {
  context.save();
  const top = { x: (corners[0].x + corners[1].x) / 2, y: (corners[0].y + corners[1].y) / 2 };
  for (const { color, width } of [
    { color: "rgb(0 0 0 / 55%)", width: 3 },
    { color: "white", width: 1.5 },
  ]) {
    context.strokeStyle = color;
    context.lineWidth = width;
    context.beginPath();
    for (const [at, { x, y }] of corners.entries()) {
      if (at) context.lineTo(x, y);
      else context.moveTo(x, y);
    }
    context.closePath();
    context.moveTo(top.x, top.y);
    context.lineTo(rotate.x, rotate.y);
    context.stroke();
  }
  for (const { x, y } of [...corners, rotate]) {
    context.beginPath();
    context.arc(x, y, handles.radius, 0, 2 * Math.PI);
    context.fillStyle = "white";
    context.fill();
    context.strokeStyle = "rgb(0 0 0 / 55%)";
    context.lineWidth = 1.5;
    context.stroke();
  }
  context.restore();
}
