// Planes that tests compute with.

export const SIZE = { width: 60, height: 40 };

/** A plane with a filled rectangle. */
export function rectangle(left, top, right, bottom, { width, height } = SIZE) {
  const plane = new Uint8ClampedArray(width * height);
  for (let y = top; y < bottom; y += 1) plane.fill(255, y * width + left, y * width + right);
  return plane;
}

export const valueAt = (plane, x, y, { width } = SIZE) => plane[y * width + x];
