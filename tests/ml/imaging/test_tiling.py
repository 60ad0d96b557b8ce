"""Splitting an image into tiles and merging the results."""

import itertools
import tracemalloc

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ml.imaging import tiling
from ml.imaging.tiling import Axis, Grid, TilingFacts
from tests.support.ml.photos import photo

FACTS = TilingFacts(factor=2, side=64, overlap=16, blend=6)
SIZES = [(1, 1), (1, 500), (63, 64), (64, 64), (65, 64), (100, 257), (300, 451)]


def _sources(axis: Axis) -> list[tuple[int, int]]:
    return [
        (axis.start(index), min(axis.start(index) + axis.side, axis.source)) for index in range(axis.count)
    ]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_tiles_cover_the_image_and_neighbours_share_the_overlap(size: tuple[int, int], at_once: int) -> None:
    grid = tiling.plan(size, (2 * size[0], 2 * size[1]), FACTS, at_once)
    assert grid.rows.side * grid.columns.side <= FACTS.side**2
    for axis in (grid.rows, grid.columns):
        spans = _sources(axis)
        assert spans[0][0] == 0
        assert spans[-1][1] == axis.source
        for (_, end), (start, _) in itertools.pairwise(spans):
            assert end - start >= FACTS.overlap


@pytest.mark.parametrize("scale", [1.01, 1.37, 2.0])
@pytest.mark.parametrize("length", [40, 65, 200, 451])
def test_every_target_pixel_is_taken_from_a_tile_with_full_context(length: int, scale: float) -> None:
    target = round(length * scale)
    axis = tiling.plan((length, 64), (target, 64), FACTS).rows
    context = (FACTS.overlap - FACTS.blend) / 2
    spans = [axis.span(index) for index in range(axis.count)]
    assert spans[0][0] == 0
    assert spans[-1][1] == target
    for index, (first, end) in enumerate(spans):
        assert index == 0 or first == spans[index - 1][1] - (axis.fade(index)[1] - axis.fade(index)[0])
        # Half a target pixel of rounding, in source pixels.
        slack = 0.5 / scale
        if index > 0:
            assert first / axis.scale - axis.start(index) >= context - slack
        if index < axis.count - 1:
            assert axis.start(index) + axis.side - end / axis.scale >= context - slack


def _enlarge(picture: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8]:
    """As a network would, with one that only repeats pixels."""
    shape = (grid.rows.target, grid.columns.target, *picture.shape[2:])
    result: NDArray[np.uint8] = np.full(shape, 77, np.uint8)
    mosaic = tiling.Mosaic(grid, result)
    for index in range(grid.count):
        tile = tiling.cut_tile(picture, grid, index)
        assert tile.shape[:2] == grid.tile_shape
        mosaic.place(index, tile.repeat(grid.factor, axis=0).repeat(grid.factor, axis=1))
    return result


