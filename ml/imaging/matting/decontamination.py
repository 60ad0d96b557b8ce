"""The foreground's own colours at soft edges, where a photo shows a mix of foreground and background.

Blur fusion after Forte ("Approximate Fast Foreground Colour Estimation", ICIP 2021): a soft pixel's
foreground colour is averaged over its surroundings, weighted by opacity, and corrected by the observed
colour. Wide windows find distant colours, narrow ones refine them. Averaging is done on a small picture; only
the narrowest window and the corrections around it, which restore detail, at full size.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.imaging.matting import band
from ml.pixels import Mask, Pixels

Floats = NDArray[np.float32]

# The small picture's longer side, and windows as fractions of it.
_MAX_SIDE = 768
_WIDE_REDUCTION = 4
_WIDE = (1 / 4, 1 / 16)
_NARROW = 1 / 96
_NARROWEST = 1 / 340
# The last window, in pixels of the full size: wider ones blend neighbouring hairs of different colours.
_FINE_PIXELS = 3
_FINE_POWER = 4
# A pixel counts by this power of its share. The published method uses the share itself, which lets mixed
# pixels tint the result: on known composites the error is a tenth larger.
_WIDE_POWER = 8
_NARROW_POWER = 4
# Weight of the previous colours, which are used where a window is empty.
_BEFORE = 3e-3


def decontaminate(picture: Pixels, alpha: Mask, shown: Mask | None = None) -> Pixels:
    """`picture` (H x W x 3) with the background's share removed where `alpha` (H x W) is soft.

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
        padded = tile.padded(_FINE_PIXELS)
        opacity = alpha[padded.window].astype(np.float32)[..., None]
        opacity /= 255
        colors = picture[padded.window].astype(np.float32)
        near, behind = padded.enlarged(foreground), padded.enlarged(background)
        corrected = _correct(colors, near, behind, opacity)
        near, behind = _average(corrected, behind, opacity, _FINE_PIXELS, _FINE_POWER, (near, behind))
        within = tile.within(padded)
        near = _correct(colors[within], near[within], behind[within], opacity[within])
        answer[tile.window] = cv2.add(near, 0, dtype=cv2.CV_8U)  # rounds and keeps within 0..255
    return answer


def _surroundings(picture: Pixels, alpha: Mask) -> tuple[Floats, Floats]:
    """The colours of foreground and background around each place, h x w x 3, 0..255, at the small size."""
    height, width = alpha.shape
    scale = min(1.0, _MAX_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    longer = max(size)
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    opacity = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA).astype(np.float32)[..., None] / 255
    foreground, background = _average_widely(small, opacity)
    foreground, background = _average(
        foreground, background, opacity, round(longer * _NARROW), _NARROW_POWER, (foreground, background)
    )
    foreground = _correct(small, foreground, background, opacity)
    return _average(
        foreground, background, opacity, round(longer * _NARROWEST), _NARROW_POWER, (foreground, background)
    )


def _average_widely(small: Floats, opacity: Floats) -> tuple[Floats, Floats]:
    height, width = small.shape[:2]
    size = (max(1, width // _WIDE_REDUCTION), max(1, height // _WIDE_REDUCTION))
    smaller = cv2.resize(small, size, interpolation=cv2.INTER_AREA)
    share = cv2.resize(opacity, size, interpolation=cv2.INTER_AREA)[..., None]
    # Where even the widest window is empty, use the mean of the whole picture.
    colors = (
        (smaller * share).sum((0, 1)) / (share.sum() + 1e-6),
        (smaller * (1 - share)).sum((0, 1)) / ((1 - share).sum() + 1e-6),
    )
    for window in _WIDE:
        window_pixels = max(3, round(max(size) * window))
        colors = _average(smaller, smaller, share, window_pixels, _WIDE_POWER, colors)
    foreground = _correct(smaller, *colors, share)
    return cv2.resize(foreground, (width, height)), cv2.resize(colors[1], (width, height))


def _average(
    foreground: Floats,
    background: Floats,
    opacity: Floats,
    window_pixels: int,
    power: int,
    before: tuple[Floats, Floats],
) -> tuple[Floats, Floats]:
    """Both colours averaged over a window, weighted by a power of their share of each pixel."""
    window = (max(1, window_pixels), max(1, window_pixels))
    answers = []
    for colors, share, earlier in zip((foreground, background), (opacity, 1 - opacity), before, strict=True):
        weight = cv2.pow(share, power)[..., None]
        total = cv2.blur(weight, window)[..., None] + _BEFORE
        answers.append((cv2.blur(colors * weight, window) + _BEFORE * earlier) / total)
    return answers[0], answers[1]


def _correct(small: Floats, foreground: Floats, background: Floats, opacity: Floats) -> Floats:
    """Correct the foreground's colours so that mixed with the background's they give the observed ones."""
    corrected = foreground + opacity * (small - opacity * foreground - (1 - opacity) * background)
    answer: Floats = np.clip(corrected, 0, 255)
    return answer
