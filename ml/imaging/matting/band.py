"""The uncertain part of a matte, and its full-size tiles.

Only some pixels of a photo need full-size work, usually one in ten. They are processed in tiles that fit
around them, which limits time and memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.pixels import Mask, Matte, Pixels

Floats = NDArray[np.float32]
AnyPixels = TypeVar("AnyPixels", Pixels, Mask)

# A tile's floats fit into the CPU cache. Edges are lines, so half the side covers half as many other pixels.
_TILE_PIXELS = 128
_CERTAIN_WITHIN = 0.02


def reduced(pixels: AnyPixels, size: tuple[int, int]) -> AnyPixels:
    """`pixels` at (width, height), averaged by area.

    Halving is ten times as fast as OpenCV's other reductions, so it comes first. Not down to less than 1.5
    times the size: the second reduction would blur the first.
    """
    width, height = size
    while (
        pixels.shape[1] >= 3 * width
        and pixels.shape[0] >= 3 * height
        and pixels.shape[0] % 2 == pixels.shape[1] % 2 == 0
    ):
        half = pixels.shape[1] // 2, pixels.shape[0] // 2
        pixels = cast(AnyPixels, cv2.resize(pixels, half, interpolation=cv2.INTER_AREA))
    return cast(AnyPixels, cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


def uncertain(matte: Matte, grow_pixels: int) -> Mask:
    """255 where `matte` is uncertain, and around it."""
    band: Mask = cv2.inRange(matte, _CERTAIN_WITHIN, 1 - _CERTAIN_WITHIN)
    grown: Mask = cv2.dilate(band, np.ones((2 * grow_pixels + 1, 2 * grow_pixels + 1), np.uint8))
    return grown


@dataclass(frozen=True)
class Tile:
    """A part of a picture of `height` x `width`; `window` cuts it from any array of that size."""

    window: tuple[slice, slice]
    height: int
    width: int

    def padded(self, pixels: int) -> "Tile":
        """This tile with up to `pixels` more of the picture on each side."""
        rows, columns = self.window
        return Tile(
            (
                slice(max(0, rows.start - pixels), min(self.height, rows.stop + pixels)),
                slice(max(0, columns.start - pixels), min(self.width, columns.stop + pixels)),
            ),
            self.height,
            self.width,
        )

    def within(self, padded: "Tile") -> tuple[slice, slice]:
        """The window that cuts this tile from an array of the size of `padded`."""
        rows, columns = self.window
        top, left = padded.window[0].start, padded.window[1].start
        return slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)

    def enlarged(self, small: Floats) -> Floats:
        """This tile of `small` (h x w, or h x w x channels up to 4, showing the whole picture) at full size.

        Bilinear, aligned by pixel centres as cv2.resize does.
        """
        rows, columns = self.window
        scale_x, scale_y = small.shape[1] / self.width, small.shape[0] / self.height
        to_small = np.array(
            [
                [scale_x, 0, (columns.start + 0.5) * scale_x - 0.5],
                [0, scale_y, (rows.start + 0.5) * scale_y - 0.5],
            ]
        )
        answer: Floats = cv2.warpAffine(
            small,
            to_small,
            (columns.stop - columns.start, rows.stop - rows.start),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return answer


def tiles(mask: Mask) -> Iterator[Tile]:
    """Tiles of a picture that together cover the pixels at which `mask` (H x W) is not 0.

    The picture is divided into squares, and a tile is the box around such pixels of a square.
    """
    height, width = mask.shape
    for top in range(0, height, _TILE_PIXELS):
        for left in range(0, width, _TILE_PIXELS):
            square = mask[top : top + _TILE_PIXELS, left : left + _TILE_PIXELS]
            x, y, across, down = cv2.boundingRect(square)
            if across and down:
                rows, columns = slice(top + y, top + y + down), slice(left + x, left + x + across)
                yield Tile((rows, columns), height, width)
