"""Text, line art and screenshots, enlarged: as legible as with Lanczos, in the colour of their ink."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from skimage.metrics import peak_signal_noise_ratio

from ml.pixels import Pixels
from tests.support.ml.enlarging import by_lanczos, enlarge


def _text(ink: int | tuple[int, int, int], paper: int | tuple[int, int, int], pixels: int) -> Pixels:
    """A page of text at twice the size of the source made from it."""
    page = Image.new("RGB", (384, 256), (paper,) * 3 if isinstance(paper, int) else paper)
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(2 * pixels)
    colour = (ink,) * 3 if isinstance(ink, int) else ink
    for row in range(256 // (3 * pixels) + 1):
        draw.text((4, 3 * pixels * row), "Sphinx of black quartz, judge my vow 0123", fill=colour, font=font)
    return np.asarray(page)


@pytest.mark.parametrize(
    ("ink", "paper", "pixels"),
    [(0, 255, 20), (255, 0, 20), (0, 255, 12), ((200, 0, 0), (255, 255, 220), 16), (30, 225, 9)],
)
def test_text_is_more_legible_than_with_lanczos_and_free_of_coloured_noise(
    ink: int | tuple[int, int, int], paper: int | tuple[int, int, int], pixels: int
) -> None:
    original = _text(ink, paper, pixels)
    small = cv2.resize(original, (192, 128), interpolation=cv2.INTER_AREA)
    ours = enlarge(small, scale=2).pixels
    lanczos = by_lanczos(small, 2)
    assert peak_signal_noise_ratio(original, ours) > peak_signal_noise_ratio(original, lanczos)
    if isinstance(ink, int):
        assert np.ptp(ours, axis=2).max() == 0, "grey stays grey"
        is_paper = cv2.erode((original == paper).all(axis=2).astype(np.uint8), np.ones((17, 17))) > 0
        assert (ours[is_paper] == paper).all(), "flat stays flat"


def _page(ink: int, pixels: int) -> Pixels:
    """Text drawn at its size, on white."""
    page = Image.new("RGB", (128, 80), (255, 255, 255))
    font = ImageFont.load_default(pixels)
    for row in range(80 // (2 * pixels) + 1):
        draw = ImageDraw.Draw(page)
        draw.text((4, 3 * pixels * row // 2), "Sphinx of black quartz, judge", fill=(ink,) * 3, font=font)
    return np.asarray(page)


@pytest.mark.parametrize(("pixels", "scale"), [(9, 2), (14, 2), (16, 2), (12, 4)])
def test_grey_text_keeps_its_ink_and_does_not_become_darker(pixels: int, scale: int) -> None:
    source = _page(110, pixels)
    result = enlarge(source, scale=scale).pixels
    assert 255 - result.mean() == pytest.approx(255 - source.mean(), rel=0.06)
    assert result.min() >= source.min() - 1


@pytest.mark.parametrize("pixels", [9, 14, 16, 20])
def test_grey_text_is_much_closer_to_its_original_than_with_lanczos(pixels: int) -> None:
    original = _text(110, 255, pixels)
    small = cv2.resize(original, (192, 128), interpolation=cv2.INTER_AREA)
    ours = enlarge(small, scale=2).pixels
    gain = peak_signal_noise_ratio(original, ours) - peak_signal_noise_ratio(original, by_lanczos(small, 2))
    assert gain > 1.5


@pytest.mark.parametrize("pixels", [10, 20])
def test_no_dots_appear_beside_hard_edged_text(pixels: int) -> None:
    source = _page(0, pixels)
    result = enlarge(source, scale=2).pixels
    is_paper = np.repeat(np.repeat(source[:, :, 0] == 255, 2, axis=0), 2, axis=1)
    assert result[is_paper].min() > 127


def _screenshot() -> Pixels:
    """A grey frame with black text just inside, and a green button with white text."""
    image = Image.new("RGB", (192, 128), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((10, 10, 180, 60), outline=(150, 150, 150))
    draw.text((18, 16), "The quick brown fox jumps", fill="black", font=ImageFont.load_default(10))
    draw.rectangle((20, 74, 100, 96), fill=(20, 140, 70))
    draw.text((30, 78), "Buy now", fill="white", font=ImageFont.load_default(13))
    return np.asarray(image)


def test_a_screenshot_s_button_has_no_dots() -> None:
    source = _screenshot()
    result = enlarge(source, scale=4).pixels.astype(int)
    is_green = (source == (20, 140, 70)).all(axis=2).astype(np.uint8)
    far_from_text = cv2.erode(is_green, np.ones((5, 5), np.uint8)).repeat(4, axis=0).repeat(4, axis=1) > 0
    assert np.abs(result[far_from_text] - (20, 140, 70)).max() <= 12


def test_a_grey_line_beside_black_text_stays_grey_and_even() -> None:
    result = enlarge(_screenshot(), scale=4).pixels.astype(int)
    darkest = result[36:52, 60:700].min(axis=(0, 2))  # of each column, across the frame's upper line
    assert darkest.min() >= 140
    assert np.ptp(darkest) <= 15


@pytest.mark.parametrize("scale", [2, 4])
def test_letters_on_transparency_keep_their_opacity(scale: int) -> None:
    page = Image.new("L", (4 * 112, 4 * 48), 0)
    font = ImageFont.load_default(4 * 14)
    for row, line in enumerate(("Sale 50% off", "Quick fox @ 12")):
        ImageDraw.Draw(page).text((16, 80 * row), line, fill=255, font=font)
    small, original = (
        np.asarray(page.resize((112 * by, 48 * by), Image.Resampling.BOX)) for by in (1, scale)
    )
    red = np.full((48, 112, 3), (200, 30, 30), np.uint8)
    alpha = enlarge(np.dstack([red, small]), scale=scale).pixels[..., 3]
    assert alpha.mean() == pytest.approx(small.mean(), rel=0.08)
    gain = peak_signal_noise_ratio(original, alpha) - peak_signal_noise_ratio(
        original, by_lanczos(small, scale)
    )
    assert gain > 2
