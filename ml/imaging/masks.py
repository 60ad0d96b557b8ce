"""Reads masks from files and strokes, and grows and feathers them.

A mask is H x W, uint8, 255 = act fully; lower values act proportionally.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic_core import PydanticCustomError

from ml.errors import BadParameter, EmptyMask, MlError
from ml.imaging import codecs, strokes
from ml.imaging.mask_modes import MaskMode
from ml.pixels import Mask, Picture

#: A file whose largest value is lower has no visible effect; most likely its values are 0 and 1. Lossy files
#: and mattes of networks have noise up to it in their black and white, which is removed: it would be a veil
#: over the whole picture, or a hole as large as the picture.
MIN_STRENGTH = 8
# Colours of fainter pixels are too imprecise to compare, because editors store them premultiplied.
_COMPARED_ALPHA = 32
_SAME_LEVELS = 16  # colours that differ by no more count as equal
# A mask is a copy of the picture if its opaque samples differ by no more than this on average.
_SAME_PICTURE_LEVELS = 6.0
_SAMPLES_A_SIDE = 256
# Soft masks are grown level by level, with at most this many levels.
_LEVELS = 16


def from_file(content: bytes, source: Picture, mode: MaskMode = "auto", name: str = "mask") -> Mask:
    """A mask file for `source`: white acts, black and transparent keep.

    auto: luminance x alpha where the colours vary, alpha alone where they do not. luminance: ignoring
    transparency. alpha: opacity; inverted_alpha: transparency, as of a picture with a hole to fill. A mask of
    another size is resized if its shape is the source's, to within a pixel. Values below `MIN_STRENGTH`
    become 0, those as close to 255 become 255.

    Raises `EmptyMask` if nothing is marked. Raises `BadParameter` for `name` if the file is not a picture or
    of another shape, if its largest value is below `MIN_STRENGTH`, and in auto if it is the source itself
    with holes, which may mean either; for `mask_mode` if it asks for transparency that is not there.
    """
    try:
        picture = codecs.decode(content)
    except MlError as error:
        raise BadParameter(name, f"{name} cannot be used. {error}") from None
    if mode == "auto" and picture.has_alpha and _is_same_picture(picture, source):
        raise BadParameter(
            name,
            f"{name} is the image itself with holes; send mask_mode=inverted_alpha to act on the holes, or"
            " mask_mode=alpha to act on the rest",
        )
    mask = _read(picture, mode)
    if (picture.width, picture.height) != (source.width, source.height):
        mask = _resized(mask, source.width, source.height, name)
    strongest = int(mask.max())
    if 0 < strongest < MIN_STRENGTH:
        raise BadParameter(
            name, f"the largest value of {name} is {strongest}; masks go from 0 (keep) to 255 (act fully)"
        )
    return require_partial(_without_noise(mask), name)


def from_strokes(text: str, width: int, height: int, name: str = "strokes") -> Mask:
    """The mask of the strokes in JSON text. Raises as `strokes.draw` and `require_partial` do.

    Also raises `BadParameter` for invalid text, because the validator does not parse long text.
    """
    try:
        lines = strokes.parse(text)
    except PydanticCustomError as error:
        raise BadParameter(name, f"{name} {error.message()}") from None
    return require_partial(strokes.draw(lines, width, height, name), name)


def require_partial(mask: Mask, name: str) -> Mask:
    """`mask` itself. Raises `EmptyMask` if it marks nothing, `BadParameter` if it is full everywhere."""
    if not mask.any():
        raise EmptyMask(f"{name} marks no pixel of the image.", name)
    if (mask == 255).all():
        raise BadParameter(name, f"{name} covers the whole image; a part must remain uncovered")
    return mask


def grow_and_feather(mask: Mask, grow_pixels: float, feather_pixels: float) -> Mask:
    """Grow `mask` by `grow_pixels` and let it fall to 0 over `feather_pixels` more; both ≥ 0.

    Pixels farther away than the sum are 0. Distances are between pixel centres.
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


