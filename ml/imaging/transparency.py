"""What a picture's transparency means, and enlarging it without fringes or ringing."""

import numpy as np

from ml.pixels import Mask, Pixels

#: Below this alpha, a pixel's colour is mixed with its surroundings, because cut-outs often have black or
#: rounding errors of premultiplied colours there.
TRUSTED_ALPHA = 16

_ROWS_AT_ONCE = 512

# A visible part that takes more than this share of the sides of its box is a photo, perhaps with rounded
# corners or with strokes erased from it, and so is one that agrees this well with the ellipse in its box, or
# that fills the smallest rectangle around it at any angle: straightening leaves corners without pixels.
_PHOTO_SIDES = 0.5
_PHOTO_ELLIPSE = 0.97
_PHOTO_RECTANGLE = 0.97
_VISIBLE_ALPHA = 128
_CLEAR_ALPHA = 12
# The least share of clear pixels of a cut-out.
_MIN_CLEAR = 0.02


def is_cutout(alpha: Mask) -> bool:
    """Whether `alpha` (H x W) is the outline of an object, not the frame of a photo.

    Rectangles, also rotated or with rounded corners, and ellipses are frames of photos.
    """
    import cv2

    visible = (alpha >= _VISIBLE_ALPHA).astype(np.uint8)
    left, top, width, height = cv2.boundingRect(visible)
    if not width or float((alpha <= _CLEAR_ALPHA).mean()) < _MIN_CLEAR:
        return False
    inside = visible[top : top + height, left : left + width]
    sides = np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]])
    if float(sides.mean()) > _PHOTO_SIDES or _is_rectangle(inside):
        return False
    y, x = np.ogrid[:height, :width]
    ellipse = (2 * (x + 0.5) / width - 1) ** 2 + (2 * (y + 0.5) / height - 1) ** 2 <= 1
    shared, either = (ellipse & (inside > 0)).sum(), (ellipse | (inside > 0)).sum()
    return bool(shared <= _PHOTO_ELLIPSE * either)


def _is_rectangle(inside: Mask) -> bool:
    """Whether what is 1, not 0, is a rectangle at any angle."""
    import cv2

    contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    _, (width, height), _ = cv2.minAreaRect(cv2.convexHull(np.concatenate(contours)))
    # Between the middles of the outermost pixels.
    return bool(int(inside.sum(dtype=np.int64)) >= _PHOTO_RECTANGLE * (width + 1) * (height + 1))


def without_hidden_colors(pixels: Pixels) -> Pixels:
    """H x W x 4 with 0 where nothing is visible."""
    import cv2

    answer: Pixels = cv2.bitwise_and(pixels, pixels, mask=np.ascontiguousarray(pixels[..., 3]))
    return answer


def spread_colours(pixels: Pixels) -> Pixels:
    """H x W x 4 to H x W x 3: the colours, extended under transparency.

    Filters then find the object's own colour beyond its edge. Uses push-pull over halved pictures (Gortler et
    al., "The Lumigraph", 1996). Colours of alpha >= 16 stay as they are.
    """
    import cv2

    alpha = pixels[:, :, 3]
    colours = pixels[:, :, :3]
    if alpha.min() >= TRUSTED_ALPHA or not alpha.any():
        return colours
    share = np.minimum(alpha.astype(np.float32) / TRUSTED_ALPHA, 1)
    levels = [(colours * share[:, :, None], share)]
    while max(levels[-1][1].shape) > 1:
        height, width = (-(-side // 2) for side in levels[-1][1].shape)
        sums, weights = (
            cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA) for plane in levels[-1]
        )
        # Scale up small weights in the halved picture, to at most 1.
        gain = np.minimum(1 / np.maximum(weights, 1e-6), 4)
        levels.append((sums * gain[:, :, None], weights * gain))
    sums, weights = levels[-1]
    filled = np.asarray(sums / np.maximum(weights, 1e-6)[:, :, None], np.float32)
    for sums, weights in reversed(levels[:-1]):
        height, width = weights.shape
        wide = cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR)
        filled = np.asarray(sums + (1 - weights)[:, :, None] * wide.reshape(height, width, 3), np.float32)
    return np.clip(np.rint(filled), 0, 255).astype(np.uint8)


def hold_alpha(source: Mask, enlarged: Mask) -> None:
    """Limit `enlarged`, in place, to the range of `source` in the 3 x 3 pixels around each place.

    Networks and resamplers overshoot at edges; this keeps opaque and transparent areas exact.
    """
    import cv2

    around = np.ones((3, 3), np.uint8)
    lowest, highest = cv2.erode(source, around), cv2.dilate(source, around)
    height, width = enlarged.shape
    columns = np.arange(width) * source.shape[1] // width
    for top in range(0, height, _ROWS_AT_ONCE):
        band = enlarged[top : top + _ROWS_AT_ONCE]
        rows = (np.arange(top, top + len(band)) * source.shape[0] // height)[:, None]
        np.clip(band, lowest[rows, columns], highest[rows, columns], out=band)
