"""A cut-out as a ZIP of `color.jpg` and `alpha.png`, which is far smaller than one PNG of a large photo."""

import io
import zipfile

import cv2
import numpy as np

from ml.imaging import codecs
from ml.pixels import Mask, Pixels

COLOR_NAME, ALPHA_NAME = "color.jpg", "alpha.png"

# Where the cut-out is transparent, the JPEG gets the colours nearby, averaged with this standard deviation,
# and beyond their reach the mean colour of what is visible. Black instead would darken the edge, because a
# JPEG mixes the colours of neighbouring pixels.
_FILL_SIGMA_PIXELS = 6.0
_ROWS_AT_ONCE = 256
_REACH = 4 * int(_FILL_SIGMA_PIXELS)
_WEIGHT_MIN = 0.03  # the share of visible pixels in an average, below which it is not used
_MADE_AT = (1980, 1, 1, 0, 0, 0)  # the same pixels make the same file


def color_and_alpha(pixels: Pixels, quality: int) -> bytes:
    """The ZIP for `pixels` (H x W x 3|4). The colours of removed parts are not in it."""
    if pixels.shape[2] == 4:
        alpha: Mask = np.ascontiguousarray(pixels[..., 3])
        colors = _without_removed_parts(pixels[..., :3], alpha)
    else:
        alpha = np.full(pixels.shape[:2], 255, np.uint8)
        colors = pixels
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(COLOR_NAME, _MADE_AT), codecs.encode(colors, "jpg", quality))
        archive.writestr(zipfile.ZipInfo(ALPHA_NAME, _MADE_AT), codecs.encode(alpha, "png"))
    return out.getvalue()


def _without_removed_parts(colors: Pixels, alpha: Mask) -> Pixels:
    """`colors` (H x W x 3) with those under alpha 0 replaced by averages of visible ones."""
    visible: Mask = cv2.inRange(alpha, 1, 255)
    if not visible.any():
        return np.zeros_like(colors)
    mean = np.rint(cv2.mean(colors, mask=visible)[:3]).astype(np.uint8)
    answer = np.empty_like(colors)
    # In strips, so that full-size copies are never allocated.
    for first in range(0, alpha.shape[0], _ROWS_AT_ONCE):
        last = min(first + _ROWS_AT_ONCE, alpha.shape[0])
        start, stop = max(0, first - _REACH), last + _REACH
        inner = slice(first - start, last - start)
        shown = visible[start:stop]
        masked = cv2.bitwise_and(colors[start:stop], colors[start:stop], mask=shown).astype(np.float32)
        weight = cv2.GaussianBlur(shown.astype(np.float32), (0, 0), _FILL_SIGMA_PIXELS)[inner, :, None] / 255
        average = cv2.GaussianBlur(masked, (0, 0), _FILL_SIGMA_PIXELS)[inner] / np.maximum(
            weight, _WEIGHT_MIN
        )
        fill = np.where(weight >= _WEIGHT_MIN, np.clip(np.rint(average), 0, 255), mean)
        answer[first:last] = np.where(shown[inner][..., None] > 0, colors[first:last], fill)
    return answer
