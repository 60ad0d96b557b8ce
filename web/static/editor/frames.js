// Frames in the picture's pixel coordinates: {x, y, width, height}. A crop frame lies inside the picture, an
// expand frame around it.

export const MOST_PIXELS = 64_000_000;
export const HANDLES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];

/** "16:9" as a number, or null for a free shape. */
export function ratioOf(text) {
  const match = /^(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)$/.exec(text ?? "");
  return match ? Number(match[1]) / Number(match[2]) : null;
}

/** Where a handle is. */
export function handlePoint(frame, handle) {
  const across = handle.includes("w") ? 0 : handle.includes("e") ? 1 : 0.5;
  const down = handle.includes("n") ? 0 : handle.includes("s") ? 1 : 0.5;
  return { x: frame.x + frame.width * across, y: frame.y + frame.height * down };
}

/** The handle at a point, "move" inside the frame, or null. `reach` in picture pixels. */
export function handleAt(frame, point, reach) {
  let best = null;
  let nearest = reach;
  for (const handle of HANDLES) {
    const place = handlePoint(frame, handle);
    const distance = Math.hypot(place.x - point.x, place.y - point.y);
    if (distance <= nearest) [best, nearest] = [handle, distance];
  }
  if (best) return best;
  const inside =
    point.x > frame.x &&
    point.x < frame.x + frame.width &&
    point.y > frame.y &&
    point.y < frame.y + frame.height;
  return inside ? "move" : null;
}

/** The largest frame of this shape in the middle of the picture; all of it for a free shape. */
export function largestInside(picture, ratio) {
  if (!ratio) return { x: 0, y: 0, width: picture.width, height: picture.height };
  const width = Math.min(picture.width, picture.height * ratio);
  const height = width / ratio;
  return rounded({ x: (picture.width - width) / 2, y: (picture.height - height) / 2, width, height });
}

/** A crop frame after a handle was dragged from where `frame` was; stays inside the picture. */
export function cropDragged(frame, handle, delta, picture, ratio) {
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
  return rounded(ratio ? shaped(free, handle, ratio, picture) : free);
}

/** The frame brought to a shape; the side or corner opposite to the handle stays where it is. */
function shaped(frame, handle, ratio, picture) {
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

function opposite(handle) {
  const other = { n: "s", s: "n", e: "w", w: "e" };
  return [...handle].map((letter) => other[letter]).join("");
}

/** The form fields of a crop frame; none where all of the picture is kept. */
export function cropParams(frame, picture) {
  const whole = !frame.x && !frame.y && frame.width === picture.width && frame.height === picture.height;
  if (whole) return {};
  return { x: `${frame.x}`, y: `${frame.y}`, width: `${frame.width}`, height: `${frame.height}` };
}

/** The smallest frame of this shape around the picture. */
export function smallestAround(picture, ratio) {
  const width = Math.max(picture.width, Math.round(picture.height * ratio));
  const height = Math.max(picture.height, Math.round(picture.width / ratio));
  const size =
    picture.width > picture.height * ratio
      ? { width: picture.width, height }
      : { width, height: picture.height };
  return around(picture, size);
}

/** A frame `factor` times as large on each side, the picture in its middle. */
export function timesLarger(picture, factor) {
  return around(picture, {
    width: Math.round(picture.width * factor),
    height: Math.round(picture.height * factor),
  });
}

function around(picture, size) {
  return {
    x: 0 - Math.floor((size.width - picture.width) / 2),
    y: 0 - Math.floor((size.height - picture.height) / 2),
    ...size,
  };
}

/** An expand frame after a handle was dragged; never cuts into the picture. */
export function expandDragged(frame, handle, delta, picture) {
  let left = frame.x;
  let top = frame.y;
  let right = frame.x + frame.width;
  let bottom = frame.y + frame.height;
  if (handle === "move") {
    const across = clamp(delta.x, picture.width - right, -left);
    const down = clamp(delta.y, picture.height - bottom, -top);
    [left, right, top, bottom] = [left + across, right + across, top + down, bottom + down];
  }
  if (handle.includes("w")) left = Math.min(0, left + delta.x);
  if (handle.includes("e") && handle !== "move") right = Math.max(picture.width, right + delta.x);
  if (handle.includes("n")) top = Math.min(0, top + delta.y);
  if (handle.includes("s")) bottom = Math.max(picture.height, bottom + delta.y);
  return rounded({ x: left, y: top, width: right - left, height: bottom - top });
}

/** The form fields of an expand frame: what is added on each side, in pixels. */
export function expandParams(frame, picture) {
  const margins = {
    left: -frame.x,
    top: -frame.y,
    right: frame.x + frame.width - picture.width,
    bottom: frame.y + frame.height - picture.height,
  };
  const added = Object.entries(margins).filter(([, length]) => length > 0);
  return Object.fromEntries(added.map(([side, length]) => [side, `${length}`]));
}

/** Whether a result of this size is allowed. */
export function isTooLarge(size) {
  return size.width * size.height > MOST_PIXELS;
}

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

function clamp(value, least, most) {
  return Math.min(Math.max(value, least), Math.max(least, most));
}
