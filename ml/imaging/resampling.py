"""Resizing and rotation of pictures.

Colours are weighted by alpha, so that those hidden under transparency never bleed into visible edges.
"""

import math
from typing import TYPE_CHECKING, Any

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
_TILE_PIXELS = 512
_LANCZOS_PIXELS = 8  # a side that OpenCV's Lanczos mixes
# Lower alpha is rounded to 0.
_MIN_ALPHA = 0.5


def rotate(pixels: Pixels, degrees: float) -> Pixels:
    """H x W x 3|4 rotated clockwise by -180..180 degrees, on the smallest canvas that contains it.

    Multiples of 90 are exact. At other angles the answer is RGBA with transparent corners and smooth edges.
    Opaque areas are resampled by Lanczos, and by bicubic at their edges, where Lanczos would leave a faint
    second edge. Raises `PictureTooLarge`.
    """
    quarter_turns, rest = divmod(degrees, 90)
    if rest == 0:
        return np.rot90(pixels, -int(quarter_turns))
    height, width = pixels.shape[:2]
    new_width, new_height = rotated_size(width, height, degrees)
    check_output_size(new_width, new_height)
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    # Pixel centres have integer coordinates; the centre of the picture maps to the centre of the canvas.
    middle_x, middle_y = (new_width - 1) / 2, (new_height - 1) / 2
    to_source = np.array(
        [
            [cosine, sine, (width - 1) / 2 - cosine * middle_x - sine * middle_y],
            [-sine, cosine, (height - 1) / 2 + sine * middle_x - cosine * middle_y],
        ]
    )
    answer = np.zeros((new_height, new_width, 4), np.uint8)
    for top in range(0, new_height, _TILE_PIXELS):
        for left in range(0, new_width, _TILE_PIXELS):
            _rotate_tile(pixels, to_source, answer, (left, top))
    return answer


def _rotate_tile(
    pixels: Pixels, to_source: NDArray[np.float64], answer: Pixels, place: tuple[int, int]
) -> None:
    """Fill the tile of `answer` at `place`, (left, top).

    `to_source` maps the answer's pixels to the source's.
    """
    import cv2

    left, top = place
    tile = answer[top : top + _TILE_PIXELS, left : left + _TILE_PIXELS]
    height, width = tile.shape[:2]
    corners = to_source @ [
        [left, left + width, left, left + width],
        [top, top, top + height, top + height],
        [1] * 4,
    ]
    first = np.maximum(np.floor(corners.min(axis=1)).astype(int) - _LANCZOS_PIXELS, 0)
    last = np.ceil(corners.max(axis=1)).astype(int) + _LANCZOS_PIXELS
    part = pixels[first[1] : max(0, last[1]), first[0] : max(0, last[0])]
    if not part.size:
        return
    shift = to_source @ [left, top, 1] - first
    matrix = np.column_stack([to_source[:, :2], shift])

    def warp(values: NDArray[Any], method: int) -> NDArray[Any]:
        flags = method | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(np.ascontiguousarray(values), matrix, (width, height), flags=flags))

    opaque = (
        np.full(part.shape[:2], 255, np.uint8) if part.shape[2] == 3 else cv2.inRange(part[..., 3], 255, 255)
    )
    reach = np.ones((_LANCZOS_PIXELS + 1, _LANCZOS_PIXELS + 1), np.uint8)
    inner = warp(cv2.erode(opaque, reach, borderType=cv2.BORDER_CONSTANT, borderValue=0), cv2.INTER_NEAREST)
    if not inner.all():
        # In floats, because in 8 bits alpha is clipped at 255 while weighted colour still overshoots.
        weights = opaque if part.shape[2] == 3 else part[..., 3]
        alpha = warp(weights.astype(np.float32), cv2.INTER_CUBIC)
        weighted = part[..., :3] * weights[..., None].astype(np.float32)
        divisor = np.where(alpha >= _MIN_ALPHA, alpha, np.inf)[..., None]
        tile[..., :3] = np.clip(np.rint(warp(weighted, cv2.INTER_CUBIC) / divisor), 0, 255)
        tile[..., 3] = np.clip(np.rint(alpha), 0, 255)
    if inner.any():
        sharp = cv2.cvtColor(warp(part[..., :3], cv2.INTER_LANCZOS4), cv2.COLOR_RGB2RGBA)
        tile[...] = sharp if inner.all() else np.where(inner[..., None] > 0, sharp, tile)


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
