"""Resizing and rotation of pixels; the crop tool's tests cover edges and transparency."""

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ml.errors import PictureTooLarge
from ml.imaging.resampling import resize, rotate, rotated_size
from ml.pixels import Pixels

NOISE: Pixels = np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)


@pytest.mark.parametrize("degrees", [-180.0, -90.0, 0.0, 90.0, 180.0])
def test_quarter_turns_are_exact_and_clockwise(degrees: float) -> None:
    turned = rotate(NOISE, degrees)
    assert np.array_equal(turned, np.rot90(NOISE, -round(degrees / 90)))
    assert rotated_size(40, 30, degrees) == (turned.shape[1], turned.shape[0])


@pytest.mark.parametrize("degrees", [-135.0, -1.0, 0.5, 45.0, 89.0, 179.0])
def test_the_canvas_of_other_angles_is_that_of_rotated_size(degrees: float) -> None:
    turned = rotate(NOISE, degrees)
    assert rotated_size(40, 30, degrees) == (turned.shape[1], turned.shape[0])
    assert turned.shape[2] == 4
    assert turned[[0, 0, -1, -1], [0, -1, 0, -1], 3].max() < 255  # transparent corners


def waves(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """A picture of fine waves, known between pixels too."""
    values = 127 + 60 * np.sin(x / 2.6 + y / 7) + 50 * np.cos(y / 3.1 - x / 9)
    return np.repeat(values[..., None], 3, axis=2)


@pytest.mark.parametrize("degrees", [7.0, -33.0])
@pytest.mark.parametrize("channels", [3, 4])
def test_rotation_keeps_fine_detail(degrees: float, channels: int) -> None:
    rows, columns = np.mgrid[:300, :400].astype(float)
    pixels = np.rint(waves(columns, rows)).astype(np.uint8)
    if channels == 4:
        pixels = np.dstack([pixels, np.full((300, 400), 255, np.uint8)])
        pixels[:60, :60, 3] = 0
    turned = rotate(pixels, degrees)
    rows, columns = np.mgrid[: turned.shape[0], : turned.shape[1]].astype(float)
    rows, columns = rows - (turned.shape[0] - 1) / 2, columns - (turned.shape[1] - 1) / 2
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = cosine * columns + sine * rows + 199.5, cosine * rows - sine * columns + 149.5
    inner = (x > 70) & (x < 390) & (y > 70) & (y < 290)
    error = np.square(turned[..., :3][inner] - waves(x, y)[inner]).mean()
    assert 10 * np.log10(255**2 / error) > 54  # bicubic: 49.6
    assert turned[..., 3][inner].min() == 255


@pytest.mark.parametrize("corner", [0, 255])
def test_rotation_keeps_flat_colours_up_to_the_edge(corner: int) -> None:
    pixels = np.full((200, 300, 4), (200, 120, 40, 255), np.uint8)
    pixels[:90, :90] = (0, 0, 0, corner) if corner == 0 else pixels[0, 0]
    turned = rotate(pixels, 10)
    opaque = turned[turned[..., 3] == 255]
    assert np.abs(opaque[:, :3].astype(int) - (200, 120, 40)).max() <= 1
    around = cv2.dilate((turned[..., 3] > 127).astype(np.uint8), np.ones((7, 7), np.uint8))
    assert turned[..., 3][around == 0].max() == 0  # no second edge


def test_resizing_to_the_same_size_returns_the_same_pixels() -> None:
    assert resize(NOISE, (40, 30)) is NOISE


def test_a_part_is_resized_like_the_same_part_cut_out() -> None:
    mask = NOISE[..., 0]
    for pixels in (NOISE, mask):
        part = resize(pixels, (20, 20), part=(4, 2, 14, 12))
        assert part.shape[:2] == (20, 20)
        inner = resize(np.ascontiguousarray(pixels[2:12, 4:14]), (20, 20))
        # Pixels beyond the part contribute at its edges only.
        assert np.array_equal(part[8:12, 8:12], inner[8:12, 8:12])


def test_hidden_colour_does_not_bleed() -> None:
    pixels = np.zeros((20, 20, 4), np.uint8)
    pixels[:, :10] = (200, 10, 10, 255)
    pixels[:, 10:, 1] = 255  # green under full transparency
    small = resize(pixels, (10, 10))
    assert small[small[..., 3] > 0][:, 1].max() <= 11


def test_a_result_of_too_many_pixels_is_refused() -> None:
    with pytest.raises(PictureTooLarge):
        resize(NOISE, (20_000, 20_000))
