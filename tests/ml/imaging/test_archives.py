"""A cut-out as a ZIP: the colours and the alpha of it, and nothing of what was removed."""

import io
import zipfile

import numpy as np
import pytest

from ml.imaging import archives
from ml.pixels import Mask, Pixels
from tests.support.ml.photos import open_bytes, photo


def opened(content: bytes) -> tuple[Pixels, Mask]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["color.jpg", "alpha.png"]
        return open_bytes(archive.read("color.jpg")), open_bytes(archive.read("alpha.png"))


def disc(height: int, width: int, radius: float) -> Mask:
    y, x = np.mgrid[:height, :width]
    away = np.hypot(y - height / 2, x - width / 2)
    soft: Mask = np.clip((radius - away) * 64 + 128, 0, 255).astype(np.uint8)
    return soft


@pytest.mark.parametrize("height", [100, archives._ROWS_AT_ONCE, archives._ROWS_AT_ONCE + 1, 700])
def test_colours_up_to_the_edge_are_those_of_the_cut_out(height: int) -> None:
    """On black and white noise around a flat disc: any of it that bled in would show."""
    noise = np.random.default_rng(1).integers(0, 2, (height, 300, 3)) * 255
    alpha = disc(height, 300, 40)
    pixels = np.dstack([np.where(alpha[..., None] > 0, (200, 80, 40), noise), alpha]).astype(np.uint8)
    color, found = opened(archives.color_and_alpha(pixels, 90))
    assert np.array_equal(found, alpha)
    assert np.abs(color[alpha > 0].astype(int) - (200, 80, 40)).max() <= 4
    # Not even the noise farther away is in the file.
    assert np.abs(color.astype(int) - (200, 80, 40)).max() <= 4


def test_strips_leave_no_seam() -> None:
    photograph = np.tile(photo("coffee"), (2, 1, 1))[:700]
    alpha = disc(700, 600, 250)
    color, _ = opened(archives.color_and_alpha(np.dstack([photograph, alpha]), 95))
    at = archives._ROWS_AT_ONCE
    outside = (alpha[at - 1] == 0) & (alpha[at] == 0)
    steps = np.abs(np.diff(color.astype(int), axis=0)).mean(axis=2)
    assert steps[at - 1][outside].mean() <= 2 * steps[at - 10 : at + 10][:, outside].mean() + 1


def test_an_opaque_picture_has_white_alpha() -> None:
    color, alpha = opened(archives.color_and_alpha(photo("coffee"), 95))
    assert alpha.min() == 255
    assert np.abs(color.astype(int) - photo("coffee")).mean() < 3


def test_an_empty_cut_out_is_black() -> None:
    pixels = np.dstack([photo("coffee"), np.zeros((400, 600), np.uint8)])
    color, alpha = opened(archives.color_and_alpha(pixels, 90))
    assert (color.max(), alpha.max()) == (0, 0)


def test_the_same_pixels_make_the_same_file() -> None:
    pixels = np.dstack([photo("coffee"), disc(400, 600, 100)])
    assert archives.color_and_alpha(pixels, 90) == archives.color_and_alpha(pixels, 90)
