// Frames in the picture's pixel coordinates: a crop frame is inside the picture, an expand frame around it.
// Pure functions.

/** @import { Fields, Frame, Handle, Point, Size } from "./types.js" */

/** @type {Exclude<Handle, "move">[]} */
export const HANDLES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];
/** The aspect ratios that crop and expand offer. */
export const ASPECT_RATIOS = ["1:1", "4:3", "3:4", "3:2", "16:9", "9:16"];

/**
 * "16:9" as a number, or null for any other text, which stands for a free shape.
 * @param {string} text
 */
export function parseRatio(text) {
  const match = /^(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)$/.exec(text);
  return match ? Number(match[1]) / Number(match[2]) : null;
}

/**
 * @param {Size} picture
 * @returns {Frame}
 */
export function wholePicture(picture) {
  return { x: 0, y: 0, width: picture.width, height: picture.height };
}

/**
 * Where a handle is.
 * @param {Frame} frame
 * @param {Handle} handle
 * @returns {Point}
 */
export function handlePoint(frame, handle) {
  const across = handle.includes("w") ? 0 : handle.includes("e") ? 1 : 0.5;
  const down = handle.includes("n") ? 0 : handle.includes("s") ? 1 : 0.5;
  return { x: frame.x + frame.width * across, y: frame.y + frame.height * down };
}

/**
 * The handle at a point, "move" inside the frame, or null.
 * @param {Frame} frame
 * @param {Point} point
 * @param {number} reach how far from a handle still counts, in picture pixels
 * @returns {Handle | null}
 */
export function handleAt(frame, point, reach) {
  /** @type {Handle | null} */
  let best = null;
  let nearest = reach;
  for (const handle of HANDLES) {
    const position = handlePoint(frame, handle);
    const distance = Math.hypot(position.x - point.x, position.y - point.y);
    if (distance <= nearest) [best, nearest] = [handle, distance];
  }
  if (best) return best;
  const isInside =
    point.x > frame.x &&
    point.x < frame.x + frame.width &&
    point.y > frame.y &&
    point.y < frame.y + frame.height;
  return isInside ? "move" : null;
}

/**
 * The CSS cursor over a handle, or over the picture.
 * @param {Handle | null} handle
 */
export function cursorFor(handle) {
  if (handle === null) return "grab";
  return handle === "move" ? "move" : `${handle}-resize`;
}

/**
 * The largest frame of this aspect ratio in the middle of the picture; all of it for a free shape.
 * @param {Size} picture
 * @param {number | null} ratio
 * @returns {Frame}
 */
export function largestInside(picture, ratio) {
  if (!ratio) return wholePicture(picture);
  const width = Math.min(picture.width, picture.height * ratio);
  const height = width / ratio;
  return rounded({ x: (picture.width - width) / 2, y: (picture.height - height) / 2, width, height });
}

/**
 * A crop frame after one of its handles was dragged by `delta`. It stays inside the picture.
 * @param {Frame} frame where the frame was when dragging began
 * @param {Handle} handle
 * @param {Point} delta
 * @param {Size} picture
 * @param {number | null} ratio
 * @returns {Frame}
 */
export function dragCropFrame(frame, handle, delta, picture, ratio) {
  if (handle === "move") {
    const x = clamp(frame.x + delta.x, 0, picture.width - frame.width);
    const y = clamp(frame.y + delta.y, 0, picture.height - frame.height);
    return { ...frame, x: Math.round(x), y: Math.round(y) };
  }
  let left = frame.x;
  let top = frame.y;
  let right = frame.x + frame.width;
  let bottom = frame.y + frame.height;
  if (handle.includes("w")) left = clamp(left + delta.x, 0, right - 1);
  if (handle.includes("e")) right = clamp(right + delta.x, left + 1, picture.width);
  if (handle.includes("n")) top = clamp(top + delta.y, 0, bottom - 1);
  if (handle.includes("s")) bottom = clamp(bottom + delta.y, top + 1, picture.height);
  const free = { x: left, y: top, width: right - left, height: bottom - top };
  return rounded(ratio ? withRatio(free, handle, ratio, picture) : free);
}

/**
 * The frame with this aspect ratio; the side or corner opposite to the handle stays where it is.
 * @param {Frame} frame
 * @param {Exclude<Handle, "move">} handle
 * @param {number} ratio
 * @param {Size} picture
 * @returns {Frame}
 */
