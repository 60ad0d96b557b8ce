"""Masks: files of any size and kind, growing, feathering, cleaning."""

import cv2
import numpy as np
import pytest

from ml.errors import BadParameter, EmptyMask
from ml.imaging import masks
from ml.imaging.mask_modes import MaskMode
from ml.pixels import Mask, Picture, Pixels
from tests.support.ml import photos


def dot(width: int = 41, height: int = 31, x: int = 20, y: int = 15) -> Mask:
    mask = np.zeros((height, width), np.uint8)
    mask[y, x] = 255
    return mask


def picture(width: int, height: int) -> Picture:
    """A photo of this size."""
    return Picture(cv2.resize(photos.photo("coffee"), (width, height), interpolation=cv2.INTER_AREA), "png")


def from_file(mask: Pixels | Mask, width: int, height: int, mode: MaskMode = "auto") -> Mask:
    return masks.from_file(photos.png_bytes(mask), picture(width, height), mode)


class TestFiles:
    def test_grey_values_are_used_as_mask_strengths(self) -> None:
        ramp = np.tile(np.arange(8, 208, dtype=np.uint8), (50, 1))
        assert np.array_equal(from_file(ramp, 200, 50), ramp)

    def test_noise_in_black_and_white_is_removed(self) -> None:
        true = np.zeros((90, 120), np.uint8)
        true[20:60, 30:80] = 255
        noise = np.random.default_rng(5).integers(0, 8, true.shape).astype(np.uint8)
        assert np.array_equal(from_file(np.where(true > 0, true - noise, noise), 120, 90), true)

    def test_transparency_weakens_white(self) -> None:
        pixels = np.full((20, 30, 4), 255, np.uint8)
        pixels[..., 3] = 0
        pixels[5:10, 5:10, 3] = 100
        mask = from_file(pixels, 30, 20)
        assert mask[7, 7] == 100
        assert mask[0, 0] == 0

    @pytest.mark.parametrize("factor", [2, 4])
    def test_a_smaller_mask_of_the_same_shape_is_enlarged(self, factor: int) -> None:
        small = np.zeros((40, 60), np.uint8)
        small[10:20, 30:50] = 255
        mask = from_file(small, 60 * factor, 40 * factor)
        assert mask[15 * factor, 40 * factor] == 255
        assert mask[30 * factor, 10 * factor] == 0
        assert abs(float(mask.mean()) - float(small.mean())) < 2

    def test_a_rounded_size_still_matches(self) -> None:
        assert from_file(dot(100, 67), 1000, 667).shape == (667, 1000)

    @pytest.mark.parametrize(("width", "height"), [(60, 61), (61, 30), (40, 60), (1, 1)])
    def test_a_different_aspect_ratio_is_refused_by_name(self, width: int, height: int) -> None:
        with pytest.raises(BadParameter) as refused:
            from_file(np.full((height, width), 255, np.uint8), 600, 400)
        assert refused.value.name == "mask"

    def test_a_file_that_is_not_an_image_is_refused_by_name(self) -> None:
        for content in (b"", b"no picture", photos.png_bytes(dot())[:60]):
            with pytest.raises(BadParameter) as refused:
                masks.from_file(content, picture(41, 31))
            assert refused.value.name == "mask"

    def test_an_empty_mask_is_refused(self) -> None:
        with pytest.raises(EmptyMask):
            from_file(np.zeros((31, 41), np.uint8), 41, 31)

    def test_a_full_mask_is_refused_by_name(self) -> None:
        with pytest.raises(BadParameter) as refused:
            from_file(np.full((31, 41), 255, np.uint8), 41, 31)
        assert refused.value.name == "mask"


def rounded_card() -> Pixels:
    """A white disc on black, in a card with rounded, transparent corners, 400 x 300."""
    rows, columns = np.mgrid[:300, :400]
    card = np.zeros((300, 400, 4), np.uint8)
    card[np.hypot(rows - 150, columns - 200) < 60, :3] = 255
    across, down = np.maximum(abs(columns - 199.5) - 160, 0), np.maximum(abs(rows - 149.5) - 110, 0)
    card[..., 3] = np.where(np.hypot(across, down) < 40, 255, 0)
    return card


