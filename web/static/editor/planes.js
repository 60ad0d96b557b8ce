// Planes of alpha: blur, edges, outlines and shadows of a cut-out, computed as the server computes them. Pure
// functions without a canvas. A plane holds one byte a pixel, row by row.

/** @import { Steps } from "./steps.js" */
/** @import { Frame, Size } from "./types.js" */

/** @typedef {Uint8Array | Uint8ClampedArray} Plane */

const FAINT = 13; // less alpha does not count as part of the object
/** An outline is around what is more opaque. */
export const INSIDE = 127;
/** Wider blurs are computed on a reduced plane. It looks the same and takes a fraction of the time. */
export const WIDEST_SIGMA = 4;
/** How far the server blurs bytes and floats, in sigmas. */
const SHORT_REACH = 3;
const LONG_REACH = 4;
/** Where less of a color is missing, no wider average is added. */
const LEAST_MISSING = 0.01;
/** A weight from which an average alone determines the color. */
const SUFFICIENT = 0.25;
/** Wider averages are at least this wide at their reduced size, so that interpolating them shows no steps. */
const NARROWEST_SIGMA = 2;
const FOOT = 0.08;
const FLATNESS = 0.1;

/**
 * The smallest box around what is visible, or null.
 * @param {Plane} alpha
 * @param {Size} size
 * @param {number} least alpha that counts
 * @returns {Frame | null}
 */
