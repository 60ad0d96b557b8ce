"""Brush operations on pixels. All arrays of a call have the same height and width."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.pixels import Mask, Pixels

# The blur's standard deviation: a share of the longer side, and its minimum in pixels.
_BLUR_SHARE = 0.01
_MIN_BLUR_PIXELS = 2.0


def with_alpha(pixels: Pixels) -> Pixels:
    """A copy with an alpha channel, opaque if there was none."""
    if pixels.shape[2] == 4:
        return pixels.copy()
    return np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])


def erase(pixels: Pixels, mask: Mask) -> Pixels:
    """`pixels` (H x W x 4) with their alpha reduced by the mask."""
    answer = pixels.copy()
    answer[..., 3] = np.rint(pixels[..., 3] * ((255 - mask) / np.float32(255)))
    return answer


def paint(pixels: Pixels, color: tuple[int, int, int, int], mask: Mask) -> Pixels:
    """Blend the colour over the pixels by the mask and the colour's opacity."""
    share = mask.astype(np.float32) * np.float32(color[3] / 255**2)
    front = np.broadcast_to(np.array(color[:3], np.float32), (*mask.shape, 3))
    if pixels.shape[2] == 3:
        return _rounded(pixels * (1 - share[..., None]) + front * share[..., None])
    behind = pixels[..., 3:].astype(np.float32) / 255 * (1 - share[..., None])
    total = share[..., None] + behind
    colors = (front * share[..., None] + pixels[..., :3] * behind) / np.maximum(total, np.float32(1e-6))
    # Outside the mask, colours hidden under transparency do not change either.
    colors = np.where(share[..., None] > 0, colors, pixels[..., :3])
    return _rounded(np.dstack([colors, total * 255]))


def blend(pixels: Pixels, other: Pixels, mask: Mask) -> Pixels:
    """Blend from `pixels` to `other` (both H x W x 3, or both x 4) by `mask`, colours weighted by alpha."""
    share = (mask.astype(np.float32) / 255)[..., None]
    if pixels.shape[2] == 3:
        return _rounded(pixels * (1 - share) + other * share)
    own, others = pixels[..., 3:] * (1 - share), other[..., 3:] * share
    alpha = own + others
    colors = (pixels[..., :3] * own + other[..., :3] * others) / np.maximum(alpha, np.float32(1e-6))
    # If both are transparent there are no weights.
    hidden = pixels[..., :3] * (1 - share) + other[..., :3] * share
    return _rounded(np.dstack([np.where(alpha > 0, colors, hidden), alpha]))


def _rounded(values: NDArray[Any]) -> Pixels:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


class Blur:
    """A blurred picture, computed part by part on demand."""

    def __init__(self, pixels: Pixels) -> None:
        self._pixels = pixels
        self._sigma = max(_MIN_BLUR_PIXELS, _BLUR_SHARE * max(pixels.shape[:2]))
        self._margin = round(4 * self._sigma)

    def part(self, part: tuple[slice, slice]) -> Pixels:
        """These rows and columns, colours weighted by alpha."""
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
        """Where to start reading, and its distance from the part."""
        begin = max(0, span.start - self._margin)
        return begin, span.start - begin

    def _blurred(self, pixels: NDArray[np.generic]) -> NDArray[np.generic]:
        blurred: NDArray[np.generic] = cv2.GaussianBlur(pixels, (0, 0), self._sigma)
        return blurred
