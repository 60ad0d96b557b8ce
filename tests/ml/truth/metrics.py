"""The errors of a cut-out against the truth."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.pixels import Mask, Pixels

Floats = NDArray[np.float32]

# Standard deviation of the derivative filter, as in alphamatting.com's evaluation (Rhemann et al. 2009).
_GRADIENT_SIGMA = 1.4
# Opacities between which a pixel counts as a mix of foreground and background.
_SOFT = (0.05, 0.95)
#: Above this intersection over union, an object counts as found.
FOUND_IOU = 0.5


@dataclass(frozen=True)
class Errors:
    """Sums are divided by the megapixels, so that a large picture does not outweigh all others.

    `sad` and `gradient` are in thousands, `mse` is in thousandths, `color` is the mean error of the soft
    pixels' foreground colours in levels, weighted by their true and their estimated opacity; None if a
    picture has no such pixels.
    """

    sad: float
    mse: float
    gradient: float
    color: float | None
    iou: float

    @property
    def is_found(self) -> bool:
        return self.iou > FOUND_IOU


def errors(alpha: Mask, foreground: Pixels, cutout: Pixels) -> Errors:
    """Of `cutout` (H x W x 4) against the true `alpha` (H x W) and `foreground` (H x W x 3)."""
    truth, answer = _opacity(alpha), _opacity(cutout[..., 3])
    difference = np.abs(truth - answer)
    slope = np.square(_slope(truth) - _slope(answer))
    megapixels = alpha.size / 1e6
    together, either = (truth > 0.5) & (answer > 0.5), (truth > 0.5) | (answer > 0.5)
    return Errors(
        sad=float(difference.sum()) / 1000 / megapixels,
        mse=1000 * float(np.square(difference).mean()),
        gradient=float(slope.sum()) / 1000 / megapixels,
        color=_color_error(truth, foreground, answer, cutout),
        iou=float(together.sum() / max(1, either.sum())),
    )


def _opacity(alpha: Mask) -> Floats:
    answer: Floats = (alpha / 255).astype(np.float32)
    return answer


def _slope(alpha: Floats) -> Floats:
    """The magnitude of the derivatives of a Gaussian."""
    reach = np.arange(-5, 6, dtype=np.float64)
    bell = np.exp(-(reach**2) / (2 * _GRADIENT_SIGMA**2))
    bell /= np.linalg.norm(bell)
    falling = -reach * bell
    falling /= np.linalg.norm(falling)
    across = cv2.sepFilter2D(alpha, cv2.CV_32F, falling, bell)
    down = cv2.sepFilter2D(alpha, cv2.CV_32F, bell, falling)
    answer: Floats = cv2.magnitude(across, down)
    return answer


def _color_error(truth: Floats, foreground: Pixels, answer: Floats, cutout: Pixels) -> float | None:
    soft = (truth > _SOFT[0]) & (truth < _SOFT[1]) & (answer > _SOFT[0])
    weight = truth[soft] * answer[soft]
    if not weight.size:
        return None
    difference = np.abs(foreground[soft].astype(np.float32) - cutout[soft][:, :3]).mean(axis=1)
    return float((difference * weight).sum() / weight.sum())
