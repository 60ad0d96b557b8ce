"""Helpers for enlarging pictures with transparency without fringes or ringing."""

import numpy as np

from ml.pixels import Mask, Pixels

#: Below this alpha, a pixel's colour is mixed with its surroundings, because cut-outs often have black or
#: rounding errors of premultiplied colours there.
TRUSTED_ALPHA = 16

_ROWS_AT_ONCE = 512


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