export function objectBox(alpha, { width, height }, least = FAINT) {
  let left = width;
  let right = -1;
  let top = height;
  let bottom = -1;
  for (let y = 0; y < height; y += 1) {
    const row = y * width;
    for (let x = 0; x < width; x += 1) {
      if (alpha[row + x] < least) continue;
      if (x < left) left = x;
      if (x > right) right = x;
      if (y < top) top = y;
      bottom = y;
    }
  }
  return right < 0 ? null : { x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
}

/**
 * A plane of floats blurred by a Gaussian. The border is mirrored.
 * @param {Float32Array} plane
 * @param {Size} size
 * @param {number} sigma in pixels
 * @returns {Float32Array}
 */
export function blurred(plane, size, sigma) {
  if (sigma <= 0) return plane;
  const soft = blurredSmall(plane, size, sigma);
  return soft.size === size ? soft.plane : enlarged(soft.plane, soft.size, size);
}

/**
 * A plane blurred by a Gaussian, at the size that shows it without loss: a wide blur needs fewer pixels.
 * @param {ArrayLike<number>} plane
 * @param {Size} size
 * @param {number} sigma in pixels
 * @returns {{ plane: Float32Array, size: Size }}
 */
export function blurredSmall(plane, size, sigma) {
  if (sigma <= 0) return { plane: Float32Array.from(plane), size };
  if (sigma <= WIDEST_SIGMA) return { plane: roundedPlane(convolved(plane, size, sigma, SHORT_REACH)), size };
  const small = reducedSize(size, sigma);
  const soft = convolved(roundedPlane(reduced(plane, size, small)), small, WIDEST_SIGMA, SHORT_REACH);
  return { plane: roundedPlane(soft), size: small };
}

/**
 * Rounds in place, as the server does between its steps.
 * @param {Float32Array} plane
 */
function roundedPlane(plane) {
  for (let at = 0; at < plane.length; at += 1) plane[at] = Math.round(plane[at]);
  return plane;
}

/**
 * The size at which a blur is one of the widest that is computed.
 * @param {Size} size
 * @param {number} sigma
 * @returns {Size}
 */
export function reducedSize(size, sigma) {
  const reduction = Math.max(1, sigma / WIDEST_SIGMA);
  return {
    width: Math.max(1, rounded(size.width / reduction)),
    height: Math.max(1, rounded(size.height / reduction)),
  };
}

/**
 * @param {ArrayLike<number>} plane
 * @param {Size} size
 * @param {number} sigma
 * @param {number} reach of the kernel in sigmas
 */
function convolved(plane, { width, height }, sigma, reach) {
  // As OpenCV: a kernel of an odd number of pixels.
  const radius = Math.max(1, Math.floor(rounded(2 * sigma * reach + 1) / 2));
  const kernel = new Float32Array(2 * radius + 1);
  let sum = 0;
  for (let at = -radius; at <= radius; at += 1)
    sum += kernel[at + radius] = Math.exp(-(at ** 2) / (2 * sigma ** 2));
  for (let at = 0; at < kernel.length; at += 1) kernel[at] /= sum;
  const across = new Float32Array(plane.length);
  const line = new Float32Array(Math.max(width, height) + 2 * radius);
  for (let y = 0; y < height; y += 1) {
    const row = y * width;
    let isEmpty = true;
    for (let at = 0; at < width + 2 * radius; at += 1) {
      const value = plane[row + mirrored(at - radius, width)];
      line[at] = value;
      if (value) isEmpty = false;
    }
    if (isEmpty) continue;
    for (let x = 0; x < width; x += 1) {
      let total = 0;
      for (let at = 0; at < kernel.length; at += 1) total += kernel[at] * line[x + at];
      across[row + x] = total;
    }
  }
  const answer = new Float32Array(plane.length);
  for (let y = 0; y < height; y += 1) {
    const row = y * width;
    for (let at = 0; at < kernel.length; at += 1) {
      const from = mirrored(y + at - radius, height) * width;
      const weight = kernel[at];
      for (let x = 0; x < width; x += 1) answer[row + x] += weight * across[from + x];
    }
  }
  return answer;
}

/**
 * @param {number} at
 * @param {number} length
 */
function mirrored(at, length) {
  if (length === 1) return 0;
  const period = 2 * (length - 1);
  const within = ((at % period) + period) % period;
  return within < length ? within : period - within;
}

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
function interpolation(from, to) {
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

/**
 * The plane with its edge softened over about `width` pixels to either side.
 * @param {Plane} alpha
 * @param {Size} size
 * @param {number} width
 * @returns {Plane}
 */
export function feathered(alpha, size, width) {
  if (width <= 0) return alpha;
  return Uint8ClampedArray.from(blurred(Float32Array.from(alpha), size, width / 2));
}

/**
 * The plane with its edge moved outwards by `shift` pixels, inwards if that is negative. Fractions are interpolated.
 * @param {Plane} alpha
 * @param {Size} size
 * @param {number} shift
 * @returns {Plane}
 */
export function shifted(alpha, size, shift) {
  const whole = Math.floor(Math.abs(shift));
  const rest = Math.abs(shift) - whole;
  // Moving an edge inwards moves what is outside of it outwards.
  const plane = shift > 0 ? Uint8ClampedArray.from(alpha) : inverted(alpha);
  let answer = whole ? dilated(plane, size, whole) : plane;
  if (rest) {
    const next = dilated(answer, size, 1);
    answer = answer.map((value, at) => rounded(value * (1 - rest) + next[at] * rest));
  }
  return shift > 0 ? answer : inverted(answer);
}

/** @param {Plane} plane */
function inverted(plane) {
  return Uint8ClampedArray.from(plane, (value) => 255 - value);
}

/**
 * Each value spread over a disc: only those with a lower one beside them spread farther than others do.
 * @param {Uint8ClampedArray} plane
 * @param {Size} size
 * @param {number} radius
 */
function dilated(plane, { width, height }, radius) {
  const answer = Uint8ClampedArray.from(plane);
  const reaches = Array.from({ length: 2 * radius + 1 }, (_, at) =>
    Math.floor(Math.sqrt((radius + 0.3) ** 2 - (at - radius) ** 2)),
  );
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const at = y * width + x;
      const value = plane[at];
      const isEdge =
        (x > 0 && plane[at - 1] < value) ||
        (x + 1 < width && plane[at + 1] < value) ||
        (y > 0 && plane[at - width] < value) ||
        (y + 1 < height && plane[at + width] < value);
      if (!isEdge) continue;
      for (let row = Math.max(0, y - radius); row <= Math.min(height - 1, y + radius); row += 1) {
        const reach = reaches[row - y + radius];
        const last = row * width + Math.min(width - 1, x + reach);
        for (let to = row * width + Math.max(0, x - reach); to <= last; to += 1)
          if (answer[to] < value) answer[to] = value;
      }
    }
  }
  return answer;
}

/**
 * The distance of each pixel to the nearest one inside the object, exactly (Felzenszwalb and Huttenlocher).
 * @param {Plane} alpha
 * @param {Size} size
 */