def with_hole(source: Picture) -> Pixels:
    """The picture itself, transparent in its middle."""
    pixels = np.dstack([source.rgb, np.full(source.rgb.shape[:2], 255, np.uint8)])
    pixels[source.height // 3 : source.height // 2, source.width // 3 : source.width // 2, 3] = 0
    return pixels


class TestModes:
    def test_varying_colours_with_transparent_corners_are_luminance_times_alpha(self) -> None:
        mask = from_file(rounded_card(), 400, 300)
        assert mask[150, 200] == 255
        assert mask[150, 60] == 0
        assert mask[0, 0] == 0
        assert (mask > 0).mean() == pytest.approx(np.pi * 60**2 / (400 * 300), rel=0.02)

    def test_half_transparent_white_beside_black_counts_half(self) -> None:
        card = rounded_card()
        card[150, 200, 3] = 128
        assert from_file(card, 400, 300)[150, 200] == 128

    @pytest.mark.parametrize("colour", [0, 255])
    def test_a_uniform_colour_is_read_by_its_alpha(self, colour: int) -> None:
        pixels = np.full((20, 30, 4), colour, np.uint8)
        pixels[..., 3] = 0
        pixels[5:10, 5:10, 3] = 200
        pixels[0, 0] = (90, 200, 10, 3)  # as good as invisible: its colour says nothing
        assert from_file(pixels, 30, 20)[7, 7] == 200

    def test_each_mode_reads_the_channel_it_names(self) -> None:
        card = rounded_card()
        assert from_file(card, 400, 300, "luminance")[150, 200] == 255
        assert from_file(card, 400, 300, "luminance")[150, 60] == 0
        assert from_file(card, 400, 300, "alpha")[150, 60] == 255
        assert from_file(card, 400, 300, "inverted_alpha")[0, 0] == 255
        assert from_file(card, 400, 300, "inverted_alpha")[150, 200] == 0

    @pytest.mark.parametrize("scale", [1, 2])
    def test_the_image_itself_with_a_hole_is_ambiguous_without_a_mode(self, scale: int) -> None:
        source = picture(200, 140)
        edited = cv2.resize(with_hole(source), None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
        with pytest.raises(BadParameter, match="mask_mode=inverted_alpha") as refused:
            masks.from_file(photos.png_bytes(edited), source)
        assert refused.value.name == "mask"
        hole = masks.from_file(photos.png_bytes(edited), source, "inverted_alpha")
        assert hole[60, 80] == 255
        assert (hole > 0).mean() < 0.05
        rest = masks.from_file(photos.png_bytes(edited), source, "alpha")
        assert rest[60, 80] == 0
        assert rest[5, 5] == 255

    def test_an_image_that_only_resembles_the_source_is_a_mask(self) -> None:
        source = picture(200, 140)
        other = Picture(np.ascontiguousarray(255 - source.pixels), "png")
        assert masks.from_file(photos.png_bytes(with_hole(other)), source).any()

    @pytest.mark.parametrize("mode", ["alpha", "inverted_alpha"])
    def test_alpha_mode_without_alpha_is_refused_by_name(self, mode: MaskMode) -> None:
        with pytest.raises(BadParameter) as refused:
            from_file(dot(), 41, 31, mode)
        assert refused.value.name == "mask_mode"

    @pytest.mark.parametrize("strongest", [1, 7])
    def test_a_mask_of_0_and_1_is_refused_with_the_reason(self, strongest: int) -> None:
        with pytest.raises(BadParameter, match=f"largest value of mask is {strongest}") as refused:
            from_file(dot() // 255 * np.uint8(strongest), 41, 31)
        assert refused.value.name == "mask"
        assert from_file(dot() // 255 * np.uint8(8), 41, 31).max() == 8


class TestShaping:
    def test_a_grown_dot_is_a_disc(self) -> None:
        rows, columns = np.ogrid[:31, :41]
        disc = (rows - 15) ** 2 + (columns - 20) ** 2 <= 7**2
        assert np.array_equal(masks.grow_and_feather(dot(), 7, 0) == 255, disc)

    def test_feather_reaches_zero_at_exactly_its_width(self) -> None:
        mask = masks.grow_and_feather(dot(), 2, 4)
        assert mask[15, 20:29].tolist() == [255, 255, 255, 191, 128, 64, 0, 0, 0]
        rows, columns = np.ogrid[:31, :41]
        far = np.hypot(rows - 15, columns - 20) > 6
        assert mask[far].max() == 0

    def test_growing_preserves_weak_strengths(self) -> None:
        mask = dot()
        mask[15, 20] = 90
        grown = masks.grow_and_feather(mask, 3, 2)
        assert grown.max() == 90
        assert grown[15, 23] == 90

    def test_zero_grow_and_feather_change_nothing(self) -> None:
        noise = np.random.default_rng(1).integers(0, 256, (30, 40), dtype=np.uint8)
        assert np.array_equal(masks.grow_and_feather(noise, 0, 0), noise)

    def test_inverting_twice_restores_the_mask(self) -> None:
        assert np.array_equal(masks.invert(masks.invert(dot())), dot())
        assert masks.invert(dot())[15, 20] == 0
