"""Pictures in other sizes and at other angles.

Colour is weighted by alpha wherever pixels are mixed, so that what lies hidden under transparency never
bleeds into visible edges.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ml.imaging.codecs import check_output_size
from ml.pixels import Mask, Pixels

if TYPE_CHECKING:
    from PIL.Image import Resampling

Floats = NDArray[np.float32]
#: (left, top, right, bottom) of a picture; fractions of pixels are allowed.
Part = tuple[float, float, float, float]

_ROWS_AT_ONCE = 256
# Below half a step of 8 bits nothing is visible.
_MIN_ALPHA = 0.5


def rotate(pixels: Pixels, degrees: float) -> Pixels:
    """H x W x 3|4 turned clockwise by -180..180 degrees, on a canvas that just holds all of it.

    Multiples of 90 are exact. At other angles pixels are mixed (bicubic) and the answer is RGBA with
    transparent corners and smooth edges. Raises `PictureTooLarge`.
    """
    quarter_turns, rest = divmod(degrees, 90)
    if rest == 0:
        return np.rot90(pixels, -int(quarter_turns))
    import cv2

    height, width = pixels.shape[:2]
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    new_width, new_height = rotated_size(width, height, degrees)
    check_output_size(new_width, new_height)
    # Pixel centres lie at whole numbers; the middle of the picture goes to the middle of the canvas.
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    shift_x = (new_width - 1) / 2 - cosine * middle_x + sine * middle_y
    shift_y = (new_height - 1) / 2 - sine * middle_x - cosine * middle_y
    matrix = np.array([[cosine, -sine, shift_x], [sine, cosine, shift_y]])
    if pixels.shape[2] == 3:
        weighted = cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA)
    else:
        weighted = cv2.cvtColor(pixels, cv2.COLOR_RGBA2mRGBA)
    turned = cv2.warpAffine(weighted, matrix, (new_width, new_height), flags=cv2.INTER_CUBIC)
    # Bicubic overshoots at edges. Weighted colour above alpha is no colour; not every library clips it.
    np.minimum(turned[..., :3], turned[..., 3:], out=turned[..., :3])
    answer: Pixels = cv2.cvtColor(turned, cv2.COLOR_mRGBA2RGBA)
    return answer


def rotated_size(width: int, height: int, degrees: float) -> tuple[int, int]:
    """(width, height) of the canvas that just holds a picture of this size, turned by `degrees`."""
    quarter_turns, rest = divmod(degrees, 90)
    if rest == 0:
        return (height, width) if quarter_turns % 2 else (width, height)
    sine, cosine = abs(math.sin(math.radians(degrees))), abs(math.cos(math.radians(degrees)))
    # Less a hair, so that float noise never adds an empty row.
    return (
        math.ceil(width * cosine + height * sine - 1e-6),
        math.ceil(width * sine + height * cosine - 1e-6),
    )


def resize(pixels: Pixels | Mask, size: tuple[int, int], part: Part | None = None) -> Pixels | Mask:
    """H x W x 3|4 or a mask, or its `part`, at (width, height).

    Lanczos, which averages as far as it shrinks. Alpha and masks are enlarged by bicubic instead: Lanczos
    leaves a faint second edge around a sharp one. What has this size already is returned untouched. Raises
    `PictureTooLarge`.
    """
    from PIL import Image

    check_output_size(*size)
    if part in (None, (0, 0, *size)) and size == (pixels.shape[1], pixels.shape[0]):
        return pixels
    part = part or (0, 0, pixels.shape[1], pixels.shape[0])
    has_edges = pixels.ndim == 2 or pixels.shape[2] == 4
    enlarges = size[0] > part[2] - part[0] and size[1] > part[3] - part[1]
    filter = Image.Resampling.BICUBIC if has_edges and enlarges else Image.Resampling.LANCZOS
    if pixels.ndim == 2:
        return _resize_weighted(pixels[..., None], size, part, filter)[..., 0]
    if pixels.shape[2] == 4:
        return _resize_weighted(pixels, size, part, filter)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize(size, filter, box=part))


def _resize_weighted(pixels: Pixels, size: tuple[int, int], part: Part, filter: "Resampling") -> Pixels:
    """As Pillow does it, colour weighted by alpha, the last channel or the only one, but in floats.

    Cut off at 255, as in 8 bits, weighted colour overshoots beside an edge where alpha cannot, and the edge
    gets a bright rim. Uncut, both overshoot alike, and their quotient is the colour.
    """
    from PIL import Image

    width, height = size
    left, top, right, bottom = part
    down = (bottom - top) / height
    reach = math.ceil(3 * max(down, 1.0)) + 1  # rows of the source that a row of the answer looks at
    answer = np.empty((height, width, pixels.shape[2]), np.uint8)
    # Full-size floats are held for some rows at a time only.
    at_once = max(8, round(_ROWS_AT_ONCE / max(down, 1.0)))
    for first in range(0, height, at_once):
        end = min(first + at_once, height)
        start, stop = top + first * down, min(top + end * down, bottom)
        row = max(0, math.floor(start) - reach)
        rows = pixels[row : math.ceil(stop) + reach]
        box = (left, start - row, right, min(stop - row, rows.shape[0]))

        def resized(channel: Floats, box: Part = box, count: int = end - first) -> Floats:
            return np.asarray(Image.fromarray(channel).resize((width, count), filter, box=box))

        weights = rows[..., -1].astype(np.float32)
        alpha = resized(weights)
        divisor = np.where(alpha >= _MIN_ALPHA, alpha, np.inf)
        for channel in range(pixels.shape[2] - 1):
            color = resized(weights * rows[..., channel]) / divisor
            answer[first:end, :, channel] = np.clip(np.rint(color), 0, 255)
        answer[first:end, :, -1] = np.clip(np.rint(alpha), 0, 255)
    return answer