export function distances(alpha, { width, height }) {
  const far = 1e12;
  const squares = Float64Array.from(alpha, (value) => (value > INSIDE ? 0 : far));
  const longest = Math.max(width, height);
  const line = new Float64Array(longest);
  const vertices = new Int32Array(longest);
  const borders = new Float64Array(longest + 1);
  const transform = (
    /** @type {number} */ start,
    /** @type {number} */ step,
    /** @type {number} */ length,
  ) => {
    for (let at = 0; at < length; at += 1) line[at] = squares[start + at * step];
    let last = 0;
    vertices[0] = 0;
    borders[0] = -Infinity;
    borders[1] = Infinity;
    for (let at = 1; at < length; at += 1) {
      let border = crossing(line, at, vertices[last]);
      while (border <= borders[last]) {
        last -= 1;
        border = crossing(line, at, vertices[last]);
      }
      last += 1;
      vertices[last] = at;
      borders[last] = border;
      borders[last + 1] = Infinity;
    }
    last = 0;
    for (let at = 0; at < length; at += 1) {
      while (borders[last + 1] < at) last += 1;
      squares[start + at * step] = (at - vertices[last]) ** 2 + line[vertices[last]];
    }
  };
  for (let x = 0; x < width; x += 1) transform(x, width, height);
  for (let y = 0; y < height; y += 1) transform(y * width, 1, width);
  return Float32Array.from(squares, Math.sqrt);
}

/**
 * @param {Float64Array} line
 * @param {number} at
 * @param {number} vertex
 */
function crossing(line, at, vertex) {
  return (line[at] + at * at - line[vertex] - vertex * vertex) / (2 * (at - vertex));
}

/**
 * How far the middle of an outline's edge is from the center of the last pixel inside the object.
 * @param {number} width of the outline in pixels of the picture
 * @param {number} scale of the plane to the picture
 */
export function outlineReach(width, scale) {
  return (width - 0.5) * scale + 0.5;
}

/**
 * The opacity of an outline around the object.
 * @param {Plane} alpha
 * @param {Size} size
 * @param {number} width of the outline in pixels of the picture
 * @param {number} scale of this plane to the picture
 * @returns {Plane}
 */
export function outline(alpha, size, width, scale) {
  const reach = outlineReach(width, scale);
  return Uint8ClampedArray.from(distances(alpha, size), (away) => (reach + 0.5 - away) * 255);
}

/**
 * The box of an object with its outline, possibly beyond the picture.
 * @param {Frame} box of what is visible
 * @param {Frame} inside of what the outline is around
 * @param {number} width of the outline
 * @returns {Frame}
 */
export function outlinedBox(box, inside, width) {
  const x = Math.min(box.x, inside.x - width);
  const y = Math.min(box.y, inside.y - width);
  return {
    x,
    y,
    width: Math.max(box.x + box.width, inside.x + inside.width + width) - x,
    height: Math.max(box.y + box.height, inside.y + inside.height + width) - y,
  };
}

/**
 * The object moved by whole pixels. One that the border cuts off continues beyond it.
 * @param {Plane} alpha
 * @param {Size} size
 * @param {number} across
 * @param {number} down
 */
export function moved(alpha, { width, height }, across, down) {
  const answer = new Uint8ClampedArray(alpha.length);
  for (let y = 0; y < height; y += 1) {
    const from = Math.min(height - 1, Math.max(0, y - down)) * width;
    const to = y * width;
    const first = Math.min(width, Math.max(0, across));
    const last = Math.max(0, Math.min(width, width + across));
    answer.fill(alpha[from], to, to + first);
    if (last > first) answer.set(alpha.subarray(from + first - across, from + last - across), to + first);
    answer.fill(alpha[from + width - 1], to + last, to + width);
  }
  return answer;
}

/**
 * The nearest integer, of two the even one, as the server rounds.
 * @param {number} value
 */
export function rounded(value) {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 ? below + 1 : below;
}

/**
 * A flat ellipse where the object stands, before it is blurred.
 * @param {Plane} alpha
 * @param {Size} size
 * @param {Frame} box of the object
 */