function withRatio(frame, handle, ratio, picture) {
  const anchor = handlePoint(frame, opposite(handle));
  const room = {
    width: handle.includes("w") ? anchor.x : handle.includes("e") ? picture.width - anchor.x : picture.width,
    height: handle.includes("n")
      ? anchor.y
      : handle.includes("s")
        ? picture.height - anchor.y
        : picture.height,
  };
  let width = handle === "n" || handle === "s" ? frame.height * ratio : frame.width;
  if (handle.length === 2) width = Math.max(frame.width, frame.height * ratio);
  width = Math.min(width, room.width, room.height * ratio);
  const height = width / ratio;
  const across = handle.includes("w") ? 1 : handle.includes("e") ? 0 : 0.5;
  const down = handle.includes("n") ? 1 : handle.includes("s") ? 0 : 0.5;
  return {
    x: clamp(anchor.x - width * across, 0, picture.width - width),
    y: clamp(anchor.y - height * down, 0, picture.height - height),
    width,
    height,
  };
}

/** @param {Exclude<Handle, "move">} handle */
function opposite(handle) {
  return HANDLES[(HANDLES.indexOf(handle) + 4) % 8]; // they are listed clockwise
}

/**
 * The form fields of a crop frame; none if all of the picture is kept.
 * @param {Frame} frame
 * @param {Size} picture
 * @returns {Fields}
 */
export function cropFields(frame, picture) {
  const isWhole = !frame.x && !frame.y && frame.width === picture.width && frame.height === picture.height;
  if (isWhole) return {};
  return { x: `${frame.x}`, y: `${frame.y}`, width: `${frame.width}`, height: `${frame.height}` };
}

/**
 * The smallest frame of this aspect ratio around the picture.
 * @param {Size} picture
 * @param {number} ratio
 * @returns {Frame}
 */
export function smallestAround(picture, ratio) {
  const width = Math.max(picture.width, Math.round(picture.height * ratio));
  const height = Math.max(picture.height, Math.round(picture.width / ratio));
  const size =
    picture.width > picture.height * ratio
      ? { width: picture.width, height }
      : { width, height: picture.height };
  return centredAround(picture, size);
}

/**
 * A frame `factor` times as large on each side, with the picture in its middle.
 * @param {Size} picture
 * @param {number} factor
 * @returns {Frame}
 */
export function scaledAround(picture, factor) {
  return centredAround(picture, {
    width: Math.round(picture.width * factor),
    height: Math.round(picture.height * factor),
  });
}

/**
 * @param {Size} picture
 * @param {Size} size
 * @returns {Frame}
 */
function centredAround(picture, size) {
  return {
    x: 0 - Math.floor((size.width - picture.width) / 2),
    y: 0 - Math.floor((size.height - picture.height) / 2),
    ...size,
  };
}

/**
 * An expand frame after one of its handles was dragged by `delta`. It never cuts into the picture.
 * @param {Frame} frame where the frame was when dragging began
 * @param {Handle} handle
 * @param {Point} delta
 * @param {Size} picture
 * @returns {Frame}
 */
export function dragExpandFrame(frame, handle, delta, picture) {
  let left = frame.x;
  let top = frame.y;
  let right = frame.x + frame.width;
  let bottom = frame.y + frame.height;
  if (handle === "move") {
    const across = clamp(delta.x, picture.width - right, -left);
    const down = clamp(delta.y, picture.height - bottom, -top);
    [left, right, top, bottom] = [left + across, right + across, top + down, bottom + down];
  } else {
    if (handle.includes("w")) left = Math.min(0, left + delta.x);
    if (handle.includes("e")) right = Math.max(picture.width, right + delta.x);
    if (handle.includes("n")) top = Math.min(0, top + delta.y);
    if (handle.includes("s")) bottom = Math.max(picture.height, bottom + delta.y);
  }
  return rounded({ x: left, y: top, width: right - left, height: bottom - top });
}

/**
 * The form fields of an expand frame: the pixels added on each side.
 * @param {Frame} frame
 * @param {Size} picture
 * @returns {Fields}
 */
export function expandFields(frame, picture) {
  const margins = {
    left: -frame.x,
    top: -frame.y,
    right: frame.x + frame.width - picture.width,
    bottom: frame.y + frame.height - picture.height,
  };
  const added = Object.entries(margins).filter(([, length]) => length > 0);
  return Object.fromEntries(added.map(([side, length]) => [side, `${length}`]));
}

/**
 * Why a result of this size cannot be made, or "".
 * @param {Size} size
 * @param {number} maxPixels
 */
export function sizeProblem(size, maxPixels) {
  if (size.width * size.height <= maxPixels) return "";
  return `The result would have more than ${maxPixels / 1e6} megapixels.`;
}

/**
 * @param {Frame} frame
 * @returns {Frame}
 */
function rounded(frame) {
  const x = Math.round(frame.x);
  const y = Math.round(frame.y);
  return {
    x,
    y,
    width: Math.max(1, Math.round(frame.x + frame.width) - x),
    height: Math.max(1, Math.round(frame.y + frame.height) - y),
  };
}

/**
 * @param {number} value
 * @param {number} min
 * @param {number} max
 */
function clamp(value, min, max) {
  return Math.min(Math.max(value, min), Math.max(min, max));
}
