"""Matches the tint and grain of a network's output to its picture.

Networks that use an autoencoder reproduce even unchanged pixels slightly lighter, darker or tinted, and
without camera noise.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.imaging import seams
from ml.imaging.pyramid import Region
from ml.pixels import Pixels

# Differences up to this (of 255) count as a tint; larger ones are different content.
_MAX_TINT = 32.0
_TINT_SIGMA_PIXELS = 4.0
# The correction fades inwards over this share of the area's size.
_FADE_SHARE = 0.35
_MIN_FADE_PIXELS = 8.0
_MAX_GRAIN = 12.0
# Around the painted area, where its grain is measured.
_NEAR_PIXELS = 48
_MIN_PLACES = 64
# Removes smooth shading and leaves noise; the scale converts its median to a standard deviation.
_GRAIN_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_GRAIN_SCALE = 1 / (6 * 0.6745)


def match_tint(generated: Pixels, source: Pixels, painted: Region) -> Pixels:
    """Match the colours of `generated` (H x W x 3) around `painted` to those of `source`.

    `generated` is a network's output for all of `source`, of which only `painted` is used. The difference
    around it is extended into it, fading inwards.
    """
    known = ~painted
    if not painted.any() or not known.any():
        return generated
    difference = np.clip(source.astype(np.float32) - generated.astype(np.float32), -_MAX_TINT, _MAX_TINT)
    share = cv2.GaussianBlur(known.astype(np.float32), (0, 0), _TINT_SIGMA_PIXELS)[..., None]
    known_difference = difference * known[..., None].astype(np.float32)
    smooth = cv2.GaussianBlur(known_difference, (0, 0), _TINT_SIGMA_PIXELS) / np.maximum(share, 1e-3)
    as_bytes: Pixels = np.clip(np.rint(smooth + 128), 0, 255).astype(np.uint8)
    tint = seams.membrane(as_bytes, painted).astype(np.float32) - 128
    depth = cv2.distanceTransform(painted.astype(np.uint8), cv2.DIST_L2, 5)
    fade_pixels = max(_MIN_FADE_PIXELS, _FADE_SHARE * float(np.sqrt(painted.sum())))
    corrected = generated + tint * np.exp(-depth / np.float32(fade_pixels))[..., None]
    return np.where(painted[..., None], np.clip(np.rint(corrected), 0, 255).astype(np.uint8), generated)


def match_grain(
    generated: Pixels, source: Pixels, painted: Region, seed: int, usable: Region | None = None
) -> Pixels:
    """Add grain to `painted` in `generated` (H x W x 3), as much as `source` has in `usable` around it."""
    reach = np.ones((2 * _NEAR_PIXELS + 1, 2 * _NEAR_PIXELS + 1), np.uint8)
    near = (cv2.dilate(painted.astype(np.uint8), reach) > 0) & ~painted
    if usable is not None:
        near &= usable
    wanted, present = estimate_grain(source, near), estimate_grain(generated, painted)
    missing = min(_MAX_GRAIN, float(np.sqrt(max(0.0, wanted**2 - present**2))))
    if missing < 0.5:  # of 255: invisible
        return generated
    rows, columns = np.nonzero(painted)
    noise = np.random.default_rng(seed).normal(0, missing, len(rows)).astype(np.float32)
    answer = generated.copy()
    answer[rows, columns] = np.clip(np.rint(answer[rows, columns] + noise[:, None]), 0, 255)
    return answer


def estimate_grain(pixels: Pixels, where: Region) -> float:
    """The standard deviation of the noise of `pixels` (H x W x 3) there, 0..255; 0 for too few pixels.

    Uses the median, so that edges and texture, which are sparser than noise, have little influence.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY).astype(np.float32)
    found: NDArray[np.float32] = np.abs(cv2.filter2D(grey, cv2.CV_32F, _GRAIN_KERNEL)[where])
    return float(np.median(found)) * _GRAIN_SCALE if len(found) >= _MIN_PLACES else 0.0
