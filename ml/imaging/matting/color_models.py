"""Local colour models of foreground and background, and the opacity estimated from a colour."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.pixels import Matte

Floats = NDArray[np.float32]

# Statistics vary slowly, so they are taken at a quarter of the size.
_REDUCTION = 4
# Matte values this close to 0 and 1 count fully towards the background's and the foreground's colours.
_SURE_WITHIN = 0.1
# A small weight for uncertain pixels avoids division by zero where no certain ones are near.
_UNSURE_WEIGHT = 1e-4
# Standard deviation of sensor noise and compression in a colour channel of 0..1.
_NOISE = 0.03
_OTHER_SIDE = 0.3


@dataclass(frozen=True)
class ColorModels:
    """Mean colours (H x W x 3, 0..1) and variances along the line between them (H x W), for each place."""

    foreground: Floats
    background: Floats
    foreground_variance: Floats
    background_variance: Floats

    @classmethod
    def around(cls, picture: Floats, matte: Matte, sigma_pixels: float) -> "ColorModels":
        """Models of `picture` (H x W x 3, 0..1), gathered with a Gaussian window of `sigma_pixels`."""
        sure_foreground = np.clip((matte - (1 - _SURE_WITHIN)) / _SURE_WITHIN, 0, 1) + _UNSURE_WEIGHT * matte
        sure_background = np.clip((_SURE_WITHIN - matte) / _SURE_WITHIN, 0, 1) + _UNSURE_WEIGHT * (1 - matte)
        foreground, foreground_spread = _moments(picture, sure_foreground, sigma_pixels)
        background, background_spread = _moments(picture, sure_background, sigma_pixels)
        line = foreground - background
        return cls(
            foreground,
            background,
            _variance_along(line, foreground_spread),
            _variance_along(line, background_spread),
        )

    def at(self, mask: NDArray[np.bool_]) -> "ColorModels":
        """The models of the pixels in `mask` (any H x W), as flat arrays."""
        height, width = mask.shape
        size = (width, height)
        colors = [cv2.resize(color, size)[mask] for color in (self.foreground, self.background)]
        variances = [
            cv2.resize(variance, size)[mask]
            for variance in (self.foreground_variance, self.background_variance)
        ]
        return ColorModels(colors[0], colors[1], variances[0], variances[1])

    def opacity(self, colors: Floats, prior: Floats, prior_variance: Floats) -> Floats:
        """The likeliest opacities of pixels of these colours, N x 3 with models of N, given a prior.

        A colour on the line from background to foreground suggests the opacity of its position on the line,
        with a precision that depends on the distance between the two relative to their variance and on the
        colour's distance from the line.
        """
        line = self.foreground - self.background
        length = np.einsum("nc,nc->n", line, line) + 1e-6
        offset = colors - self.background
        place = np.clip(np.einsum("nc,nc->n", offset, line) / length, 0, 1)
        offset -= place[:, None] * line
        distance = np.einsum("nc,nc->n", offset, offset)
        # At either end the variance of the other side still counts: a dark spot in bright, spotted fur can
        # look like the dark background.
        front, back = place**2, (1 - place) ** 2
        variance = (front + _OTHER_SIDE * back) * self.foreground_variance
        variance += (back + _OTHER_SIDE * front) * self.background_variance
        precision = length / (_NOISE**2 + variance + distance)
        prior_precision = 1 / prior_variance
        answer: Floats = (precision * place + prior_precision * prior) / (precision + prior_precision)
        return answer


def _moments(picture: Floats, weight: Floats, sigma_pixels: float) -> tuple[Floats, Floats]:
    """Weighted local mean colours (h x w x 3) and covariances (h x w x 3 x 3) at the reduced size."""
    height, width = weight.shape
    size = (max(1, width // _REDUCTION), max(1, height // _REDUCTION))
    small_weight = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    colors = cv2.resize(picture * weight[..., None], size, interpolation=cv2.INTER_AREA)
    colors /= small_weight[..., None] + 1e-9
    sigma = max(sigma_pixels / _REDUCTION, 0.5)

    def gathered(values: Floats) -> Floats:
        blurred: Floats = cv2.GaussianBlur(values, (0, 0), sigma)
        return blurred

    total = gathered(small_weight) + 1e-7
    mean = gathered(colors * small_weight[..., None]) / total[..., None]
    spread = np.empty((*total.shape, 3, 3), np.float32)
    for row in range(3):
        for column in range(row, 3):
            product = gathered(colors[..., row] * colors[..., column] * small_weight) / total
            spread[..., row, column] = product - mean[..., row] * mean[..., column]
            spread[..., column, row] = spread[..., row, column]
    return mean, spread


def _variance_along(line: Floats, spread: Floats) -> Floats:
    length = np.einsum("hwc,hwc->hw", line, line) + 1e-6
    along: Floats = np.einsum("hwc,hwcd,hwd->hw", line, spread, line)
    answer: Floats = np.maximum(along / length, 0)
    return answer
