"""The block-wise comparison of enlarged tiles with their source."""

import cv2
import numpy as np
import pytest

from ml.imaging import enlargement_checks
from ml.imaging.enlargement_checks import BLOCK, Tile
from tests.support.ml.photos import photo

FACTOR = 2
SIDE = 128


def _tile() -> Tile:
    return (photo("coffee")[:SIDE, :SIDE] / 255).astype(np.float32)


def _noise(seed: int = 1) -> Tile:
    shape = (FACTOR * BLOCK, FACTOR * BLOCK, 3)
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def test_a_resampled_photo_passes() -> None:
    tile = _tile()
    assert not enlargement_checks.failed_blocks(tile, enlargement_checks.resample(tile, FACTOR)).any()


@pytest.mark.parametrize("kind", ["coloured noise", "brightness", "overshoot"])
def test_exactly_the_damaged_block_fails(kind: str) -> None:
    tile = _tile()
    enlarged = enlargement_checks.resample(tile, FACTOR)
    rows, columns = (slice(index * BLOCK * FACTOR, (index + 1) * BLOCK * FACTOR) for index in (3, 5))
    if kind == "coloured noise":  # its mean is right
        noise = _noise() * np.float32(0.4)
        enlarged[rows, columns] += noise - noise.mean(axis=(0, 1))
    elif kind == "brightness":
        enlarged[rows, columns] += np.float32(0.1)
    else:
        enlarged[rows, columns][4, 4] = 30
    failed = enlargement_checks.failed_blocks(tile, enlarged)
    assert failed.shape == (SIDE // BLOCK, SIDE // BLOCK)
    assert np.argwhere(failed).tolist() == [[3, 5]]


def test_replaced_blocks_leave_no_trace_and_the_rest_is_untouched() -> None:
    tile = _tile()
    good = enlargement_checks.resample(tile, FACTOR)
    damaged = good.copy()
    damaged[48:64, 80:96] += 0.5
    blocks = enlargement_checks.failed_blocks(tile, damaged)
    mended = enlargement_checks.replace_blocks(damaged, good, blocks)
    assert np.abs(mended - good).max() < 1e-5
    marked = enlargement_checks.replace_blocks(np.zeros_like(good), np.ones_like(good), blocks)
    assert (marked[:24] == 0).all()
    assert (marked[:, 128:] == 0).all()
    assert np.abs(np.diff(marked, axis=0)).max() < 0.1, "faded, not cut"


def test_back_projection_restores_brightness_and_keeps_detail() -> None:
    tile = _tile()
    detail = np.tile(np.array([[0.02, -0.02], [-0.02, 0.02]], np.float32), (SIDE, SIDE))[:, :, None]
    enlarged = np.clip(enlargement_checks.resample(tile, FACTOR) * 0.9, 0.05, 0.9) + detail
    projected = enlargement_checks.back_project(tile, enlarged)

    def distance(candidate: Tile) -> float:
        reduced = cv2.resize(candidate, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        return float(np.abs(reduced - tile).mean())

    assert distance(projected) < distance(enlarged) / 4
    kept = (projected - cv2.blur(projected, (2, 2))).std()
    assert kept > 0.9 * (enlarged - cv2.blur(enlarged, (2, 2))).std()


def test_colours_stay_within_the_source_flat_stays_flat_and_grey_stays_grey() -> None:
    source = np.full((64, 64, 3), 255, np.uint8)
    source[:, 32:] = 40
    source[40:, 40:] = (200, 30, 30)
    enlarged = cv2.resize(source, (128, 128), interpolation=cv2.INTER_NEAREST)
    noise = np.random.default_rng(1).integers(-60, 60, enlarged.shape)
    noisy = np.clip(enlarged + noise, 0, 255).astype(np.uint8)
    enlargement_checks.hold_colours(source, noisy)
    assert (noisy[:, :56] == 255).all()
    assert (noisy[:68, 72:] == 40).all()
    assert (noisy[88:, 88:] == (200, 30, 30)).all()
    assert np.ptp(noisy[:60, 56:72], axis=2).max() == 0, "an edge between greys is grey"


def test_photos_keep_their_sharpened_edges() -> None:
    source = photo("astronaut")[:128, :128]
    enlarged = cv2.resize(source, (256, 256), interpolation=cv2.INTER_CUBIC)
    held = enlarged.copy()
    enlargement_checks.hold_colours(source, held)
    assert np.abs(held.astype(int) - enlarged).mean() < 0.2


@pytest.mark.parametrize(
    ("ink", "paper"),
    [((0, 0, 0), (1, 1, 1)), ((0.01, 0.4, 0.84), (1, 1, 1)), ((1, 1, 1), (0.18, 0.64, 0.31))],
)
def test_a_dotted_stroke_fails_although_its_mean_is_right(
    ink: tuple[float, ...], paper: tuple[float, ...]
) -> None:
    """Networks dot the strokes of text without soft edges, also of blue text and on green buttons."""
    tile = np.empty((SIDE, SIDE, 3), np.float32)
    tile[:] = paper
    tile[40:88, 51:53] = ink
    plain = enlargement_checks.resample(tile, FACTOR)
    assert not enlargement_checks.failed_blocks(tile, plain).any()
    dotted = plain.copy()
    dotted[98:112:5, 100] = ink
    failed = enlargement_checks.failed_blocks(tile, dotted)
    assert failed.any()
    assert set(np.argwhere(failed)[:, 1]) <= {6}


def test_specks_of_a_photo_without_hard_edges_do_not_fail() -> None:
    tile = _tile()
    enlarged = enlargement_checks.resample(tile, FACTOR)
    enlarged[100, 100:110:2] = 1
    assert not enlargement_checks.failed_blocks(tile, enlarged).any()


@pytest.mark.parametrize("factor", [2, 4])
def test_the_original_of_a_reduced_text_does_not_fail(factor: int) -> None:
    """Corners and ends of sharp strokes are no dots."""
    page = np.full((SIDE * factor, SIDE * factor, 3), 255, np.uint8)
    for row in range(1, 6):
        place = (2 * factor, 24 * factor * row)
        cv2.putText(page, "Hk1xyz", place, cv2.FONT_HERSHEY_DUPLEX, 0.6 * factor, (0, 0, 0), factor)
    original = (page / 255).astype(np.float32)
    source = cv2.resize(original, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    assert not enlargement_checks.failed_blocks(source, original).any()


@pytest.mark.parametrize("ink", [(200, 30, 30), (20, 40, 160)])
def test_the_original_of_thin_coloured_lines_does_not_fail(ink: tuple[int, int, int]) -> None:
    """Sharp lines differ in colour from what interpolation gives, but not from the source."""
    page = np.full((SIDE * 4, SIDE * 4, 3), 255, np.uint8)
    for offset in range(-480, 480, 40):
        cv2.line(page, (0, offset), (512, offset + 350), ink, 4, cv2.LINE_AA)
    original = (page / 255).astype(np.float32)
    source = cv2.resize(original, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    assert not enlargement_checks.failed_blocks(source, original).any()
