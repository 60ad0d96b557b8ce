"""Spreads the known colours of a picture smoothly over the rest of it.

That continues a background behind the object that hides it, and an object's colours beyond its edge. The
editor computes the same in the browser (`spreading.js`).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.pixels import Mask, Pixels

Floats = NDArray[np.float32]

# Where less of the colour is missing, no wider average is added.
_LEAST_MISSING = 0.01
# A weight from which an average alone determines the colour.
_SUFFICIENT = 0.25
# Wider averages are at least this wide at their reduced size, so that interpolating them shows no steps.
_NARROWEST_SIGMA_PIXELS = 2.0
# Beyond the edge, colours are spread in a picture whose longer side is at most this, by this first average.
_MAX_SIDE = 768
_EDGE_SIGMA_PIXELS = 1.5


def spread(colors: Floats, share: Floats, sigma_pixels: float) -> Floats:
    """`colors` (h x w x 3) averaged by a Gaussian, each pixel weighted by its `share` (h x w, 0..1).

    Where nothing is within reach, wider averages are used, each twice as wide as the one before.
    """
    size = share.shape[1], share.shape[0]
    weighted, sigma = colors * share[..., None], sigma_pixels
    missing, answer = np.ones_like(share), np.zeros_like(colors)
    while True:
        weight, average = (
            cv2.resize(cv2.GaussianBlur(part, (0, 0), sigma), size, interpolation=cv2.INTER_LINEAR)
            for part in (share, weighted)
        )
        taken = missing * np.minimum(weight / _SUFFICIENT, 1)
        answer += (taken / (weight + 1e-6))[..., None] * average
        missing -= taken
        if missing.max() <= _LEAST_MISSING or share.size == 1:
            break
        half = max(1, share.shape[1] // 2), max(1, share.shape[0] // 2)
        share = cv2.resize(share, half, interpolation=cv2.INTER_AREA).reshape(half[::-1])
        weighted = cv2.resize(weighted, half, interpolation=cv2.INTER_AREA).reshape(*half[::-1], 3)
        sigma = max(sigma, _NARROWEST_SIGMA_PIXELS)
    return np.asarray(answer / np.maximum(1 - missing, 1e-6)[..., None], np.float32)


def colors_beyond_edge(colors: Pixels, alpha: Mask, edge: Mask) -> Pixels:
    """The colours (H x W x 3) of an object of this `alpha` (H x W) with another `edge` (H x W).

    As far as a pixel becomes more opaque, it gets the colours that the object has nearby.
    """
    height, width = alpha.shape
    scale = min(1.0, _MAX_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    share = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    small = spread(_weighted_reduction(colors, alpha, size), share, _EDGE_SIGMA_PIXELS)
    near = np.clip(np.rint(small), 0, 255).astype(np.uint8)
    large = cv2.resize(near, (width, height), interpolation=cv2.INTER_LINEAR)
    answer = colors.copy()
    revealed = edge > alpha
    before = alpha[revealed].astype(np.float32)[:, None] / edge[revealed].astype(np.float32)[:, None]
    answer[revealed] = np.rint(colors[revealed] * before + large[revealed] * (1 - before))
    return answer


def _weighted_reduction(colors: Pixels, alpha: Mask, size: tuple[int, int]) -> Floats:
    """The mean colour of what is visible in each pixel of (width, height)."""
    weights = np.broadcast_to(alpha[..., None], colors.shape)
    weighted = cv2.multiply(colors, np.ascontiguousarray(weights), scale=1 / 255, dtype=cv2.CV_8U)
    small = cv2.resize(weighted, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    share = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA).astype(np.float32)[..., None] / 255
    return np.asarray(small / np.maximum(share, 1e-3), np.float32)
