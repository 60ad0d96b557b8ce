"""The foreground's own colours at soft edges, where a photo shows a mix of foreground and background.

Blur fusion after Forte ("Approximate Fast Foreground Colour Estimation", ICIP 2021): a soft pixel's
foreground colour is averaged over its surroundings, weighted by opacity, and corrected by the observed
colour. Wide windows find distant colours, narrow ones refine them. Averaging is done on a small picture; only
the narrowest window and the corrections around it, which restore detail, at full size. Except for the widest
windows, this is done only near soft edges.

Opacities are repeated for each channel of the colours they are multiplied with: numpy is many times slower
with arrays of different shapes.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.imaging.matting import band
from ml.pixels import Mask, Pixels

Floats = NDArray[np.float32]

# The small picture's longer side, and windows as fractions of it. Up to the second, halves of the picture are
# used as they are, which is faster and more precise.
_SIDE = 768
_LONGEST_HALF = 1152
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


def decontaminate(picture: Pixels, alpha: Mask) -> Pixels:
    """`picture` (H x W x 3) with the background's share removed where `alpha` (H x W) is soft.

    Colours where alpha is 255 are kept exactly; invisible ones are undefined.
    """
    soft = cv2.inRange(alpha, 1, 254)
    answer = picture.copy()
    if not soft.any():
        return answer
    foreground, background = _surroundings(picture, alpha, soft)
    for tile in band.tiles(soft):
        padded = tile.padded(_FINE_PIXELS)
        opacity = _opacity(alpha[padded.window])
        colors = picture[padded.window].astype(np.float32)
        near, behind = _enlarged(foreground, padded), _enlarged(background, padded)
        corrected = _correct(colors, near, behind, opacity)
        near = _average(corrected, opacity, _FINE_PIXELS, _FINE_POWER, near)
        # The background's surroundings are smooth already.
        within = tile.within(padded)
        near = _correct(colors[within], near[within], behind[within], opacity[within])
        answer[tile.window] = cv2.add(near, 0, dtype=cv2.CV_8U)  # rounds and keeps within 0..255
    return answer


def _enlarged(colors: Floats, tile: band.Tile) -> Floats:
    """A tile of small colours with a fourth channel, by which OpenCV interpolates in a third of the time."""
    answer: Floats = cv2.cvtColor(tile.enlarged(colors), cv2.COLOR_RGBA2RGB)
    return answer


def _opacity(alpha: Mask) -> Floats:
    """`alpha` as 0..1, H x W x 3."""
    opacity: Floats = cv2.cvtColor(alpha, cv2.COLOR_GRAY2RGB).astype(np.float32)
    opacity *= np.float32(1 / 255)
    return opacity


def _surroundings(picture: Pixels, alpha: Mask, soft: Mask) -> tuple[Floats, Floats]:
    """The colours of foreground and background around each place, h x w x 4, 0..255, at the small size.

    The fourth channel is not used. The colours are precise near the pixels at which `soft` is not 0.
    """
    height, width = alpha.shape
    size = _small_size(width, height)
    small = band.reduced(picture, size).astype(np.float32)
    opacity = _opacity(band.reduced(alpha, size))
    foreground, background = _average_widely(small, opacity)
    answer = foreground.copy(), background.copy()
    narrow, narrowest = (max(1, round(max(size) * share)) for share in (_NARROW, _NARROWEST))
    # The fine window and interpolation reach beyond the soft pixels.
    reach = 2 * (_FINE_PIXELS + 1) + 1
    near_edges = cv2.dilate(
        cv2.resize(soft, size, interpolation=cv2.INTER_AREA), np.ones((reach, reach), np.uint8)
    )
    for tile in band.tiles(near_edges):
        padded = tile.padded(narrow + narrowest)
        window = padded.window
        share = opacity[window]
        rest = 1 - share
        near = _average(foreground[window], share, narrow, _NARROW_POWER, foreground[window])
        behind = _average(background[window], rest, narrow, _NARROW_POWER, background[window])
        near = _correct(small[window], near, behind, share)
        within = tile.within(padded)
        answer[0][tile.window] = _average(near, share, narrowest, _NARROW_POWER, near)[within]
        answer[1][tile.window] = _average(behind, rest, narrowest, _NARROW_POWER, behind)[within]
    return cv2.cvtColor(answer[0], cv2.COLOR_RGB2RGBA), cv2.cvtColor(answer[1], cv2.COLOR_RGB2RGBA)


def _small_size(width: int, height: int) -> tuple[int, int]:
    longer = max(width, height)
    halved: float = longer
    while halved > _LONGEST_HALF:
        halved /= 2
    scale = min(1.0, (halved if _SIDE <= halved < longer else _SIDE) / longer)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _average_widely(small: Floats, opacity: Floats) -> tuple[Floats, Floats]:
    height, width = small.shape[:2]
    size = (max(1, width // _WIDE_REDUCTION), max(1, height // _WIDE_REDUCTION))
    smaller = cv2.resize(small, size, interpolation=cv2.INTER_AREA)
    share = cv2.resize(opacity, size, interpolation=cv2.INTER_AREA)
    rest = 1 - share
    # Where even the widest window is empty, use the mean of the whole picture.
    near, behind = (
        np.broadcast_to((smaller * part).sum((0, 1)) / (part.sum((0, 1)) + 1e-6), smaller.shape)
        for part in (share, rest)
    )
    for window in _WIDE:
        window_pixels = max(3, round(max(size) * window))
        near = _average(smaller, share, window_pixels, _WIDE_POWER, near)
        behind = _average(smaller, rest, window_pixels, _WIDE_POWER, behind)
    foreground = _correct(smaller, near, behind, share)
    return cv2.resize(foreground, (width, height)), cv2.resize(behind, (width, height))


def _average(colors: Floats, share: Floats, window_pixels: int, power: int, before: Floats) -> Floats:
    """The colours averaged over a window, weighted by a power of their share of each pixel."""
    window = (max(1, window_pixels), max(1, window_pixels))
    weight = cv2.pow(share[..., 0], power)
    total = cv2.blur(weight, window)
    total += _BEFORE
    answer: Floats = cv2.blur(colors * cv2.cvtColor(weight, cv2.COLOR_GRAY2RGB), window)
    answer += _BEFORE * before
    answer /= cv2.cvtColor(total, cv2.COLOR_GRAY2RGB)
    return answer


def _correct(observed: Floats, foreground: Floats, background: Floats, opacity: Floats) -> Floats:
    """Correct the foreground's colours so that mixed with the background's they give the observed ones."""
    # foreground + opacity * (observed - opacity * foreground - (1 - opacity) * background), kept in 0..255
    corrected: Floats = background - foreground
    corrected *= opacity
    corrected += observed
    corrected -= background
    corrected *= opacity
    corrected += foreground
    np.clip(corrected, 0, 255, out=corrected)
    return corrected
