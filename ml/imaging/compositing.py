"""Compositing of cut-outs: edges, backgrounds and blending."""

from collections.abc import Iterator

import cv2
import numpy as np

from ml.imaging import spreading
from ml.pixels import Mask, Pixels

Color = tuple[int, int, int, int]

# Blurring the background at strength 100 uses a Gaussian of this fraction of the longer side.
_STRONGEST_BLUR = 0.05
# Wider blurs are computed on a reduced picture, which looks the same and is many times faster. The editor
# draws its previews by the same rule (`gaussian.js`).
_WIDEST_SIGMA_PIXELS = 4.0
# Rows per strip, so that full-size float arrays are never allocated.
_ROWS_AT_ONCE = 128


def move_mask_edge(mask: Mask, width_pixels: int) -> Mask:
    """`mask` (H x W, 0 or 255) with its edge moved outwards by `width_pixels`, inwards if that is negative.

    The picture's border does not count as an edge of the mask.
    """
    left, top, width, height = cv2.boundingRect(mask)
    if width_pixels == 0 or not width or not height:
        return mask
    margin = abs(width_pixels) + 1
    rows = slice(max(0, top - margin), top + height + margin)
    columns = slice(max(0, left - margin), left + width + margin)
    part = mask[rows, columns]
    answer = np.zeros_like(mask)
    if width_pixels > 0:
        away = cv2.distanceTransform(255 - part, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        answer[rows, columns] = np.where(away <= width_pixels, 255, 0)
    elif part.all():
        answer[rows, columns] = part
    else:
        depth = cv2.distanceTransform(part, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        answer[rows, columns] = np.where(depth > -width_pixels, 255, 0)
    return answer


def feather(alpha: Mask, width_pixels: float) -> Mask:
    """`alpha` (H x W) with its edge softened over about `width_pixels` to either side."""
    sigma = width_pixels / 2
    if sigma <= 0:
        return alpha
    if sigma <= _WIDEST_SIGMA_PIXELS:
        answer: Mask = cv2.GaussianBlur(alpha, (0, 0), sigma)
        return answer
    height, width = alpha.shape
    small = cv2.resize(alpha, _reduced(width, height, sigma), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), _WIDEST_SIGMA_PIXELS)
    large: Mask = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return large


def shift_edge(alpha: Mask, shift_pixels: float) -> Mask:
    """`alpha` (H x W) with its edge moved by `shift_pixels`: outwards above 0, inwards below.

    Grey dilation or erosion by a disc moves an edge by whole pixels and keeps its softness; fractions are
    interpolated. The picture's border does not move.
    """
    move = cv2.dilate if shift_pixels > 0 else cv2.erode
    whole, rest = divmod(abs(shift_pixels), 1)
    near = move(alpha, _disc(int(whole))) if whole else alpha
    if not rest:
        return near
    answer: Mask = cv2.addWeighted(near, 1 - rest, move(near, _disc(1)), rest, 0)
    return answer


def _disc(radius: int) -> Mask:
    across = np.arange(-radius, radius + 1) ** 2
    return (across[:, None] + across[None] <= (radius + 0.3) ** 2).astype(np.uint8)


def composite_opaque(colors: Pixels, alpha: Mask, background: Pixels) -> Pixels:
    """Composite `colors` (H x W x 3) by `alpha` (H x W) over `background` (H x W x 3)."""
    answer = np.empty_like(colors)
    for rows in _strips(alpha):
        share = alpha[rows].astype(np.float32)
        share /= 255
        answer[rows] = cv2.blendLinear(colors[rows], background[rows], share, 1 - share)
    return answer


def composite_on_color(colors: Pixels, alpha: Mask, color: Color) -> Pixels:
    """`colors` composited on one colour: H x W x 3 if that is opaque, else H x W x 4 with straight alpha."""
    red, green, blue, opacity = color
    if opacity == 255:
        return composite_opaque(
            colors, alpha, np.broadcast_to(np.array((red, green, blue), np.uint8), colors.shape)
        )
    return _on_translucent(colors, alpha, np.broadcast_to(np.array(color, np.uint8), (*alpha.shape, 4)))


def composite(colors: Pixels, alpha: Mask, background: Pixels | None) -> Pixels:
    """Composite `colors` (H x W x 3) by `alpha` (H x W) over `background` (H x W x 3|4), if any.

    H x W x 3 if the background is opaque, else H x W x 4 with straight alpha.
    """
    if background is None:
        return with_alpha(colors, alpha)
    return (
        composite_opaque(colors, alpha, background)
        if background.shape[2] == 3
        else _on_translucent(colors, alpha, background)
    )


def _on_translucent(colors: Pixels, alpha: Mask, background: Pixels) -> Pixels:
    answer = np.empty((*alpha.shape, 4), np.uint8)
    for rows in _strips(alpha):
        front = alpha[rows].astype(np.float32)[..., None] / 255
        back = (1 - front) * (background[rows][..., 3:].astype(np.float32) / 255)
        total = front + back
        mixed = colors[rows] * front + background[rows][..., :3] * back
        answer[rows, :, :3] = np.rint(mixed / np.maximum(total, 1e-6))
        answer[rows, :, 3:] = np.rint(total * 255)
    return answer


def with_alpha(colors: Pixels, alpha: Mask) -> Pixels:
    """H x W x 4, straight alpha."""
    answer: Pixels = cv2.cvtColor(colors, cv2.COLOR_RGB2RGBA)
    answer[..., 3] = alpha
    return answer


def blur_background(picture: Pixels, alpha: Mask, strength: int) -> Pixels:
    """The background of `picture` (H x W x 3) blurred, `strength` 1..100, without the object.

    The object's colours are excluded from the average, or they would form a halo.
    """
    height, width = alpha.shape
    sigma = strength / 100 * _STRONGEST_BLUR * max(height, width)
    size = _reduced(width, height, sigma)
    share = 1 - cv2.resize(alpha, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    colors = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    answer = spreading.spread(colors, share, min(sigma, _WIDEST_SIGMA_PIXELS))
    large: Pixels = cv2.resize(
        np.clip(np.rint(answer), 0, 255).astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR
    )
    return large


def _reduced(width: int, height: int, sigma_pixels: float) -> tuple[int, int]:
    """The size at which a blur of `sigma_pixels` is one of `_WIDEST_SIGMA_PIXELS`."""
    reduction = max(1.0, sigma_pixels / _WIDEST_SIGMA_PIXELS)
    return max(1, round(width / reduction)), max(1, round(height / reduction))


def _strips(alpha: Mask) -> Iterator[slice]:
    for top in range(0, alpha.shape[0], _ROWS_AT_ONCE):
        yield slice(top, top + _ROWS_AT_ONCE)
