"""Masks as polygons and run lengths, and back."""

import cv2
import numpy as np
import pytest

from ml.imaging import outlines
from ml.pixels import Mask
from tests.support.ml import rasters
from tests.support.ml.hand_masks import HAND_MASKS


def overlap(one: Mask, other: Mask) -> float:
    either = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / either


def ring(size: int = 400) -> Mask:
    """A thick ring with an island in its hole, and a part of its own."""
    mask = np.zeros((size, size + 40), np.uint8)
    cv2.circle(mask, (180, 190), 150, 255, -1)
    cv2.circle(mask, (180, 190), 80, 0, -1)
    cv2.circle(mask, (180, 190), 30, 255, -1)
    cv2.rectangle(mask, (390, 300), (430, 380), 255, -1)
    return mask


@pytest.mark.parametrize("mask", [ring(), *(hand.mask for hand in HAND_MASKS)])
def test_filling_the_polygons_restores_the_mask(mask: Mask) -> None:
    parts = outlines.to_polygons(mask)
    assert overlap(rasters.from_polygons(parts, (mask.shape[1], mask.shape[0])), mask) > 0.97


def test_each_part_is_listed_with_its_holes() -> None:
    parts = outlines.to_polygons(ring())
    assert sorted(len(rings) for rings in parts) == [1, 1, 2]  # island, rectangle, ring with its hole
    rectangle = min(parts, key=lambda rings: -min(x for x, _ in rings[0]))
    assert sorted(map(tuple, rectangle[0])) == [(390, 300), (390, 380), (430, 300), (430, 380)]


def test_outlines_are_simplified() -> None:
    smooth = ring(1000)
    assert sum(len(one) for rings in outlines.to_polygons(smooth) for one in rings) < 200


def test_a_part_of_one_pixel_is_kept() -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[7, 9] = 255
    assert np.array_equal(rasters.from_polygons(outlines.to_polygons(mask), (30, 20)), mask)


@pytest.mark.parametrize(
    "mask",
    [
        ring(),
        np.zeros((7, 5), np.uint8),
        np.full((7, 5), 255, np.uint8),
        np.random.default_rng(1).integers(0, 2, (31, 43)).astype(np.uint8) * 255,
    ],
)
def test_run_lengths_restore_the_mask_exactly(mask: Mask) -> None:
    assert np.array_equal(rasters.from_run_lengths(outlines.to_run_lengths(mask)), mask)


def test_run_lengths_match_the_coco_encoding() -> None:
    """Down the columns, beginning outside: written out by hand."""
    mask = np.array([[0, 255, 255], [0, 0, 255]], np.uint8)
    assert outlines.to_run_lengths(mask) == {"size": [2, 3], "counts": [2, 1, 1, 2]}
    assert outlines.to_run_lengths(255 - mask) == {"size": [2, 3], "counts": [0, 2, 1, 1, 2]}
