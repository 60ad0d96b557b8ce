"""Finds text and line art in a tile and keeps the amount and colour of their ink when the tile is enlarged.

Super-resolution networks are trained on photos, where a thin grey line is mostly a blurred black one. On grey
text they answer strokes that are darker than the ink and thinner than they should be; limiting their colours
alone makes the strokes pale. The ink of text is not darker than the darkest stroke nearby, and its amount is
that of the source, so the result is projected onto both conditions in turn.

Tiles are H x W x 3, float32, 0..1, enlarged by a whole factor.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Tile = NDArray[np.float32]
#: For each pixel of the source, 0 to 1: how much it belongs to text or line art.
Shares = NDArray[np.float32]

#: Side of the window, in source pixels, in which paper and ink are searched. A line of text of 24 pixels has
#: strokes at such distances.
WINDOW = 17
#: The same, in which strokes have one ink. Wider ones would draw a grey line as a thin black one because of
#: black text beside it.
_INK_WINDOW = 9
#: A window has text if so much of it has the shade of the paper or the ink, within `_NEAR` of their contrast,
#: if the contrast is high enough, and if it has steep edges. Photos have few such windows.
_PLAIN_SHARE, _NEAR = 0.5, 0.08
_CONTRAST = 0.2
_STEEP, _STEEP_SHARE = 0.35, 0.03
#: The side over which text fades into the rest, so that no border of areas shows.
_FADE = 9
#: A tile with so much text counts as one of text.
_TEXT_TILE = 0.2
#: Twice brings the ink to 1 % of the source's. More gains little.
_PROJECTIONS = 2


def find(source: Tile) -> Shares:
    """Where `source` has text or line art."""
    shades = source.mean(axis=2)
    window = np.ones((WINDOW, WINDOW), np.uint8)
    highest, lowest = cv2.dilate(shades, window), cv2.erode(shades, window)
    contrast = highest - lowest
    if float(contrast.max()) < _CONTRAST:
        return np.zeros_like(shades)
    is_plain = np.minimum(highest - shades, shades - lowest) <= _NEAR * contrast
    steps = np.zeros_like(shades)
    steps[:, 1:] = np.abs(np.diff(shades, axis=1))
    steps[1:] = np.maximum(steps[1:], np.abs(np.diff(shades, axis=0)))
    is_text = contrast >= _CONTRAST
    is_text &= _share(is_plain) >= _PLAIN_SHARE
    is_text &= _share(steps > _STEEP * contrast) >= _STEEP_SHARE
    answer: Shares = cv2.blur(is_text.astype(np.float32), (_FADE, _FADE))
    return answer


def is_text_tile(shares: Shares) -> bool:
    """Whether text is so much of a tile that the tile is enlarged by what suits text."""
    return float(shares.mean()) >= _TEXT_TILE


def keep_ink(source: Tile, enlarged: Tile, shares: Shares) -> Tile:
    """`enlarged` with as much ink as `source` in its text, and none that is darker than the source's nearby.

    "Darker" stands for both ends: of white text, no ink is lighter.
    """
    if not shares.any():
        return enlarged
    height, width = source.shape[:2]
    size = (enlarged.shape[1], enlarged.shape[0])
    window = np.ones((_INK_WINDOW, _INK_WINDOW), np.uint8)
    lowest, highest = (
        cv2.resize(bound, size, interpolation=cv2.INTER_LINEAR)
        for bound in (cv2.erode(source, window), cv2.dilate(source, window))
    )
    inked = np.clip(enlarged, lowest, highest)
    for _ in range(_PROJECTIONS):
        reduced = cv2.resize(inked, (width, height), interpolation=cv2.INTER_AREA)
        inked += cv2.resize(source - reduced, size, interpolation=cv2.INTER_CUBIC)
        np.clip(inked, lowest, highest, out=inked)
    share = cv2.resize(shares, size, interpolation=cv2.INTER_LINEAR)[:, :, None]
    inked -= enlarged
    inked *= share
    inked += enlarged
    return inked


def _share(pixels: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The share of each pixel's window that is set."""
    return np.asarray(cv2.blur(pixels.astype(np.float32), (WINDOW, WINDOW)), np.float32)
