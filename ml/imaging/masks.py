"""Masks: where they come from, and growing, softening and cleaning them.

A mask is H x W, uint8, 255 = act here; values between act as much as they say.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic_core import PydanticCustomError

from ml.errors import BadParameter, EmptyMask, MlError
from ml.imaging import codecs, strokes
from ml.pixels import Mask, Picture

# Soft masks are grown level by level; this many levels are told apart.
_LEVELS = 16


def from_file(content: bytes, width: int, height: int, name: str = "mask") -> Mask:
    """A mask file for a picture of this size: its brightness, or its opacity if it has transparency.

    What a cut-out shows is what it marks, however dark it is.

    One of another size is resized if its shape is the picture's, to within a pixel. Raises `BadParameter`
    for `name` if it is not, or if the file is no picture; `EmptyMask` if nothing is marked.
    """
    try:
        picture = codecs.decode(content)
    except MlError as error:
        raise BadParameter(name, f"is no usable picture: {error}") from None
    mask = _told_by(picture)
    if (picture.width, picture.height) != (width, height):
        mask = _resized(mask, width, height, name)
    return checked(mask, name)


def from_strokes(text: str, width: int, height: int, name: str = "strokes") -> Mask:
    """What the strokes of this JSON text paint. Raises as `strokes.drawn` and `checked` do.

    Also raises `BadParameter` for text that is no strokes: of long text the validator looked at little.
    """
    try:
        lines = strokes.read(text)
    except PydanticCustomError as error:
        raise BadParameter(name, f"{name} {error.message()}") from None
    return checked(strokes.drawn(lines, width, height, name), name)


def checked(mask: Mask, name: str) -> Mask:
    """`mask` itself. Raises `EmptyMask` if it marks nothing, `BadParameter` if it is full everywhere."""
    if not mask.any():
        raise EmptyMask(f"{name} marks no pixel of the picture.")
    if (mask == 255).all():
        raise BadParameter(name, f"{name} covers the whole picture; something must be left to go by")
    return mask


def softened(mask: Mask, grow_pixels: float, feather_pixels: float) -> Mask:
    """`mask` grown by `grow_pixels` and then falling to 0 over `feather_pixels` more; each of them ≥ 0.

    Pixels farther than both together from any marked one are 0. Distances are between pixels' middles.
    """
    if grow_pixels == 0 and feather_pixels == 0:
        return mask
    answer = mask.copy()
    reach = grow_pixels + feather_pixels
    left, top, across, along = cv2.boundingRect(mask)
    margin = math.ceil(reach)
    near = np.s_[max(0, top - margin) : top + along + margin, max(0, left - margin) : left + across + margin]
    part = answer[near]
    for level in _levels(mask):
        distance = _distance_to(mask[near] >= level)
        if feather_pixels == 0:
            share = (distance <= reach).astype(np.float32)
        else:
            share = np.clip((reach - distance) / np.float32(feather_pixels), 0, 1)
        np.maximum(part, np.rint(share * level).astype(np.uint8), out=part)
    return answer


def grown(mask: Mask, pixels: float) -> Mask:
    """`mask` with its edge moved outwards by `pixels`; inwards if that is negative."""
    if pixels >= 0:
        return softened(mask, pixels, 0)
    return inverted(softened(inverted(mask), -pixels, 0))


def inverted(mask: Mask) -> Mask:
    return np.asarray(255 - mask, np.uint8)


def despeckled(mask: Mask, least_share: float = 0.01) -> Mask:
    """`mask` without specks, outside and in: parts smaller than `least_share` of the largest one."""
    answer = mask.copy()
    answer[_specks(mask >= 128, least_share)] = 0
    answer[_specks(answer < 128, least_share)] = 255
    return answer


def _specks(region: NDArray[np.bool_], least_share: float) -> NDArray[np.bool_]:
    """The parts of `region` that are much smaller than its largest one."""
    _, labels, facts, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=8)
    areas = facts[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0  # what is not in the region
    is_small = areas < areas.max() * least_share
    is_small[0] = False
    return np.asarray(is_small[labels], np.bool_)


def _told_by(picture: Picture) -> Mask:
    if picture.has_alpha:
        return np.ascontiguousarray(picture.pixels[..., 3])
    brightness: Mask = cv2.cvtColor(np.ascontiguousarray(picture.rgb), cv2.COLOR_RGB2GRAY)
    return brightness


def _resized(mask: Mask, width: int, height: int, name: str) -> Mask:
    own_height, own_width = mask.shape
    # The shape is the same if some whole-pixel rounding of this mask's size, scaled, gives the picture's.
    slack = max(width, height, own_width, own_height)
    if abs(own_width * height - own_height * width) > slack:
        raise BadParameter(
            name,
            f"{name} is {own_width} x {own_height} pixels, the picture {width} x {height}: another shape",
        )
    is_smaller = width < own_width
    way = cv2.INTER_AREA if is_smaller else cv2.INTER_LINEAR
    answer: Mask = cv2.resize(mask, (width, height), interpolation=way)
    return answer


def _levels(mask: Mask) -> list[int]:
    """Strengths that `mask` has, or as many as are told apart."""
    found = np.flatnonzero(np.bincount(mask.ravel(), minlength=256)[1:]) + 1
    if len(found) > _LEVELS:
        found = np.linspace(found[0], found[-1], _LEVELS).astype(int)
    return [int(level) for level in found]


def _distance_to(region: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Of each pixel to the nearest one in `region`, which is not empty."""
    elsewhere = np.where(region, np.uint8(0), np.uint8(1))
    return np.asarray(cv2.distanceTransform(elsewhere, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)
