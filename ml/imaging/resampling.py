"""Resizing and rotation of pictures.

Colours are weighted by alpha, so that those hidden under transparency never bleed into visible edges.
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
# Lower alpha is rounded to 0.
_MIN_ALPHA = 0.5


def rotate(pixels: Pixels, degrees: float) -> Pixels:
    """H x W x 3|4 rotated clockwise by -180..180 degrees, on the smallest canvas that contains it.

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
    # Pixel centres have integer coordinates; the centre of the picture maps to the centre of the canvas.
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    shift_x = (new_width - 1) / 2 - cosine * middle_x + sine * middle_y
    shift_y = (new_height - 1) / 2 - sine * middle_x - cosine * middle_y
    matrix = np.array([[cosine, -sine, shift_x], [sine, cosine, shift_y]])
    if pixels.shape[2] == 3:
        weighted = cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA)
    else:
        weighted = cv2.cvtColor(pixels, cv2.COLOR_RGBA2mRGBA)
    turned = cv2.warpAffine(weighted, matrix, (new_width, new_height), flags=cv2.INTER_CUBIC)
    # Bicubic overshoots at edges. Premultiplied colour must not exceed alpha; not every library clips it.
    np.minimum(turned[..., :3], turned[..., 3:], out=turned[..., :3])
    answer: Pixels = cv2.cvtColor(turned, cv2.COLOR_mRGBA2RGBA)
    return answer


def rotated_size(width: int, height: int, degrees: float) -> tuple[int, int]:
    """(width, height) of the smallest canvas that contains a picture of this size, rotated by `degrees`."""
    quarter_turns, rest = divmod(degrees, 90)
    if rest == 0:
        return (height, width) if quarter_turns % 2 else (width, height)
    sine, cosine = abs(math.sin(math.radians(degrees))), abs(math.cos(math.radians(degrees)))
    # Minus an epsilon, so that rounding errors never add an empty row.
    return (
        math.ceil(width * cosine + height * sine - 1e-6),
        math.ceil(width * sine + height * cosine - 1e-6),
    )


def resize(pixels: Pixels | Mask, size: tuple[int, int], part: Part | None = None) -> Pixels | Mask:
    """H x W x 3|4 or a mask, or its `part`, at (width, height).

    Uses Lanczos, and bicubic for enlarging alpha and masks, because Lanczos leaves a faint second edge around
    a sharp one. A picture that has this size already is returned unchanged. Raises `PictureTooLarge`.
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
    """Resize with colours weighted by alpha, the last or only channel, in floats.

    In 8 bits alpha is clipped at 255 while weighted colour still overshoots, which makes a bright rim at
    edges. In floats both overshoot alike, and their quotient is the colour.
    """
    from PIL import Image

    width, height = size
    left, top, right, bottom = part
    down = (bottom - top) / height
    reach = math.ceil(3 * max(down, 1.0)) + 1  # source rows that contribute to a row of the result
    answer = np.empty((height, width, pixels.shape[2]), np.uint8)
    # Work in strips, so that full-size float arrays are never allocated.
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
