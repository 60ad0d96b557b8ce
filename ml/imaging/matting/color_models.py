"""Local colour models of foreground and background, and the opacity estimated from a colour.

Channels are separate arrays, because numpy is many times slower with a last axis of three.
"""

from collections.abc import Sequence
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
# Of channels, whose covariances are kept.
_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


@dataclass(frozen=True)
class ColorModels:
    """Mean colours of foreground and background and the variances along the line between them.

    Each is h x w x 4, red, green, blue (0..1) and variance, for each place of a smaller picture.
    """

    foreground: Floats
    background: Floats

    @classmethod
    def around(cls, picture: Floats, matte: Matte, sigma_pixels: float) -> "ColorModels":
        """Models of `picture` (H x W x 3, 0..1), gathered with a Gaussian window of `sigma_pixels`."""
        sure_foreground = np.clip((matte - (1 - _SURE_WITHIN)) / _SURE_WITHIN, 0, 1) + _UNSURE_WEIGHT * matte
        sure_background = np.clip((_SURE_WITHIN - matte) / _SURE_WITHIN, 0, 1) + _UNSURE_WEIGHT * (1 - matte)
        foreground, foreground_spread = _moments(picture, sure_foreground, sigma_pixels)
        background, background_spread = _moments(picture, sure_background, sigma_pixels)
        line = [front - back for front, back in zip(foreground, background, strict=True)]
        return cls(
            cv2.merge([*foreground, _variance_along(line, foreground_spread)]),
            cv2.merge([*background, _variance_along(line, background_spread)]),
        )

    def opacity(
        self,
        size: tuple[int, int],
        places: NDArray[np.intp],
        colors: Sequence[Floats],
        prior: Floats,
        prior_variance: Floats,
    ) -> Floats:
        """The likeliest opacities of pixels at flat indices in a picture of (width, height), given a prior.

        `colors` are the pixels' red, green and blue. A colour on the line from background to foreground
        suggests the opacity of its position on the line, with a precision that depends on the distance
        between the two relative to their variance and on the colour's distance from the line.
        """
        *foreground, foreground_variance = _at(self.foreground, size, places)
        *background, background_variance = _at(self.background, size, places)
        line = [front - back for front, back in zip(foreground, background, strict=True)]
        offset = [color - back for color, back in zip(colors, background, strict=True)]
        length = _dot(line, line) + 1e-6
        place = np.clip(_dot(offset, line) / length, 0, 1)
        offset = [apart - place * along for apart, along in zip(offset, line, strict=True)]
        distance = _dot(offset, offset)
        # At either end the variance of the other side still counts: a dark spot in bright, spotted fur can
        # look like the dark background.
        front, back = place**2, (1 - place) ** 2
        variance = (front + _OTHER_SIDE * back) * foreground_variance
        variance += (back + _OTHER_SIDE * front) * background_variance
        precision = length / (_NOISE**2 + variance + distance)
        prior_precision = 1 / prior_variance
        answer: Floats = (precision * place + prior_precision * prior) / (precision + prior_precision)
        return answer


def _at(models: Floats, size: tuple[int, int], places: NDArray[np.intp]) -> list[Floats]:
    """The four channels of `models`, enlarged to `size`, at flat indices."""
    enlarged = cv2.resize(models, size).reshape(-1, 4)
    return list(np.ascontiguousarray(np.take(enlarged, places, axis=0).T))


def _dot(one: Sequence[Floats], other: Sequence[Floats]) -> Floats:
    answer: Floats = one[0] * other[0] + one[1] * other[1] + one[2] * other[2]
    return answer


def _moments(picture: Floats, weight: Floats, sigma_pixels: float) -> tuple[list[Floats], list[Floats]]:
    """Weighted local mean colours and covariances (of `_PAIRS`), each h x w, at the reduced size."""
    height, width = weight.shape
    size = (max(1, width // _REDUCTION), max(1, height // _REDUCTION))
    small_weight = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    weighted = cv2.multiply(picture, cv2.cvtColor(weight, cv2.COLOR_GRAY2RGB))
    sums = cv2.split(cv2.resize(weighted, size, interpolation=cv2.INTER_AREA))
    colors = [channel / (small_weight + 1e-9) for channel in sums]
    sigma = max(sigma_pixels / _REDUCTION, 0.5)

    def gathered(values: Floats) -> Floats:
        blurred: Floats = cv2.GaussianBlur(values, (0, 0), sigma)
        return blurred

    share: Floats = np.reciprocal(gathered(small_weight) + 1e-7)
    mean: list[Floats] = [gathered(channel) * share for channel in sums]
    spread: list[Floats] = [gathered(sums[i] * colors[j]) * share - mean[i] * mean[j] for i, j in _PAIRS]
    return mean, spread


def _variance_along(line: Sequence[Floats], spread: Sequence[Floats]) -> Floats:
    along = sum(
        (1 if i == j else 2) * line[i] * line[j] * covariance
        for (i, j), covariance in zip(_PAIRS, spread, strict=True)
    )
    answer: Floats = np.maximum(along / (_dot(line, line) + 1e-6), 0)
    return answer