def thickness(mask: Mask) -> int:
    """The width in pixels of what `mask` marks, at its widest place, where no mask continues the edge."""
    marked = np.pad(mask > 0, 1, mode="edge").astype(np.uint8)
    if marked.all():
        return int(max(mask.shape))
    depth = float(cv2.distanceTransform(marked, cv2.DIST_L2, cv2.DIST_MASK_PRECISE).max())
    return max(0, math.ceil(2 * depth - 1))


def invert(mask: Mask) -> Mask:
    return np.asarray(255 - mask, np.uint8)


def _read(picture: Picture, mode: MaskMode) -> Mask:
    if not picture.has_alpha:
        if mode in ("alpha", "inverted_alpha"):
            raise BadParameter("mask_mode", f"mask_mode is {mode}, but the mask has no transparency")
        return _luminance(picture)
    alpha = np.ascontiguousarray(picture.pixels[..., 3])
    if mode == "luminance":
        return _luminance(picture)
    if mode == "inverted_alpha":
        return invert(alpha)
    if mode == "alpha" or not _varies(picture, alpha):
        return alpha
    product: Mask = cv2.multiply(_luminance(picture), alpha, scale=1 / 255)
    return product


def _without_noise(mask: Mask) -> Mask:
    levels = np.arange(256, dtype=np.uint8)
    levels[:MIN_STRENGTH], levels[-MIN_STRENGTH:] = 0, 255
    answer: Mask = cv2.LUT(mask, levels)
    return answer


def _luminance(picture: Picture) -> Mask:
    answer: Mask = cv2.cvtColor(np.ascontiguousarray(picture.rgb), cv2.COLOR_RGB2GRAY)
    return answer


def _varies(picture: Picture, alpha: Mask) -> bool:
    """Whether the visible part of a mask has more than one colour."""
    seen = (alpha >= _COMPARED_ALPHA).astype(np.uint8)
    if not seen.any():
        return False
    ranges = (cv2.minMaxLoc(channel, mask=seen)[:2] for channel in cv2.split(picture.rgb))
    return any(high - low > _SAME_LEVELS for low, high in ranges)


def _is_same_picture(picture: Picture, source: Picture) -> bool:
    """Whether the opaque part of `picture` equals `source` there and has more than one colour."""
    rows, columns = (
        np.linspace(0, side - 1, min(side, _SAMPLES_A_SIDE)).astype(int)
        for side in (source.height, source.width)
    )
    own_rows = np.minimum((rows + 0.5) * picture.height / source.height, picture.height - 1).astype(int)
    own_columns = np.minimum((columns + 0.5) * picture.width / source.width, picture.width - 1).astype(int)
    samples = picture.pixels[np.ix_(own_rows, own_columns)]
    opaque = samples[..., 3] == 255
    if not opaque.any():
        return False
    own = samples[..., :3][opaque].astype(np.int16)
    there = source.rgb[np.ix_(rows, columns)][opaque].astype(np.int16)
    is_plain = int(np.ptp(there, axis=0).max()) <= _SAME_LEVELS
    return not is_plain and float(np.abs(own - there).mean()) <= _SAME_PICTURE_LEVELS


def _resized(mask: Mask, width: int, height: int, name: str) -> Mask:
    own_height, own_width = mask.shape
    # Aspect ratios count as equal if they differ by less than a pixel of rounding.
    slack = max(width, height, own_width, own_height)
    if abs(own_width * height - own_height * width) > slack:
        raise BadParameter(
            name,
            f"{name} is {own_width} x {own_height} pixels and the image {width} x {height}:"
            " their aspect ratios differ",
        )
    is_smaller = width < own_width
    way = cv2.INTER_AREA if is_smaller else cv2.INTER_LINEAR
    answer: Mask = cv2.resize(mask, (width, height), interpolation=way)
    return answer


def _levels(mask: Mask) -> list[int]:
    """The distinct strengths of `mask`, reduced to at most `_LEVELS`."""
    found = np.flatnonzero(np.bincount(mask.ravel(), minlength=256)[1:]) + 1
    if len(found) > _LEVELS:
        found = np.linspace(found[0], found[-1], _LEVELS).astype(int)
    return [int(level) for level in found]


def _distance_to(region: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance of each pixel to `region`, which is not empty."""
    elsewhere = np.where(region, np.uint8(0), np.uint8(1))
    return np.asarray(cv2.distanceTransform(elsewhere, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)
