// What points out an object: clicks on it or beside it, and a box.

export const MOST_POINTS = 64;

export function empty() {
  return { points: [], box: null, auto: false };
}

export function isEmpty(selection) {
  return !selection.points.length && !selection.box && !selection.auto;
}

/** With one click more; only clicks inside the picture count. */
export function clicked(selection, point, isOnObject, picture) {
  const outside = point.x < 0 || point.y < 0 || point.x >= picture.width || point.y >= picture.height;
  if (outside || selection.points.length >= MOST_POINTS) return selection;
  const place = [Math.floor(point.x), Math.floor(point.y), isOnObject ? 1 : 0];
  return { ...selection, auto: false, points: [...selection.points, place] };
}

/** With this box around the object, given by two corners; too small a one is none. */
export function boxed(selection, from, to, picture) {
  const clamp = (value, most) => Math.round(Math.min(most, Math.max(0, value)));
  const left = clamp(Math.min(from.x, to.x), picture.width);
  const right = clamp(Math.max(from.x, to.x), picture.width);
  const top = clamp(Math.min(from.y, to.y), picture.height);
  const bottom = clamp(Math.max(from.y, to.y), picture.height);
  if (right - left < 3 || bottom - top < 3) return selection;
  return { ...selection, auto: false, box: [left, top, right, bottom] };
}

/** Without what was added last: clicks first, then the box. */
export function undone(selection) {
  if (selection.points.length) return { ...selection, points: selection.points.slice(0, -1) };
  return empty();
}

/** Whether there is something to send: a click beside the object alone says nothing. */
export function isUsable(selection) {
  return selection.auto || selection.box !== null || selection.points.some((point) => point[2] === 1);
}

/** The form fields. */
export function toParams(selection) {
  if (selection.auto) return { auto: "true" };
  const params = {};
  if (selection.points.length) params.points = JSON.stringify(selection.points);
  if (selection.box) params.box = JSON.stringify(selection.box);
  return params;
}
