"""Compares an enlarged tile with its source, block by block, and keeps it within the source's colours.

A super-resolution network can be unstable: on hard contrast (text, line art, reflections) it may answer
coloured noise whose mean is right. What it cannot do is agree with the source when it is reduced to its size.

Tiles are H x W x 3, float32, 0..1 (not clipped), enlarged by a whole factor.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.pixels import Pixels

Tile = NDArray[np.float32]
Blocks = NDArray[np.bool_]  # one value per block of the source

#: Side of a block in source pixels. The sides of tiles are multiples of it.
BLOCK = 8
#: Largest mean difference of a block from its source. Photos stay below 0.04, legible text below 0.05; blocks
#: with visible noise differ by 0.08 to 0.4.
DIFFERENCE_MAX = 12 / 255
#: Largest mean distance of the colour alone (without brightness) from those of the source around it. Photos,
#: coloured text and line art stay below 0.024.
COLOUR_DIFFERENCE_MAX = 8 / 255
#: Largest distance of a single value from 0..1. Photos stay below 0.25, sharp text below 1.
OVERSHOOT_MAX = 1.0
#: A pixel that differs by more than this from the median around it and from plain resampling is a speck. On
#: text without soft edges, the networks dot the strokes; the dots' mean is right, so a block's difference
#: does not show them. Sharp corners and ends of strokes differ from the median, too, but less from plain
#: resampling.
SPECK = 0.4
#: Specks that a block may have where the source has hard edges. Photos have hardly any block with both.
SPECKS_MAX = 2
#: A difference of neighbouring pixels this large is a hard edge; as many of them make a block one of text.
_HARD_EDGE, _HARD_EDGES_MIN = 0.7, 2
#: A pixel stays within the range of the source in this window, widened by this share of the range on either
#: side. Sharpening needs some room; flat areas keep their value exactly.
WINDOW = 5
ROOM_SHARE = 4


def failed_blocks(source: Tile, enlarged: Tile) -> Blocks:
    """The blocks in which `enlarged` is not a plausible enlargement of `source`.

    A block fails only where plain resampling is closer to the source, because text of few pixels differs by
    more than the limit however it is enlarged.
    """
    clipped = np.clip(enlarged, 0, 1)
    difference = _difference(source, clipped)
    colour = _colour_difference(source, clipped)
    overshoot = np.maximum(_block_maxima(enlarged, source.shape), _block_maxima(-enlarged, source.shape, 1))
    suspects = (difference > DIFFERENCE_MAX) | (colour > COLOUR_DIFFERENCE_MAX)
    suspects |= overshoot > 1 + OVERSHOOT_MAX
    factor = enlarged.shape[0] // source.shape[0]
    is_text = _hard_edges(source) >= _HARD_EDGES_MIN
    if not (suspects.any() or is_text.any()):
        return suspects
    plain = resample(source, factor)
    suspects &= (difference > _difference(source, plain)) | (colour > _colour_difference(source, plain))
    return suspects | (is_text & (_specks(clipped, plain, factor) > SPECKS_MAX))


def resample(source: Tile, factor: int) -> Tile:
    """`source`, enlarged without a network: Lanczos, clipped."""
    height, width = source.shape[:2]
    size = (width * factor, height * factor)
    enlarged: Tile = np.clip(cv2.resize(source, size, interpolation=cv2.INTER_LANCZOS4), 0, 1)
    return enlarged


def back_project(source: Tile, enlarged: Tile) -> Tile:
    """`enlarged`, corrected once by its difference from `source`: same colours and brightness, same detail.

    Irani and Peleg, "Improving resolution by image registration", 1991, with one iteration.
    """
    height, width = source.shape[:2]
    reduced = cv2.resize(np.clip(enlarged, 0, 1), (width, height), interpolation=cv2.INTER_AREA)
    size = (enlarged.shape[1], enlarged.shape[0])
    correction = cv2.resize(source - reduced, size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(enlarged + correction, np.float32)


def replace_blocks(enlarged: Tile, replacement: Tile, blocks: Blocks) -> Tile:
    """`enlarged` with `blocks` from `replacement`; both are mixed over half a block around them."""
    side = enlarged.shape[0] // blocks.shape[0]
    around = cv2.dilate(blocks.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32)
    height, width = enlarged.shape[:2]
    shares = cv2.resize(around, (width, height), interpolation=cv2.INTER_NEAREST)
    shares = cv2.blur(shares, (side, side))[:, :, None]
    return np.asarray(np.clip(enlarged, 0, 1) * (1 - shares) + replacement * shares, np.float32)


def hold_colours(source: Pixels, enlarged: Pixels) -> None:
    """Limit `enlarged`, in place, to the range of `source` around each pixel; grey areas stay grey."""
    around = np.ones((WINDOW, WINDOW), np.uint8)
    highest, lowest = cv2.dilate(source, around), cv2.erode(source, around)
    room = cv2.subtract(highest, lowest) // ROOM_SHARE
    size = (enlarged.shape[1], enlarged.shape[0])
    for bound, limit in (
        (cv2.add(highest, room), cv2.min),
        (cv2.subtract(lowest, room), cv2.max),
    ):
        limit(enlarged, cv2.resize(bound, size, interpolation=cv2.INTER_LINEAR), dst=enlarged)
    coloured = cv2.absdiff(source, source[:, :, [1, 2, 0]]).max(axis=2) > 0
    if coloured.all():
        return
    wide = cv2.dilate(coloured.astype(np.uint8), around)
    grey = cv2.resize(wide, size, interpolation=cv2.INTER_NEAREST) == 0
    shades = enlarged[grey].mean(axis=1, dtype=np.float32)
    enlarged[grey] = np.rint(shades).astype(np.uint8)[:, None]


def _difference(source: Tile, clipped: Tile) -> NDArray[np.float32]:
    """The mean difference of each block from `source`, after `clipped` was reduced to its size."""
    height, width = source.shape[:2]
    reduced = cv2.resize(clipped, (width, height), interpolation=cv2.INTER_AREA)
    return _block_means(cv2.absdiff(reduced, source))


def _colour_difference(source: Tile, clipped: Tile) -> NDArray[np.float32]:
    """The mean distance of each block's enlarged pixels from the range of the source's colours there.

    A sharper edge is within the range of its sides, however far it is from what interpolation would give.
    """
    size = (clipped.shape[1], clipped.shape[0])
    around = np.ones((3, 3), np.uint8)
    colour = clipped - _shades(clipped)
    expected = source - _shades(source)
    highest, lowest = (
        cv2.resize(bound, size, interpolation=cv2.INTER_LINEAR)
        for bound in (cv2.dilate(expected, around), cv2.erode(expected, around))
    )
    distance = np.maximum(np.maximum(colour - highest, lowest - colour), 0)
    return _block_means(distance, clipped.shape[0] // source.shape[0])


def _hard_edges(source: Tile) -> NDArray[np.float32]:
    """The number of pixels of each block that differ much from the one to their left or above.

    In any channel, because coloured text on paper of a light colour differs little in brightness.
    """
    steps = np.zeros_like(source)
    steps[:, 1:] = np.abs(np.diff(source, axis=1))
    steps[1:] = np.maximum(steps[1:], np.abs(np.diff(source, axis=0)))
    return _block_counts(np.asarray((steps > _HARD_EDGE).any(axis=2)), 1)


def _specks(clipped: Tile, plain: Tile, factor: int) -> NDArray[np.float32]:
    """The number of enlarged pixels of each block that differ much from their surroundings and `plain`."""
    is_speck = cv2.absdiff(clipped, cv2.medianBlur(clipped, 3)) > SPECK
    is_speck &= cv2.absdiff(clipped, plain) > SPECK
    return _block_counts(np.asarray(is_speck.any(axis=2)), factor)


def _block_counts(pixels: NDArray[np.bool_], factor: int) -> NDArray[np.float32]:
    side = BLOCK * factor
    size = (pixels.shape[1] // side, pixels.shape[0] // side)
    shares: NDArray[np.float32] = cv2.resize(pixels.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.rint(shares * side**2)


def _shades(tile: Tile) -> Tile:
    return np.asarray(tile.mean(axis=2, keepdims=True), np.float32)


def _block_means(tile: Tile, factor: int = 1) -> NDArray[np.float32]:
    height, width = (side // (BLOCK * factor) for side in tile.shape[:2])
    means = cv2.resize(tile, (width, height), interpolation=cv2.INTER_AREA).reshape(height, width, 3)
    return np.asarray(means.mean(axis=2), np.float32)


def _block_maxima(tile: Tile, source_shape: tuple[int, ...], plus: float = 0) -> NDArray[np.float32]:
    """The largest value of each block, plus `plus`."""
    rows, columns = source_shape[0] // BLOCK, source_shape[1] // BLOCK
    blocks = tile.reshape(rows, tile.shape[0] // rows, columns, -1)
    return np.asarray(blocks.max(axis=(1, 3)) + plus, np.float32)
