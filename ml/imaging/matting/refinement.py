"""Sharpens a network's matte by the picture's colours."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.imaging.matting import band, guided_filter
from ml.imaging.matting.color_models import ColorModels
from ml.pixels import Mask, Matte, Pixels

Floats = NDArray[np.float32]

# All but the last step works on a small picture of at most this many pixels a side: twice as many take four
# times as long and reduce the error by two per cent.
_MAX_SIDE = 640
# Fractions of the small picture's longer side.
_BAND_GROWTH = 1 / 256
_COLOR_WINDOW = 1 / 100  # standard deviation
_GUIDE_WINDOW = 1 / 128  # radius
_SOLID_WITHIN = 1 / 64
# How freely a value p may change: about the square of the networks' error there, found by comparing mattes of
# ISNet with hand-made ones. Values near 0 and 1 are kept, or dark markings at an edge would become holes.
_FREEDOM = 0.3  # times (4 p (1 - p)) squared, plus the floor
_FREEDOM_FLOOR = 0.03**2
_ROUNDS = 3
#: Values this close to 0 and 1 are clamped: a haze of 3 % is visible on black.
CRISP_WITHIN = 0.03
#: The last step carries the noise of JPEG into the alpha, as a haze around edges. On 47 pictures with known
#: alpha the sum of differences fell by 3 and 4 % at qualities of 90 and 75. Without JPEG, gradients and
#: colours became worse.
JPEG_CRISP_WITHIN = 0.08


def reduced(picture: Pixels, matte: Matte) -> Pixels:
    """`picture` (H x W x 3) at the size at which it is refined by `matte`."""
    height, width = picture.shape[:2]
    grid = (min(matte.shape[1], width, _MAX_SIDE), min(matte.shape[0], height, _MAX_SIDE))
    return band.reduced(picture, grid)


def refine(
    picture: Pixels,
    matte: Matte,
    small_picture: Pixels | None = None,
    *,
    crisp_within: float = CRISP_WITHIN,
) -> Mask:
    """The alpha of `picture` (H x W x 3), H x W, from a network's `matte` of any size, 0..1.

    `small_picture` is the result of `reduced`, if the caller has it. `crisp_within`: values this close to 0
    and 1 become 0 and 1.

    Three steps. The colours of certain foreground and background around each uncertain pixel are modelled,
    and its opacity is estimated between them, weighted by how distinguishable they are; this is repeated
    three times, because better edges give better models. Then a guided filter expresses the result as a
    function of the picture's colours. Finally this function is applied to the full-size colours of the
    uncertain band.

    The step before the guided filter follows the idea of Bayesian matting (Chuang et al. 2001) with one
    Gaussian a side, fused with the network's matte as the prior.
    """
    if small_picture is None:
        small_picture = reduced(picture, matte)
    small = small_picture.astype(np.float32)
    small /= 255
    grid = small.shape[1], small.shape[0]
    small_matte = cv2.resize(matte, grid, interpolation=cv2.INTER_AREA)
    solid = _solid(small_matte)
    small_matte = _filled(small_matte, solid)
    uncertain = band.uncertain(small_matte, max(2, round(max(grid) * _BAND_GROWTH)))
    sharpened = _sharpen(small, small_matte, uncertain, solid)
    ties = _ties(small, sharpened)
    return _apply(picture, small_matte, uncertain, ties, crisp_within)


def _solid(matte: Matte) -> Floats:
    """1 where no background is near, so that a dark spot is not a hole."""
    within = max(1, round(max(matte.shape) * _SOLID_WITHIN))
    lowest = cv2.erode(matte, np.ones((2 * within + 1, 2 * within + 1), np.uint8))
    answer: Floats = np.clip((lowest - 0.3) / 0.3, 0, 1)
    return answer


def _filled(matte: Matte, solid: Floats) -> Matte:
    """Raise values inside objects: there, 0.8 is uncertainty of the network, not translucency."""
    surer = np.clip((matte - 0.3) / 0.4, 0, 1)
    answer: Matte = np.maximum(matte, matte + solid * (surer - matte))
    return answer


def _sharpen(picture: Floats, matte: Matte, uncertain: Mask, solid: Floats) -> Matte:
    places = np.flatnonzero(uncertain)
    if not places.size:
        return matte
    height, width = matte.shape
    colors = list(np.ascontiguousarray(np.take(picture.reshape(-1, 3), places, axis=0).T))
    prior = matte.ravel()[places]
    unsure = 1 - solid.ravel()[places]
    variance: Floats = _FREEDOM_FLOOR + _FREEDOM * unsure * np.square(4 * prior * (1 - prior))
    sharpened = matte.copy()
    for _ in range(_ROUNDS):
        models = ColorModels.around(picture, sharpened, max(matte.shape) * _COLOR_WINDOW)
        opacity = models.opacity((width, height), places, colors, prior, variance)
        sharpened.ravel()[places] = opacity
    return sharpened


def _ties(picture: Floats, matte: Matte) -> Floats:
    """The guided filter's coefficients; at half the size, without visible difference."""
    height, width = matte.shape
    half = (max(1, width // 2), max(1, height // 2))
    small = cv2.resize(picture, half, interpolation=cv2.INTER_AREA)
    small_matte = cv2.resize(matte, half, interpolation=cv2.INTER_AREA)
    return guided_filter.coefficients(small, small_matte, max(1, round(max(half) * _GUIDE_WINDOW)))


def _apply(picture: Pixels, matte: Matte, uncertain: Mask, ties: Floats, crisp_within: float) -> Mask:
    height, width = picture.shape[:2]
    gain = 255 / (1 - 2 * crisp_within)
    offset = -crisp_within * gain
    alpha: Mask = cv2.resize(_as_bytes(matte, gain, offset), (width, height))
    # Fade at the band's rim, to avoid a seam.
    share = cv2.blur(cv2.erode(uncertain, np.ones((3, 3), np.uint8)).astype(np.float32) / 255, (3, 3))
    # Interpolation spreads the share by less than a small pixel.
    reached = cv2.dilate(uncertain, np.ones((3, 3), np.uint8))
    for tile in band.tiles(cv2.resize(reached, (width, height), interpolation=cv2.INTER_NEAREST)):
        tie = tile.enlarged(ties)
        # The last coefficient is the constant, so a fourth channel of 255 belongs to it.
        tie *= cv2.cvtColor(picture[tile.window], cv2.COLOR_RGB2RGBA)
        value = cv2.transform(tie, np.full((1, 4), 1 / 255))
        here = tile.enlarged(share)
        alpha[tile.window] = cv2.blendLinear(
            _as_bytes(value, gain, offset), alpha[tile.window], here, 1 - here
        )
    return alpha


def _as_bytes(values: Floats, gain: float, offset: float) -> Mask:
    """values * gain + offset, rounded and kept within 0..255."""
    answer: Mask = cv2.addWeighted(values, gain, values, 0, offset, dtype=cv2.CV_8U)
    return answer
