"""What every format's reader returns, and the limits all of them share."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ml.errors import PictureTooLarge, UnreadablePicture
from ml.pixels import Pixels

#: Real profiles are under 3 MB, even for CMYK printing; a bigger one is ignored.
MAX_PROFILE_BYTES = 4 << 20

_ROWS_AT_ONCE = 256


@dataclass
class Opened:
    """A picture as its file stores it: decoded, 8 bits a channel, not yet upright, not yet sRGB."""

    image: Image.Image  # L, LA, RGB, RGBA or CMYK
    icc_profile: bytes | None = None
    orientation: int = 1  # EXIF's numbers, 1..8; 1 = upright


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raises `PictureTooLarge`, or `UnreadablePicture` for no pixels, before memory is taken for them."""
    if width < 1 or height < 1:
        raise UnreadablePicture("The picture has no pixels.")
    if width * height > max_pixels:
        raise PictureTooLarge(
            f"The picture has {width} x {height} pixels ({width * height / 1e6:.1f} megapixels);"
            f" at most {max_pixels / 1e6:g} megapixels are allowed."
        )


def damaged(reason: str) -> UnreadablePicture:
    """The error for bytes that are not what they claim to be; `reason` continues the sentence."""
    return UnreadablePicture(f"The picture cannot be read: {reason}.")


def as_array(image: Image.Image) -> Pixels:
    """H x W x 3|4, copied some rows at a time: Pillow's own conversion holds the picture three times over."""
    pixels = np.empty((image.height, image.width, len(image.getbands())), np.uint8)
    for top in range(0, image.height, _ROWS_AT_ONCE):
        bottom = min(image.height, top + _ROWS_AT_ONCE)
        pixels[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    return pixels
