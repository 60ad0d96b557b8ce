// Brush strokes in the picture's pixel coordinates, exactly as the API takes them.

export const MOST_STROKES = 1000;
export const MOST_POINTS = 100_000;

const round = (value) => Math.round(value * 10) / 10;

/** A stroke that begins at a point. `brush`: {size, hardness, opacity}; size is the diameter in pixels. */
export function begun(point, brush) {
  return {
    points: [[round(point.x), round(point.y)]],
    size: Math.max(0.5, round(brush.size)),
    hardness: Math.round(brush.hardness * 100) / 100,
    opacity: Math.round(brush.opacity * 100) / 100,
  };
}

/** Adds a point unless it is too near to the last one to matter; whether it was added. */
export function extend(stroke, point) {
  const [x, y] = stroke.points[stroke.points.length - 1];
  const next = [round(point.x), round(point.y)];
  const nearest = Math.max(0.5, stroke.size / 20);
  if (Math.hypot(next[0] - x, next[1] - y) < nearest) return false;
  stroke.points.push(next);
  return true;
}

/** The point, brought near enough to the picture for the API: it refuses strokes that go far astray. */
export function within(point, picture, size) {
  const clamp = (value, most) => Math.min(most + size / 2, Math.max(-size / 2, value));
  return { x: clamp(point.x, picture.width), y: clamp(point.y, picture.height) };
}

/** The form field `strokes`. */
export function toField(strokes) {
  return JSON.stringify(strokes);
}

/** Why these strokes cannot be sent, or "". */
export function problemOf(strokes) {
  if (!strokes.length) return "Draw on the picture first.";
  if (strokes.length > MOST_STROKES) return `At most ${MOST_STROKES} strokes at a time.`;
  const points = strokes.reduce((sum, stroke) => sum + stroke.points.length, 0);
  return points > MOST_POINTS ? "That is too much to draw at a time." : "";
}

/** A brush size that suits the picture: a sixteenth of its shorter side. */
export function fittingSize(picture) {
  return Math.max(4, Math.round(Math.min(picture.width, picture.height) / 16));
}

/** The next brush size with [ or ]: a sixth smaller or larger, at least one pixel. */
export function steppedSize(size, direction, most) {
  const next = direction > 0 ? Math.max(size + 1, size * 1.2) : Math.min(size - 1, size / 1.2);
  return Math.round(Math.min(most, Math.max(1, next)));
}
