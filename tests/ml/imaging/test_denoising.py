"""Block edges and noise are removed, edges and flat areas stay."""

import io

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image

from ml.errors import Cancelled
from ml.imaging import codecs, denoising
from ml.pixels import Pixels
from tests.support.ml.photos import photo


def jpeg(pixels: Pixels, quality: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=quality)
    return content.getvalue()


def psnr(one: Pixels, other: Pixels) -> float:
    return float(10 * np.log10(255**2 / np.square(one.astype(float) - other).mean()))


def block_edges(pixels: Pixels) -> float:
    """How much larger steps between blocks are than steps within them."""
    steps = np.abs(np.diff(pixels.astype(float).mean(axis=2), axis=1)).mean(axis=0)
    between = np.arange(len(steps)) % 8 == 7
    return float(steps[between].mean() / steps[~between].mean())


def ignore(_done: float) -> None:
    """Progress is not of interest."""


@pytest.mark.parametrize("name", ["coffee", "chelsea", "astronaut", "rocket"])
def test_a_compressed_photo_comes_closer_to_the_photo(name: str) -> None:
    compressed = codecs.decode(jpeg(photo(name), 40))
    assert compressed.jpeg_tables is not None
    assert denoising.has_visible_blocks(compressed.jpeg_tables)
    cleaned = denoising.reduce(compressed.pixels, compressed.jpeg_tables, ignore)
    assert psnr(cleaned, photo(name)) > psnr(compressed.pixels, photo(name)) + 0.15
    assert abs(block_edges(cleaned) - 1) < 0.6 * abs(block_edges(compressed.pixels) - 1)


def test_tables_of_high_quality_are_left_alone() -> None:
    for quality, is_visible in ((40, True), (85, True), (96, False), (100, False)):
        tables = codecs.decode(jpeg(photo("coffee"), quality)).jpeg_tables
        assert tables is not None
        assert denoising.has_visible_blocks(tables) == is_visible


def test_other_formats_have_no_tables_and_grey_jpegs_one() -> None:
    assert codecs.decode(codecs.encode(photo("coffee"), "png")).jpeg_tables is None
    grey = codecs.decode(jpeg(photo("coffee")[..., 0], 30))
    assert grey.jpeg_tables is not None
    assert len(grey.jpeg_tables) == 1
    cleaned = denoising.reduce(grey.pixels, grey.jpeg_tables, ignore)
    assert np.ptp(cleaned, axis=2).max() == 0


@pytest.mark.parametrize("value", [(0, 0, 0), (255, 255, 255), (200, 200, 200), (17, 180, 96)])
def test_flat_areas_keep_their_value(value: tuple[int, int, int]) -> None:
    flat = np.full((50, 70, 3), value, np.uint8)
    for tables in (denoising.noise_tables(12), ((40,) * 64, (99,) * 64)):
        cleaned = denoising.reduce(flat, tables, ignore)
        assert np.abs(cleaned.astype(int) - flat).max() <= (0 if len(set(value)) == 1 else 1)


def test_strips_are_seamless() -> None:
    rng = np.random.default_rng(3)
    noisy = rng.normal(120, 10, (1100, 64, 3)).clip(0, 255).astype(np.uint8)
    tall = denoising.reduce(noisy, denoising.noise_tables(10), ignore)
    part = denoising.reduce(noisy[904:], denoising.noise_tables(10), ignore)
    assert np.array_equal(tall[940:], part[36:])


@pytest.mark.parametrize("deviation", [4, 6, 10, 15])
def test_noise_is_measured_and_removed(deviation: int) -> None:
    for name in ("coffee", "chelsea", "astronaut"):
        noise = np.random.default_rng(deviation).normal(0, deviation, photo(name).shape)
        noisy = np.clip(np.rint(photo(name) + noise), 0, 255).astype(np.uint8)
        measured = denoising.noise_deviation(noisy)
        assert 0.75 * deviation < measured < 1.4 * deviation, name
        cleaned = denoising.reduce(noisy, denoising.noise_tables(measured), ignore)
        assert psnr(cleaned, photo(name)) > psnr(noisy, photo(name)) + 2, name


def test_texture_text_and_flat_areas_do_not_count_as_noise() -> None:
    tint = np.array((150, 220, 110)) / 255
    for name in ("grass", "gravel", "brick"):
        grey = np.atleast_3d(photo(name))[..., :1].repeat(3, axis=2)
        assert denoising.noise_deviation(grey) < denoising.NOISY, name
        assert denoising.noise_deviation(np.rint(grey * tint).astype(np.uint8)) < denoising.NOISY, name
    for name in ("coffee", "chelsea", "astronaut", "rocket"):
        assert denoising.noise_deviation(photo(name)) < denoising.NOISY, name
    page = np.full((400, 600, 3), 240, np.uint8)
    for row in range(30, 400, 24):
        cv2.putText(page, "The quick brown fox jumps", (10, row), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (20,) * 3)
    assert denoising.noise_deviation(page) < denoising.NOISY
    assert denoising.noise_deviation(np.full((300, 300, 3), 128, np.uint8)) == 0
    assert denoising.noise_deviation(np.zeros((3, 3, 3), np.uint8)) == 0


def test_it_can_be_cancelled() -> None:
    def cancel(_done: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        denoising.reduce(photo("coffee"), denoising.noise_tables(5), cancel)


@pytest.mark.parametrize("name", ["camera", "coffee", "chelsea", "rocket", "brick"])
@pytest.mark.parametrize("deviation", [6, 10])
def test_noise_that_all_channels_share_is_measured(name: str, deviation: int) -> None:
    """As in black and white photos and scans of film."""
    pixels = photo(name) if name not in ("camera", "brick") else grey_photo(name)
    noise = np.random.default_rng(3).normal(0, deviation, pixels.shape[:2])
    noisy = np.clip(pixels + noise[..., None], 0, 255).round().astype(np.uint8)
    assert denoising.noise_deviation(noisy) == pytest.approx(deviation, rel=0.1)


@pytest.mark.parametrize("name", ["grass", "gravel", "brick", "coins", "page", "camera"])
def test_grey_texture_and_text_are_not_taken_for_noise(name: str) -> None:
    assert denoising.noise_deviation(grey_photo(name)) < denoising.NOISY


def grey_photo(name: str) -> Pixels:
    return np.ascontiguousarray(np.dstack([getattr(skimage.data, name)()] * 3))


def _patterns() -> dict[str, Pixels]:
    y, x = np.mgrid[:256, :384]
    grey = {
        "cloth": 128 + 12 * np.sin(2 * np.pi * x / 3) * np.sin(2 * np.pi * y / 3),
        "hatching": 255 * ((x + y) % 3 > 0),
        "hard stripes": 30 + 200 * (np.sin(1.9 * x) + np.sin(1.3 * y + 0.4 * x) > 0),
        "dithering": 255 * np.array(Image.fromarray(photo("coffee")[:256, :384]).convert("1")),
    }
    weave = np.where(((7 * x + 13 * y) % 5 < 2)[..., None], (90, 20, 220), (240, 200, 120))
    pictures = {name: np.repeat(shades[..., None], 3, axis=2) for name, shades in grey.items()}
    return {name: pixels.astype(np.uint8) for name, pixels in (pictures | {"weave": weave}).items()}


@pytest.mark.parametrize("name", ["cloth", "hatching", "hard stripes", "dithering", "weave"])
def test_fine_patterns_are_not_noise(name: str) -> None:
    assert denoising.noise_deviation(_patterns()[name]) < denoising.NOISY
