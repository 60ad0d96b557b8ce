"""The foreground's own colours at soft edges, where a photo shows a mix of foreground and background.

Blur fusion of Forte ("Approximate Fast Foreground Colour Estimation", ICIP 2021): the foreground's colour is
taken from the surely-foreground colours around, weighted by alpha, and corrected by what the mixed pixel
shows. The first, wide pass fetches colours from afar, the next ones bring them closer. All passes need only
a small picture; the correction of the last one, which carries the detail, is made at full size.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.matting import band
from ml.pixels import Mask, Pixels

Floats = NDArray[np.float32]

# The small picture's longer side, and the passes' windows as fractions of it.
_LONGEST = 768
_WIDE_REDUCTION = 4
_WIDE = 1 / 16
_NARROW = 1 / 96
_NARROWEST = 1 / 340


def decontaminate(picture: Pixels, alpha: Mask, shown: Mask | None = None) -> Pixels:
    """`picture` (H x W x 3) with the background's share taken out wherever `alpha` (H x W) is soft.

    `shown` marks (not 0) the pixels that will be visible although their alpha is 0, because the edge is
    softened afterwards: they get the colour that the foreground has nearby. Colours where alpha is 255 are
    kept exactly; those that stay invisible are undefined.
    """
    soft = cv2.inRange(alpha, 1, 254)
    if shown is not None:
        soft = cv2.bitwise_or(soft, cv2.bitwise_and(shown, cv2.bitwise_not(alpha)))
    answer = picture.copy()
    if not soft.any():
        return answer
    foreground, background = _surroundings(picture, alpha)
    for tile in band.tiles(soft):
        opacity = alpha[tile.window].astype(np.float32)[..., None]
        opacity /= 255
        near = tile.enlarged(foreground)
        behind = tile.enlarged(background)
        behind += opacity * (near - behind)  # what the mixed pixel would show if `near` were right
        near += opacity * (picture[tile.window] - behind)
        answer[tile.window] = cv2.add(near, 0, dtype=cv2.CV_8U)  # rounds and keeps within 0..255
    return answer


def _surroundings(picture: Pixels, alpha: Mask) -> tuple[Floats, Floats]:
    """The colours of foreground and background around each place, h x w x 3, 0..255, at the small size."""
    height, width = alpha.shape
    scale = min(1.0, _LONGEST / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    longer = max(size)
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    opacity = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA).astype(np.float32)[..., None] / 255
    foreground, background = _wide_pass(small, opacity, round(longer * _WIDE))
    foreground, background = _fuse(small, foreground, background, opacity, round(longer * _NARROW))
    return _blurred(foreground, background, opacity, round(longer * _NARROWEST))


def _wide_pass(small: Floats, opacity: Floats, window_pixels: int) -> tuple[Floats, Floats]:
    height, width = small.shape[:2]
    size = (max(1, width // _WIDE_REDUCTION), max(1, height // _WIDE_REDUCTION))
    smaller = cv2.resize(small, size, interpolation=cv2.INTER_AREA)
    smaller_opacity = cv2.resize(opacity, size, interpolation=cv2.INTER_AREA)[..., None]
    window_pixels = max(3, window_pixels // _WIDE_REDUCTION)
    foreground, background = _fuse(smaller, smaller, smaller, smaller_opacity, window_pixels)
    return cv2.resize(foreground, (width, height)), cv2.resize(background, (width, height))


def _fuse(
    small: Floats, foreground: Floats, background: Floats, opacity: Floats, window_pixels: int
) -> tuple[Floats, Floats]:
    """One pass: the colours around, and the foreground's corrected by what is seen."""
    near, behind = _blurred(foreground, background, opacity, window_pixels)
    seen = near + opacity * (small - opacity * near - (1 - opacity) * behind)
    return np.clip(seen, 0, 255), behind


def _blurred(
    foreground: Floats, background: Floats, opacity: Floats, window_pixels: int
) -> tuple[Floats, Floats]:
    """Both colours averaged over a window, each weighted by its own share of the pixels."""
    window = (max(1, window_pixels), max(1, window_pixels))
    share = cv2.blur(opacity, window)[..., None]
    near = cv2.blur(foreground * opacity, window) / (share + 1e-5)
    behind = cv2.blur(background * (1 - opacity), window) / (1 - share + 1e-5)
    return near, behind
