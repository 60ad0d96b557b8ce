"""The connected parts of a matte: which of them show the object, and which are false detections."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.imaging.matting import band
from ml.imaging.matting.growing import Region, grown
from ml.pixels import Mask, Matte, Pixels

# A part is a connected region above the first value; it certainly shows an object if it reaches the second.
_PART = 0.25
_CERTAIN = 0.9
# A small uncertain part near a certain one is a piece of it, such as a curl or the end of a cable. Shares of
# the matte's longer side and of the certain parts' area.
_NEAR = 1 / 64
_SMALL = 0.02
# If the certain parts are less opaque than this on average, the network is uncertain of the whole object, and
# the other parts belong to it.
_SURE_MEAN = 0.75
# Haze around a removed part goes with it; share of the matte's longer side.
_HAZE = 1 / 100
# More parts than these, of which the largest takes less than this share of all, are a texture; so are lines
# that reach all borders of the picture and are thinner than this share of its longer side.
_TEXTURE_PARTS = 50
_TEXTURE_LARGEST = 0.05
_TEXTURE_THICKNESS = 0.08
# A page of text has more parts than these, in the picture as in its matte above the second value. The pages
# tried had 411 and more in the picture and 336 and more in the matte; a quotation of 51 letters had 52 and
# 51. Above 0.5, haze connected all but 32 of one of the pages.
_PAGE_PARTS = 100
_PAGE_INSIDE = 0.7
# Visible from this opacity on, as for the object's box.
_VISIBLE_ALPHA = 13
# Islands are found at this size.
_MAX_SIDE = 1024


def is_texture(matte: Matte) -> bool:
    """Whether `matte` shows a texture or a page of text instead of an object.

    Either thin lines all over the picture, such as the joints of a wall, or many parts of similar size.
    """
    inside = (matte > 0.5).astype(np.uint8)
    areas = _areas(inside)
    if _are_many_small(areas, _TEXTURE_PARTS):
        return True
    if not all(bool(border.any()) for border in (inside[0], inside[-1], inside[:, 0], inside[:, -1])):
        return False
    thickness = 2 * float(cv2.distanceTransform(inside, cv2.DIST_L2, 3).max())
    return bool(thickness < _TEXTURE_THICKNESS * max(matte.shape))


def is_page_of_text(matte: Matte, picture: Pixels) -> bool:
    """Whether `picture` (H x W x 3) is a page of text, and `matte` shows no object on it.

    On many pages, the network finds not only the letters but also a haze that connects most of them. The
    picture still has many small parts of ink and no large one. The matte must have many parts too: of a white
    bottle on white, only the letters on its label look like ink.
    """
    if len(_areas((matte > _PAGE_INSIDE).astype(np.uint8))) <= _PAGE_PARTS:
        return False
    height, width = picture.shape[:2]
    grid = (min(matte.shape[1], width), min(matte.shape[0], height))
    shades = cv2.cvtColor(cv2.resize(picture, grid, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    ink = cv2.threshold(shades, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[1]
    # Text takes less of a page than its paper, be it darker or lighter.
    ink = ink if 2 * cv2.countNonZero(ink) < ink.size else 1 - ink
    return _are_many_small(_areas(ink), _PAGE_PARTS)


def _areas(region: NDArray[np.uint8]) -> NDArray[np.intp]:
    """The pixels of each connected part of `region`, which is 0 and 1."""
    _count, labels = cv2.connectedComponents(region, connectivity=8)
    areas: NDArray[np.intp] = np.bincount(labels.ravel())[1:]
    return areas


def _are_many_small(areas: NDArray[np.intp], parts: int) -> bool:
    return len(areas) > parts and bool(areas.max() < _TEXTURE_LARGEST * areas.sum())


def remove_uncertain(matte: Matte) -> Matte:
    """`matte` without the parts of which no pixel is certain, unless small and near one that is certain.

    A matte without any certain part, or of which even the certain parts are mostly uncertain, is not changed.
    """
    # OpenCV's statistics would take six times as long.
    count, labels = cv2.connectedComponents((matte > _PART).astype(np.uint8), connectivity=8)
    if count <= 2:
        return matte
    is_certain = _labels_in(labels, count, matte > _CERTAIN)
    if not is_certain.any() or is_certain[1:].all():
        return matte
    if float(matte[is_certain.take(labels)].mean()) < _SURE_MEAN:
        return matte
    areas = np.bincount(labels.ravel())
    near = grown(is_certain.take(labels), max(1, round(max(matte.shape) * _NEAR)))
    is_near = _labels_in(labels, count, near)
    is_kept = is_certain | (is_near & (areas < _SMALL * areas[is_certain].sum()))
    is_kept[0] = False
    kept = is_kept.take(labels)
    removed = (labels > 0) & ~kept
    haze = grown(removed, max(1, round(max(matte.shape) * _HAZE)))
    answer: Matte = np.where(haze & ~grown(kept, 2) & ~kept, np.float32(0), matte)
    return answer


def remove_islands(alpha: Mask, matte: Matte, near_support: float = 0.1) -> Mask:
    """A refined `alpha` (H x W) without the islands that `matte`, of any size, does not support.

    Refining an uncertain region by its colours can leave specks of the background that look like the object.
    Islands near the object stay if the matte is above `near_support` there, such as the ends of hair.
    """
    height, width = alpha.shape
    scale = min(1.0, _MAX_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # The largest value of each block, so that no thin hair is lost by the reduction.
    visible = band.reduced(alpha, size)
    count, labels = cv2.connectedComponents((visible >= _VISIBLE_ALPHA).astype(np.uint8), connectivity=8)
    if count <= 2:
        return alpha
    support = cv2.resize(matte, size, interpolation=cv2.INTER_LINEAR)
    is_supported = _labels_in(labels, count, support > 0.5)
    near = grown(is_supported.take(labels), max(1, round(max(size) * _NEAR)))
    is_supported |= _labels_in(labels, count, near & (support > near_support))
    is_island = ~is_supported
    is_island[0] = False
    if not is_island.any():
        return alpha
    removed = cv2.dilate(is_island.take(labels).astype(np.uint8), np.ones((3, 3), np.uint8))
    removed[is_supported.take(labels)] = 0
    kept = cv2.resize(255 * (1 - removed), (width, height), interpolation=cv2.INTER_NEAREST)
    answer: Mask = cv2.bitwise_and(alpha, kept)
    return answer


def _labels_in(labels: NDArray[np.int32], count: int, region: Region) -> NDArray[np.bool_]:
    """Of each of `count` labels, whether a pixel of `region` has it; label 0 is the background."""
    answer: NDArray[np.bool_] = np.bincount(labels[region], minlength=count) > 0
    answer[0] = False
    return answer