export function foot(alpha, { width, height }, box) {
  const bottom = box.y + box.height;
  const top = bottom - Math.max(1, rounded(FOOT * box.height));
  let left = -1;
  let right = -1;
  for (let x = 0; x < width; x += 1) {
    for (let y = top; y < bottom; y += 1) {
      if (alpha[y * width + x] <= INSIDE) continue;
      if (left < 0) left = x;
      right = x;
      break;
    }
  }
  if (left < 0) [left, right] = [box.x, box.x + box.width - 1];
  const halfWidth = (right - left + 1) / 2;
  const halfHeight = Math.max(1, FLATNESS * halfWidth);
  const middle = { x: rounded((left + right) / 2), y: rounded(bottom - halfHeight / 2) };
  const radii = { x: Math.max(1, rounded(halfWidth)), y: rounded(halfHeight) };
  const answer = new Uint8ClampedArray(alpha.length);
  for (let y = Math.max(0, middle.y - radii.y); y <= Math.min(height - 1, middle.y + radii.y); y += 1) {
    // A row is as wide as the ellipse where the row begins, not at its middle.
    const away = Math.max(0, Math.abs(y - middle.y) - 0.5);
    const reach = radii.x * Math.sqrt(Math.max(0, 1 - (away / radii.y) ** 2));
    const first = Math.max(0, Math.round(middle.x - reach));
    const last = Math.min(width - 1, Math.round(middle.x + reach));
    if (last >= first) answer.fill(255, y * width + first, y * width + last + 1);
  }
  return answer;
}

/**
 * The known colors of a picture, averaged by a Gaussian, and spread over the rest by wider and wider ones.
 * @param {Float32Array[]} colors red, green, blue
 * @param {Float32Array} known share of each pixel that is known, 0 to 1
 * @param {Size} size
 * @param {number} sigma of the first average
 * @returns {Steps<Float32Array[]>}
 */
export function* spreadColors(colors, known, size, sigma) {
  const missing = new Float32Array(known.length).fill(1);
  const answer = colors.map(() => new Float32Array(known.length));
  let planes = [known, ...colors.map((plane) => plane.map((value, at) => value * known[at]))];
  let level = size;
  let width = sigma;
  for (;;) {
    const soft = [];
    for (const plane of planes) {
      soft.push(convolved(plane, level, width, LONG_REACH));
      yield;
    }
    const [weights, ...averages] = soft;
    const most = takeAverages(answer, missing, size, averages, weights, level);
    if (most <= LEAST_MISSING || known.length === 1 || level.width * level.height === 1) break;
    const [from, half] = [level, halfOf(level)];
    planes = planes.map((plane) => reduced(plane, from, half));
    level = half;
    width = Math.max(width, NARROWEST_SIGMA);
  }
  for (const plane of answer)
    for (let at = 0; at < plane.length; at += 1) plane[at] /= Math.max(1 - missing[at], 1e-6);
  return answer;
}

/**
 * Adds averages to the colors where these are missing. Returns the most that is missing still.
 * @param {Float32Array[]} answer
 * @param {Float32Array} missing
 * @param {Size} size of both
 * @param {Float32Array[]} averages
 * @param {Float32Array} weights
 * @param {Size} level size of the averages, which are interpolated
 */
function takeAverages(answer, missing, size, averages, weights, level) {
  const columns = interpolation(level.width, size.width);
  const rows = interpolation(level.height, size.height);
  let most = 0;
  for (let y = 0; y < size.height; y += 1) {
    const above = rows.first[y] * level.width;
    const below = rows.second[y] * level.width;
    const down = rows.share[y];
    for (let x = 0; x < size.width; x += 1) {
      const at = y * size.width + x;
      if (!missing[at]) continue;
      const left = columns.first[x];
      const right = columns.second[x];
      const share = columns.share[x];
      const corners = [(1 - share) * (1 - down), share * (1 - down), (1 - share) * down, share * down];
      const valueOf = (/** @type {Float32Array} */ plane) =>
        plane[above + left] * corners[0] +
        plane[above + right] * corners[1] +
        plane[below + left] * corners[2] +
        plane[below + right] * corners[3];
      const weight = valueOf(weights);
      const taken = missing[at] * Math.min(weight / SUFFICIENT, 1);
      const factor = taken / (weight + 1e-6);
      for (let channel = 0; channel < 3; channel += 1)
        answer[channel][at] += factor * valueOf(averages[channel]);
      missing[at] -= taken;
      if (missing[at] > most) most = missing[at];
    }
  }
  return most;
}

/**
 * @param {Size} size
 * @returns {Size}
 */
function halfOf({ width, height }) {
  return { width: Math.max(1, Math.floor(width / 2)), height: Math.max(1, Math.floor(height / 2)) };
}
