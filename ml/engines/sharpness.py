"""How sharp the content of a hole should be, by what is at its rim.

A patch of sharp fur matches a blurred background well at a reduced size, at which holes are filled first, but
is conspicuous in it.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.imaging import pyramid
from ml.imaging.pyramid import Level, Region

Floats = NDArray[np.float32]

# Details smaller than this are averaged over the window, in pixels.
_DETAIL = 3
_WINDOW = 9
# Levels of detail that noise has, too: sharpness hardly varies below it.
_NOISE = 1.0
# Sharpness varies by about as much within one surface. An octave is twice the detail.
_USUAL_OCTAVES = 0.4
# The content of a place may be like that of the rim up to this many times as far away as the nearest rim.
_REACH = 1.2
_USUAL_PERCENT = 60
# Octaves up to which a rim is out of focus. Elsewhere, folds and joints come between smooth parts.
_BLURRED = 0.75
_MAX_RIM_PLACES = 400
_PLACES_AT_ONCE = 1_024


@dataclass(frozen=True)
class SharpnessCharges:
    """The cost of copying sharper content than is expected; both planes are H x W, in octaves."""

    found: Floats  # the sharpness of each place that may be copied
    most: Floats  # what is expected of each place in the hole
    octave: float  # cost per octave beyond it, in levels of 255

    def costs(
        self,
        rows: NDArray[np.int32],
        columns: NDArray[np.int32],
        from_rows: NDArray[np.int32],
        from_columns: NDArray[np.int32],
    ) -> Floats:
        """The costs of copying to places of the hole from others, in levels of 255."""
        beyond = self.found[from_rows, from_columns] - self.most[rows, columns]
        answer: Floats = np.maximum(beyond, 0) * np.float32(self.octave)
        return answer

    def resized(self, width: int, height: int) -> "SharpnessCharges":
        """The same charges at another size."""
        found, most = (cv2.resize(plane, (width, height)) for plane in (self.found, self.most))
        return SharpnessCharges(found, most, self.octave)


def charges(full: Level, coarsest: Level, radius: int, octave: float) -> SharpnessCharges:
    """The charges at the size of `coarsest`, by the details that only `full` has."""
    height, width = coarsest.hole.shape
    found = _reduced(_sharpness(full), full.usable, (width, height))
    rim = (cv2.dilate(coarsest.hole.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~coarsest.hole
    rim &= coarsest.usable
    if not rim.any() or float(np.median(found[rim])) > _BLURRED:
        nothing = np.zeros((height, width), np.float32)
        return SharpnessCharges(nothing, nothing, 0.0)
    places = pyramid.patches_touching(coarsest.hole, radius)
    return SharpnessCharges(found, _expected(found, rim, places) + np.float32(_USUAL_OCTAVES), octave)


def _sharpness(level: Level) -> Floats:
    """The mean of the fine details near each pixel (H x W) in octaves, by pixels that may be copied only."""
    grey = cv2.cvtColor(np.ascontiguousarray(level.colors), cv2.COLOR_RGB2GRAY).astype(np.float32)
    details = np.abs(grey - cv2.blur(grey, (_DETAIL, _DETAIL)))
    near_others = cv2.dilate((~level.usable).astype(np.uint8), np.ones((_DETAIL, _DETAIL), np.uint8))
    known = (near_others == 0).astype(np.float32)
    share = np.maximum(cv2.blur(known, (_WINDOW, _WINDOW)), np.float32(1e-3))
    means = cv2.blur(details * known, (_WINDOW, _WINDOW)) / share
    answer: Floats = np.log2(means + np.float32(_NOISE))
    return answer


def _reduced(plane: Floats, known: Region, size: tuple[int, int]) -> Floats:
    """The mean of the known values in each pixel of the smaller size."""
    shares = known.astype(np.float32)
    sums = cv2.resize(plane * shares, size, interpolation=cv2.INTER_AREA)
    answer: Floats = sums / np.maximum(cv2.resize(shares, size, interpolation=cv2.INTER_AREA), 1e-3)
    return answer


def _expected(found: Floats, rim: Region, places: Region) -> Floats:
    """The most at the rim near each of `places` (H x W), and no less than is usual at all of it."""
    rim_rows, rim_columns = np.nonzero(rim)
    every = slice(None, None, 1 + len(rim_rows) // _MAX_RIM_PLACES)
    rim_rows, rim_columns = rim_rows[every], rim_columns[every]
    at_rim = found[rim_rows, rim_columns]
    rows, columns = np.nonzero(places)
    answer = np.zeros(found.shape, np.float32)
    for start in range(0, len(rows), _PLACES_AT_ONCE):
        some = slice(start, start + _PLACES_AT_ONCE)
        away = np.hypot(rows[some, None] - rim_rows, columns[some, None] - rim_columns)
        is_near = away <= _REACH * away.min(axis=1, keepdims=True) + 1
        answer[rows[some], columns[some]] = np.where(is_near, at_rim, -np.inf).max(axis=1)
    usual = np.float32(np.percentile(at_rim, _USUAL_PERCENT))
    return np.maximum(answer, usual)
