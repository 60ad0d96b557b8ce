// Planes at other sizes: averaged to a smaller one, interpolated to a larger one. Pure functions.

/** @import { Size } from "./types.js" */

/**
 * A plane averaged over the area of each pixel of a smaller size.
 * @param {ArrayLike<number>} plane
 * @param {Size} size
 * @param {Size} small
 */
export function reduced(plane, size, small) {
  const columns = shares(size.width, small.width);
  const rows = shares(size.height, small.height);
  const answer = new Float32Array(small.width * small.height);
  const line = new Float32Array(small.width + 1);
  for (let y = 0; y < size.height; y += 1) {
    line.fill(0);
    const row = y * size.width;
    for (let x = 0; x < size.width; x += 1) {
      const value = plane[row + x];
      if (!value) continue;
      const to = columns.to[x];
      line[to] += value * columns.first[x];
      line[to + 1] += value * columns.second[x];
    }
    const to = rows.to[y] * small.width;
    const first = rows.first[y];
    const second = rows.second[y];
    for (let x = 0; x < small.width; x += 1) answer[to + x] += line[x] * first;
    if (second) for (let x = 0; x < small.width; x += 1) answer[to + small.width + x] += line[x] * second;
  }
  return answer;
}

/**
 * How each pixel of a line is shared out among those of a shorter one: `first` to number `to`, `second` to the next.
 * @param {number} from
 * @param {number} small
 */
function shares(from, small) {
  const to = new Int32Array(from);
  const first = new Float32Array(from);
  const second = new Float32Array(from);
  const share = small / from;
  for (let at = 0; at < from; at += 1) {
    to[at] = Math.min(small - 1, Math.floor(at * share));
    const beyond = Math.max(0, (at + 1) * share - (to[at] + 1));
    second[at] = to[at] + 1 < small ? beyond : 0;
    first[at] = share - second[at];
  }
  return { to, first, second };
}

/**
 * A plane interpolated to a larger size.
 * @param {Float32Array} plane
 * @param {Size} small
 * @param {Size} size
 */
export function enlarged(plane, small, size) {
  const answer = new Float32Array(size.width * size.height);
  const columns = interpolation(small.width, size.width);
  const rows = interpolation(small.height, size.height);
  for (let y = 0; y < size.height; y += 1) {
    const above = rows.first[y] * small.width;
    const below = rows.second[y] * small.width;
    const down = rows.share[y];
    for (let x = 0; x < size.width; x += 1) {
      const left = columns.first[x];
      const right = columns.second[x];
      const share = columns.share[x];
      const upper = plane[above + left] * (1 - share) + plane[above + right] * share;
      const lower = plane[below + left] * (1 - share) + plane[below + right] * share;
      answer[y * size.width + x] = upper * (1 - down) + lower * down;
    }
  }
  return answer;
}

/**
 * @param {number} from
 * @param {number} to
 */
export function interpolation(from, to) {
  const first = new Int32Array(to);
  const second = new Int32Array(to);
  const share = new Float32Array(to);
  for (let at = 0; at < to; at += 1) {
    const place = Math.min(from - 1, Math.max(0, ((at + 0.5) * from) / to - 0.5));
    first[at] = Math.floor(place);
    second[at] = Math.min(from - 1, first[at] + 1);
    share[at] = place - first[at];
  }
  return { first, second, share };
}
