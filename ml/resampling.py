"""Pictures in other sizes and at other angles.

Colour is weighted by alpha wherever pixels are mixed, so that what lies hidden under transparency never
bleeds into visible edges.
"""

import math

import numpy as np

from ml.codecs import check_output_size
from ml.pixels import Pixels


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
    # Less a hair, so that float noise never adds an empty row.
    new_width = math.ceil(width * abs(cosine) + height * abs(sine) - 1e-6)
    new_height = math.ceil(width * abs(sine) + height * abs(cosine) - 1e-6)
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


def resize(
    pixels: Pixels, size: tuple[int, int], part: tuple[float, float, float, float] | None = None
) -> Pixels:
    """H x W x 3|4, or its `part` (left, top, right, bottom; fractions of pixels allowed), at (width, height).

    Lanczos, which averages as far as it shrinks. What has this size already is returned untouched. Raises
    `PictureTooLarge`.
    """
    from PIL import Image

    check_output_size(*size)
    if part in (None, (0, 0, *size)) and size == (pixels.shape[1], pixels.shape[0]):
        return pixels
    # Pillow weights RGBA by alpha itself.
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS, box=part))
