// Where the picture lies on the screen: a scale (screen pixels a picture pixel) and the place of its corner.
// Pure functions; points are {x, y}, sizes {width, height}.

export const LEAST_SCALE = 0.02;
export const MOST_SCALE = 32;

/** The view in which all of the picture is seen in the middle, never larger than its pixels. */
export function fitted(picture, viewport, margin = 24) {
  const room = {
    width: Math.max(1, viewport.width - 2 * margin),
    height: Math.max(1, viewport.height - 2 * margin),
  };
  const scale = Math.min(room.width / picture.width, room.height / picture.height, 4);
  return centred(picture, viewport, Math.max(LEAST_SCALE, scale));
}

/** The view at this scale with the picture in the middle. */
export function centred(picture, viewport, scale) {
  return {
    scale,
    x: (viewport.width - picture.width * scale) / 2,
    y: (viewport.height - picture.height * scale) / 2,
  };
}

/** Zoomed by `factor`; what lies under the screen point stays under it. */
export function zoomedAt(view, point, factor) {
  const scale = Math.min(MOST_SCALE, Math.max(LEAST_SCALE, view.scale * factor));
  const ratio = scale / view.scale;
  return {
    scale,
    x: point.x - (point.x - view.x) * ratio,
    y: point.y - (point.y - view.y) * ratio,
  };
}

export function panned(view, across, down) {
  return { scale: view.scale, x: view.x + across, y: view.y + down };
}

/** A screen point in the picture's own pixel coordinates: (0, 0) is its top left corner. */
export function toPicture(view, point) {
  return { x: (point.x - view.x) / view.scale, y: (point.y - view.y) / view.scale };
}

export function toScreen(view, point) {
  return { x: point.x * view.scale + view.x, y: point.y * view.scale + view.y };
}

/** Whether a picture of another size should be drawn, because this one would look blurred. */
export function needsMore(view, pictureWidth, shownWidth, pixelRatio) {
  return shownWidth < pictureWidth && view.scale * pixelRatio * pictureWidth > shownWidth * 1.25;
}