@pytest.mark.parametrize("size", SIZES)
def test_a_pointwise_network_yields_the_same_result_tiled_and_whole(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(2).integers(0, 256, (*size, 3), np.uint8)
    grid = tiling.plan(size, (2 * size[0], 2 * size[1]), FACTS, at_once=2)
    np.testing.assert_array_equal(_enlarge(picture, grid), picture.repeat(2, axis=0).repeat(2, axis=1))


def test_a_mask_has_no_channels_and_a_view_may_be_filled() -> None:
    mask = np.random.default_rng(3).integers(0, 256, (150, 90), np.uint8)
    grid = tiling.plan(mask.shape, (300, 180), FACTS)
    result = np.zeros((300, 180, 4), np.uint8)
    mosaic = tiling.Mosaic(grid, result[:, :, 3])
    for index in range(grid.count):
        mosaic.place(index, tiling.cut_tile(mask, grid, index).repeat(2, axis=0).repeat(2, axis=1))
    np.testing.assert_array_equal(result[:, :, 3], mask.repeat(2, axis=0).repeat(2, axis=1))
    assert not result[:, :, :3].any()


@pytest.mark.parametrize("target", [(401, 602), (433, 650), (555, 833)])
def test_a_different_scale_equals_resampling_the_whole(target: tuple[int, int]) -> None:
    picture = photo("coffee")[:300, :450]
    grid = tiling.plan(picture.shape, target, FACTS)
    assert grid.count > 20
    whole = Image.fromarray(picture.repeat(2, axis=0).repeat(2, axis=1))
    expected = np.asarray(whole.resize(target[::-1], Image.Resampling.LANCZOS))
    difference = np.abs(_enlarge(picture, grid).astype(int) - expected)
    assert difference.max() <= 1  # rounding of two blends


def test_disagreeing_tiles_are_blended_without_an_edge() -> None:
    size = (200, 200)
    grid = tiling.plan(size, (400, 400), TilingFacts(factor=2, side=64, overlap=32, blend=16))
    result = np.empty((400, 400), np.uint8)
    mosaic = tiling.Mosaic(grid, result)
    levels = np.random.default_rng(4).integers(60, 196, grid.count)
    for index in range(grid.count):
        mosaic.place(index, np.full((128, 128), levels[index], np.uint8))
    # The steepest possible fade: the whole range over 16 source pixels, in both directions at once.
    steepest = np.ptp(levels) / (16 * 2)
    for axis in (0, 1):
        assert np.abs(np.diff(result.astype(int), axis=axis)).max() <= steepest + 2
    for index in range(grid.count):
        row, column = divmod(index, grid.columns.count)
        middle = sum(grid.rows.span(row)) // 2, sum(grid.columns.span(column)) // 2
        assert result[middle] == levels[index]


def test_the_tile_shape_wastes_little_and_stays_the_same_for_large_pictures() -> None:
    facts = TilingFacts(factor=4, side=192, overlap=32, blend=16)
    for size, at_once in itertools.product([(256, 256), (200, 600), (480, 640), (700, 333)], (1, 2)):
        grid = tiling.plan(size, (4 * size[0], 4 * size[1]), facts, at_once)
        computed = -(-grid.count // at_once) * at_once * grid.rows.side * grid.columns.side
        assert computed < 1.75 * size[0] * size[1]
    shapes = {
        tiling.plan((height, width), (4 * height, 4 * width), facts, 2).tile_shape
        for height, width in itertools.product(range(2000, 2400, 37), range(3000, 3400, 41))
    }
    assert shapes == {(192, 192)}


def test_an_image_smaller_than_its_tile_is_padded_by_reflection() -> None:
    picture = photo("chelsea")[:20, :50]
    grid = tiling.plan(picture.shape, (40, 100), FACTS)
    assert grid.count == 1
    tile = tiling.cut_tile(picture, grid, 0)
    expected = cv2.copyMakeBorder(picture, 0, tile.shape[0] - 20, 0, tile.shape[1] - 50, cv2.BORDER_REFLECT)
    np.testing.assert_array_equal(tile, expected)


def test_memory_beyond_the_result_does_not_grow_with_the_image() -> None:
    facts = TilingFacts(factor=2, side=128, overlap=32, blend=8)

    def extra_bytes(height: int, width: int) -> int:
        picture = np.zeros((height, width, 3), np.uint8)
        result = np.zeros((2 * height, 2 * width, 3), np.uint8)
        grid = tiling.plan(picture.shape, result.shape, facts)
        mosaic = tiling.Mosaic(grid, result)
        tracemalloc.start()
        try:
            for index in range(grid.count):
                mosaic.place(index, tiling.cut_tile(picture, grid, index).repeat(2, axis=0).repeat(2, axis=1))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    small = extra_bytes(300, 300)
    # Twenty times the height costs nothing; of the width, a strip as high as a fade is kept and blended.
    assert extra_bytes(6000, 300) <= small * 1.2
    strip_values = 12_000 * 16 * 3
    assert extra_bytes(300, 6000) <= small + strip_values * 15
