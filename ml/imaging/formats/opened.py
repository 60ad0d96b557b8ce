"""The result of every format's reader, and shared limits."""

import math
import re
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ml.errors import PictureTooLarge, UnreadablePicture
from ml.pixels import Pixels

#: Real profiles are under 3 MB, even for CMYK printing; a bigger one is ignored.
MAX_PROFILE_BYTES = 4 << 20

#: Longest side of inputs and results. Formats allow more, but a picture of 50,000,000 x 1 pixels is useless,
#: and the cost of code that works by rows or by side length would exceed what its pixel count suggests.
MAX_SIDE_PIXELS = 65_535

#: Warning for animated GIF, PNG, WebP and AVIF files.
ANIMATED = "The file is an animation: only its first frame is used."

_ROWS_AT_ONCE = 256
_SEARCHED_AT_ONCE = 1 << 18


@dataclass
class Opened:
    """A picture as its file stores it: decoded, 8 bits a channel, not yet upright, not yet sRGB."""

    image: Image.Image  # L, LA, RGB, RGBA or CMYK
    icc_profile: bytes | None = None
    orientation: int = 1  # EXIF's numbers, 1..8; 1 = upright
    warnings: tuple[str, ...] = ()
    jpeg_tables: tuple[tuple[int, ...], ...] | None = None  # see `ml.pixels.Picture`
    dpi: tuple[float, float] | None = None
    exif: bytes | None = None  # the block as stored, for `camera_metadata`


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raises `PictureTooLarge`, or `UnreadablePicture` for no pixels, before memory is allocated."""
    if width < 1 or height < 1:
        raise UnreadablePicture("The image has no pixels.")
    if max(width, height) > MAX_SIDE_PIXELS:
        raise PictureTooLarge(
            f"The image has {width} x {height} pixels; at most {MAX_SIDE_PIXELS} pixels a side are allowed."
        )
    if width * height > max_pixels:
        raise PictureTooLarge(
            f"The image has {width} x {height} pixels ({megapixels(width, height)} megapixels);"
            f" at most {max_pixels / 1e6:g} megapixels are allowed."
        )


def megapixels(width: int, height: int) -> str:
    """For messages; rounded up, so that a size just above a limit is not displayed as the limit."""
    return f"{math.ceil(width * height / 1e4) / 100:.2f}"


def damaged_picture(reason: str) -> UnreadablePicture:
    """The error for a damaged file; `reason` continues the sentence."""
    return UnreadablePicture(f"The image cannot be read: {reason}.")


def search(pattern: re.Pattern[bytes], data: bytes, position: int) -> re.Match[bytes] | None:
    """`pattern.search(data, position)` for patterns of two bytes, in steps of 256 KiB.

    A search holds the GIL, and uploads are searched in a thread while the event loop runs.
    """
    while position < len(data):
        # One byte more, for a match that spans two pieces.
        found = pattern.search(data, position, position + _SEARCHED_AT_ONCE + 1)
        if found is not None:
            return found
        position += _SEARCHED_AT_ONCE
    return None


def as_array(image: Image.Image) -> Pixels:
    """H x W x 3|4, copied some rows at a time: Pillow's own conversion allocates the picture three times."""
    pixels = np.empty((image.height, image.width, len(image.getbands())), np.uint8)
    for top in range(0, image.height, _ROWS_AT_ONCE):
        bottom = min(image.height, top + _ROWS_AT_ONCE)
        pixels[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    return pixels
