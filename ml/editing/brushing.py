"""What a brush does to the pixels under it. All arrays are of one height and width."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.pixels import Mask, Pixels

# The blur's standard deviation as a share of the longer side, and its least in pixels.
_BLUR_SHARE = 0.01
_MIN_BLUR_PIXELS = 2.0


def with_alpha(pixels: Pixels) -> Pixels:
    """A copy with an alpha channel, opaque if there was none."""
    if pixels.shape[2] == 4:
        return pixels.copy()
    return np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])


def erase(pixels: Pixels, mask: Mask) -> Pixels:
    """`pixels` (H x W x 4) as much more transparent as the mask says."""
    answer = pixels.copy()
    answer[..., 3] = np.rint(pixels[..., 3] * ((255 - mask) / np.float32(255)))
    return answer


def paint(pixels: Pixels, color: tuple[int, int, int, int], mask: Mask) -> Pixels:
    """The colour laid over the pixels, as much as the mask and its own opacity say."""
    share = mask.astype(np.float32) * np.float32(color[3] / 255**2)
    front = np.broadcast_to(np.array(color[:3], np.float32), (*mask.shape, 3))
    if pixels.shape[2] == 3:
        return _rounded(pixels * (1 - share[..., None]) + front * share[..., None])
    behind = pixels[..., 3:].astype(np.float32) / 255 * (1 - share[..., None])
    total = share[..., None] + behind
    colors = (front * share[..., None] + pixels[..., :3] * behind) / np.maximum(total, np.float32(1e-6))
    # Where nothing is laid on, colours hidden under transparency stay as they are too.
    colors = np.where(share[..., None] > 0, colors, pixels[..., :3])
    return _rounded(np.dstack([colors, total * 255]))


def blend(pixels: Pixels, other: Pixels, mask: Mask) -> Pixels:
    """From `pixels` to `other` (both H x W x 3, or both x 4) by `mask`; colours count as far as they show."""
    share = (mask.astype(np.float32) / 255)[..., None]
    if pixels.shape[2] == 3:
        return _rounded(pixels * (1 - share) + other * share)
    own, others = pixels[..., 3:] * (1 - share), other[..., 3:] * share
    alpha = own + others
    colors = (pixels[..., :3] * own + other[..., :3] * others) / np.maximum(alpha, np.float32(1e-6))
    # Without any opacity on either side there is nothing to weigh by.
    hidden = pixels[..., :3] * (1 - share) + other[..., :3] * share
    return _rounded(np.dstack([np.where(alpha > 0, colors, hidden), alpha]))


def _rounded(values: NDArray[Any]) -> Pixels:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


class Blur:
    """The picture out of focus, computed where it is asked for."""

    def __init__(self, pixels: Pixels) -> None:
        self._pixels = pixels
        self._sigma = max(_MIN_BLUR_PIXELS, _BLUR_SHARE * max(pixels.shape[:2]))
        self._margin = round(4 * self._sigma)

    def part(self, part: tuple[slice, slice]) -> Pixels:
        """These rows and columns. Transparent pixels lend no colour."""
        (top, above), (left, before) = (self._begin(span) for span in part)
        wide = np.s_[top : part[0].stop + self._margin, left : part[1].stop + self._margin]
        inner = np.s_[
            above : above + part[0].stop - part[0].start, before : before + part[1].stop - part[1].start
        ]
        pixels = self._pixels[wide]
        if pixels.shape[2] == 3:
            return np.asarray(self._blurred(pixels)[inner], np.uint8)
        opacity = pixels[..., 3:].astype(np.float32)
        premultiplied = np.dstack([pixels[..., :3] * (opacity / 255), opacity])
        soft = self._blurred(premultiplied)[inner]
        colors = soft[..., :3] * 255 / np.maximum(soft[..., 3:], np.float32(1e-3))
        return _rounded(np.dstack([colors, soft[..., 3:]]).astype(np.float32))

    def _begin(self, span: slice) -> tuple[int, int]:
        """Where to begin reading, and how far before the part that is."""
        begin = max(0, span.start - self._margin)
        return begin, span.start - begin

    def _blurred(self, pixels: NDArray[np.generic]) -> NDArray[np.generic]:
        blurred: NDArray[np.generic] = cv2.GaussianBlur(pixels, (0, 0), self._sigma)
        return blurred
