"""Refining a coarse matte, on images whose true alpha is known."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from ml.imaging.matting import refinement
from tests.support.ml.cutouts import engines, enlarged, known_cutout
from tests.support.ml.photos import photo

PAIRS = [("chelsea", "rocket"), ("coffee", "rocket"), ("rocket", "chelsea"), ("grass", "coffee")]


@pytest.mark.parametrize(("front", "back"), PAIRS)
@pytest.mark.parametrize(("side_pixels", "left_over"), [(1024, 0.7), (320, 0.5)])
def test_hair_gets_closer_to_the_ground_truth(
    front: str, back: str, side_pixels: int, left_over: float
) -> None:
    known = known_cutout(front, back)
    matte = known.blurred_matte(side_pixels)
    before = known.alpha_error(enlarged(matte, known.picture))
    after = known.alpha_error(refinement.refine(known.picture, matte))
    assert after < left_over * before


def test_certain_pixels_are_exactly_opaque_or_transparent() -> None:
    known = known_cutout("chelsea", "rocket")
    alpha = refinement.refine(known.picture, known.blurred_matte(1024))
    far = np.ones((81, 81), np.uint8)
    inside = cv2.erode(cv2.inRange(known.alpha, 255, 255), far) > 0
    outside = cv2.erode(cv2.inRange(known.alpha, 0, 0), far) > 0
    assert inside.any()
    assert outside.any()
    assert (alpha[inside] == 255).all()
    assert (alpha[outside] == 0).all()


def test_uncertainty_inside_an_object_makes_no_hole() -> None:
    picture = photo("astronaut")
    matte = np.zeros((1024, 1024), np.float32)
    matte[200:800, 200:800] = 1
    matte[450:550, 450:550] = 0.8
    alpha = refinement.refine(picture, matte)
    assert (alpha[120:380, 120:380] == 255).all()


def test_a_dark_spot_at_the_edge_of_a_bright_object_stays_foreground() -> None:
    """A spotted white disc on black, seen by a network that is sure of all of it."""
    truth = np.zeros((800, 800), np.uint8)
    cv2.circle(truth, (400, 400), 250, 255, -1, cv2.LINE_AA)
    picture = np.repeat(truth[..., None], 3, axis=2) // 255 * 230
    for angle in np.linspace(0, 2 * np.pi, 24, endpoint=False):
        spot = (round(400 + 225 * np.cos(angle)), round(400 + 225 * np.sin(angle)))
        cv2.circle(picture, spot, 12, (15, 12, 10), -1, cv2.LINE_AA)
    picture = cv2.GaussianBlur(picture, (0, 0), 1)
    matte = cv2.GaussianBlur(truth.astype(np.float32) / 255, (0, 0), 2)
    alpha = refinement.refine(picture, matte)
    spots = cv2.erode(truth, np.ones((27, 27), np.uint8)) > 0
    assert (alpha[spots] > 250).mean() > 0.99


def test_empty_and_full_mattes_are_unchanged() -> None:
    picture = photo("coffee")
    assert not refinement.refine(picture, np.zeros((320, 320), np.float32)).any()
    assert (refinement.refine(picture, np.ones((320, 320), np.float32)) == 255).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (7, 500), (300, 1), (33, 65)])
def test_tiny_and_narrow_images_are_refined_too(size: tuple[int, int]) -> None:
    height, width = size
    picture = cv2.resize(photo("coffee"), (width, height), interpolation=cv2.INTER_AREA)
    matte = cv2.GaussianBlur(np.tri(1024, dtype=np.float32), (0, 0), 3)
    assert refinement.refine(picture, matte).shape == (height, width)


def test_real_mattes_keep_their_shape() -> None:
    """Refining moves edges by pixels; it never adds or loses a part of the object."""
    for name in ("astronaut", "coffee", "motorcycle_left"):
        picture = photo(name)
        matte = engines().matting("isnet-general-use").matte(picture)
        coarse = enlarged(matte, picture) > 127
        fine = refinement.refine(picture, matte) > 127
        assert (coarse & fine).sum() / (coarse | fine).sum() > 0.95


_GROWTH_OF_MEMORY = """
import resource, sys
import cv2, numpy as np
from ml.imaging.matting import decontamination, refinement

side = int(sys.argv[1])
picture = cv2.resize(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8), (4 * side, 3 * side))
matte = cv2.GaussianBlur(np.tri(1024, dtype=np.float32), (0, 0), 4)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
alpha = refinement.refine(picture, matte)
decontamination.decontaminate(picture, alpha)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, picture.nbytes)
"""


def test_memory_for_12_megapixels_is_bounded() -> None:
    command = [sys.executable, "-c", _GROWTH_OF_MEMORY, "1000"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    growth_bytes, picture_bytes = map(int, ran.stdout.split())
    assert picture_bytes == 36_000_000
    # The answers take 48 MB; the floats of a whole picture would take 144 MB each.
    assert growth_bytes < 180_000_000
