"""Background removal: framing, regions, edges, shadows and uploaded backgrounds on real photos."""

import functools
from typing import Any

import cv2
import numpy as np
import pytest

from ml.backend import ToolAnswer, ToolCall
from ml.errors import BadParameter
from ml.imaging.framing import FAINT_ALPHA, object_box
from ml.imaging.geometry import Box
from ml.runtime import run_call
from ml.tools.bg_removal_params import BgRemovalParams
from tests.support.ml.cutouts import engines
from tests.support.ml.photos import jpeg_bytes, open_bytes, photo, png_bytes


def call(image: bytes, bg_image: bytes | None = None, **params: str) -> ToolAnswer:
    settings = BgRemovalParams.model_validate({"model": "fast", "format": "png", **params})
    files = {"image": image} if bg_image is None else {"image": image, "bg_image": bg_image}
    return run_call.perform(ToolCall("bg-removal", settings, files), engines(), lambda stage, fraction: None)


@functools.cache
def coffee(bg_image: bytes | None = None, **params: str) -> Any:
    return open_bytes(call(png_bytes(photo("coffee")), bg_image, **params).content)


def refused(bg_image: bytes | None = None, **params: str) -> BadParameter:
    with pytest.raises(BadParameter) as caught:
        call(png_bytes(photo("coffee")), bg_image, **params)
    return caught.value


def box_of(alpha: Any) -> Box:
    box = object_box(np.ascontiguousarray(alpha))
    assert box is not None
    return box


class TestFrame:
    def test_the_marketplace_preset_is_white_square_and_filled_to_85_percent(self) -> None:
        answer = coffee(preset="marketplace")
        assert answer.shape == (2000, 2000, 3)
        box = box_of(coffee(preset="marketplace", channels="alpha"))
        # Within one pixel of the photo, 4 here: the end of a soft edge is not sharper.
        assert max(box.width, box.height) == pytest.approx(1700, abs=6)
        assert box.left + box.right == pytest.approx(2000, abs=8)
        assert box.top + box.bottom == pytest.approx(2000, abs=8)
        outside = np.ones((2000, 2000), bool)
        outside[box.top : box.bottom, box.left : box.right] = False
        assert answer[outside].min() >= 255 - FAINT_ALPHA
        assert (answer[:100] == 255).all()

    def test_explicit_parameters_override_the_preset(self) -> None:
        answer = coffee(preset="marketplace", bg_color="red", output_size="300x200", position="0% 0%")
        assert answer.shape == (200, 300, 3)
        assert (answer[-1, -1] == (255, 0, 0)).all()
        assert coffee(preset="marketplace", bg_color="transparent", output_size="300x200").shape[2] == 4
        blue = png_bytes(np.full((30, 30, 3), (0, 0, 255), np.uint8))
        assert coffee(blue, preset="marketplace", output_size="300x200")[0, 0].tolist() == [0, 0, 255]

    def test_a_preset_round_trips(self) -> None:
        params = BgRemovalParams.model_validate({"preset": "marketplace", "scale": "original"})
        assert (params.output_size, params.scale, params.position) == ((2000, 2000), "original", (50, 50))
        assert BgRemovalParams.model_validate(params.model_dump()) == params
        assert BgRemovalParams.model_validate_json(params.model_dump_json()) == params

    def test_a_moved_object_keeps_its_pixels(self) -> None:
        plain = coffee()
        box = box_of(plain[..., 3])
        corner = coffee(position="0% 0%")
        assert corner.shape == plain.shape
        np.testing.assert_array_equal(
            corner[: box.height, : box.width], plain[box.top : box.bottom, box.left : box.right]
        )

    def test_a_scaled_crop_is_the_object_with_padding(self) -> None:
        tight, roomy = coffee(crop="true"), coffee(crop="true", scale="50%")
        height, width = tight.shape[:2]
        assert roomy.shape == (2 * height, 2 * width, 4)
        assert box_of(roomy[..., 3]).width == width

    def test_a_blurred_background_fills_the_output_size(self) -> None:
        answer = coffee(bg_blur="40", output_size="300x600")
        assert answer.shape == (600, 300, 3)
        middle = coffee(bg_blur="40")[:, 200:400]  # what covers 300 x 600
        expected = cv2.resize(middle, (300, 600), interpolation=cv2.INTER_CUBIC)
        assert np.abs(answer[:10].astype(int) - expected[:10]).mean() < 2


class TestUploadedBackground:
    def test_a_background_image_fills_the_output_behind_the_object(self) -> None:
        answer = coffee(png_bytes(photo("chelsea")))
        assert answer.shape == (400, 600, 3)
        alpha = coffee()[..., 3]
        np.testing.assert_array_equal(answer[alpha == 255], coffee()[alpha == 255][:, :3])
        cat = photo("chelsea")  # 451 x 300: covering 600 x 400 cuts off a pixel of its width
        expected = cv2.resize(cat, (600, 400), interpolation=cv2.INTER_CUBIC)
        assert np.abs(answer.astype(int) - expected)[alpha == 0].mean() < 2

    def test_a_translucent_background_image_yields_a_translucent_result(self) -> None:
        answer = coffee(png_bytes(np.full((40, 60, 4), (10, 20, 30, 128), np.uint8)))
        assert answer[0, 0].tolist() == [10, 20, 30, 128]
        assert (answer[coffee()[..., 3] == 255][:, 3] == 255).all()

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"no picture at all", "JPEG"),
            (jpeg_bytes(np.zeros((90, 90, 3), np.uint8))[:200], "damaged"),
            (png_bytes(np.zeros((90, 90, 3), np.uint8))[:-40], "cut short"),
        ],
    )
    def test_an_unreadable_background_image_is_named(self, content: bytes, message: str) -> None:
        error = refused(content)
        assert error.name == "bg_image"
        assert "bg_image" in error.message
        assert message in error.message

    @pytest.mark.parametrize("other", [{"bg_color": "red"}, {"bg_blur": "5"}, {"channels": "alpha"}])
    def test_several_backgrounds_are_refused(self, other: dict[str, str]) -> None:
        assert refused(png_bytes(photo("chelsea")), **other).name == "bg_image"


class TestRegion:
    def test_everything_outside_the_region_is_transparent_even_with_a_soft_grown_edge(self) -> None:
        for more in ({}, {"feather": "20"}, {"shift_edge": "15"}):
            alpha = coffee(roi="0 0 300 100%", **more)[..., 3]
            assert not alpha[:, 300:].any()
            assert (alpha[180:240, 200:280] == 255).all()

    def test_the_network_receives_only_the_region(self) -> None:
        pair = np.hstack([photo("coffee"), photo("chelsea")[:, :300].repeat(2, axis=0)[:400]])
        answer = call(png_bytes(pair), roi="0% 0% 600px 100%")
        np.testing.assert_array_equal(open_bytes(answer.content)[:, :600, 3], coffee()[..., 3])
        assert not open_bytes(answer.content)[:, 600:].any()

    def test_the_foreground_box_is_in_pixels_of_the_photo(self) -> None:
        answer = call(png_bytes(photo("coffee")), roi="100 20 100% 100%")
        box, alpha = answer.fields["foreground"], open_bytes(answer.content)[..., 3]
        seen = box_of(alpha)
        assert (box["left"], box["top"]) == (seen.left, seen.top)
        assert (box["width"], box["height"]) == (seen.width, seen.height)

    @pytest.mark.parametrize(
        "roi", ["0 0 601 400", "0 0 600 401", "50% 0 50% 100%", "9 0 2 5", "0 9 9 9", "5 5 6 50"]
    )
    def test_a_region_outside_the_photo_is_named(self, roi: str) -> None:
        assert refused(roi=roi).name == "roi"


class TestEdge:
    def test_the_edge_moves_in_and_out(self) -> None:
        areas = [int(coffee(channels="alpha", shift_edge=str(by)).sum()) for by in (-10, -0.5, 0, 0.5, 10)]
        assert areas == sorted(set(areas))
        box = box_of(coffee(channels="alpha"))
        grown = box_of(coffee(channels="alpha", shift_edge="10"))
        assert (box.left - grown.left, box.top - grown.top) == (10, 10)

    def test_pixels_revealed_by_growing_have_the_color_of_the_object(self) -> None:
        picture = np.full((400, 400, 3), (0, 170, 60), np.uint8)
        cv2.circle(picture, (200, 200), 110, (210, 40, 30), -1, cv2.LINE_AA)
        before = open_bytes(call(png_bytes(picture)).content)[..., 3]
        grown = open_bytes(call(png_bytes(picture), shift_edge="8").content)
        new = (before == 0) & (grown[..., 3] == 255)
        assert new.sum() > 3000
        assert np.abs(grown[new][:, :3].astype(int) - (210, 40, 30)).mean() < 12

    def test_an_edge_that_removes_the_object_is_named(self) -> None:
        small = cv2.resize(photo("coffee"), (60, 40), interpolation=cv2.INTER_AREA)
        with pytest.raises(BadParameter) as caught:
            call(png_bytes(small), shift_edge="-20", crop="true")
        assert caught.value.name == "shift_edge"


class TestShadow:
    def test_on_transparency_the_shadow_is_black_with_alpha_and_the_object_is_unchanged(self) -> None:
        plain, shaded = coffee(), coffee(shadow="drop", shadow_opacity="60")
        assert shaded.shape == plain.shape
        solid = plain[..., 3] == 255
        np.testing.assert_array_equal(shaded[solid], plain[solid])
        only_shadow = (plain[..., 3] == 0) & (shaded[..., 3] > 0)
        assert only_shadow.sum() > 5000
        assert not shaded[only_shadow][:, :3].any()
        assert shaded[only_shadow][:, 3].max() <= 153

    def test_colour_and_offset_of_the_shadow_are_the_caller_s(self) -> None:
        plain = coffee()
        shaded = coffee(shadow="drop", shadow_color="#c81e0a", shadow_x="-40", shadow_y="0", shadow_blur="2")
        only_shadow = (plain[..., 3] == 0) & (shaded[..., 3] > 100)
        assert np.abs(shaded[only_shadow][:, :3].astype(int) - (200, 30, 10)).max() <= 1
        object_columns = np.flatnonzero((plain[..., 3] > 127).any(axis=0))
        columns = np.flatnonzero(only_shadow.any(axis=0))
        assert columns.min() == pytest.approx(object_columns.min() - 40, abs=4)

    def test_a_contact_shadow_is_at_the_bottom(self) -> None:
        plain, shaded = coffee(), coffee(shadow="contact")
        rows = np.flatnonzero(((plain[..., 3] == 0) & (shaded[..., 3] > 20)).any(axis=1))
        object_rows = np.flatnonzero((plain[..., 3] > 127).any(axis=1))
        assert rows.size
        assert rows.min() > object_rows.min() + 0.7 * np.ptp(object_rows)

    def test_an_outline_is_around_the_object_and_within_a_crop(self) -> None:
        plain, outlined = coffee(), coffee(outline_width="6", outline_color="lime")
        added = (plain[..., 3] == 0) & (outlined[..., 3] == 255)
        assert added.sum() > 2000
        assert (outlined[added][:, :3] == (0, 255, 0)).all()
        cropped, tight = coffee(crop="true", outline_width="6"), coffee(crop="true")
        assert cropped.shape[1] > tight.shape[1]
        white = coffee(outline_width="6", bg_color="black")
        assert (white[added] == 255).all()

    def test_on_white_the_shadow_is_darker_below_and_right(self) -> None:
        white, shaded = coffee(bg_color="white"), coffee(bg_color="white", shadow="drop")
        box = box_of(coffee()[..., 3])
        darker = white.astype(int) - shaded
        assert darker.min() >= 0
        middle = (box.left + box.right) // 2
        assert darker[box.bottom : box.bottom + 6, middle].mean() > 20
        assert darker[box.top - 6 : box.top, middle].mean() < 10
        assert (shaded[:20, :20] == 255).all()

    def test_opacity_scales_the_shadow_and_zero_disables_it(self) -> None:
        full, half = (coffee(shadow="drop", shadow_opacity=str(one)) for one in (100, 50))
        outside = coffee()[..., 3] == 0
        assert np.abs(full[outside][:, 3] / 2 - half[outside][:, 3]).max() <= 1
        np.testing.assert_array_equal(coffee(shadow="drop", shadow_opacity="0"), coffee())

    def test_the_shadow_scales_with_the_object(self) -> None:
        """Enlarged three times, the shadow differs no more than the object, whose position is rounded."""
        differences = []
        for shadow in ("none", "drop"):
            small, large = (
                coffee(scale="60%", output_size=f"{side}x{side}", shadow=shadow, bg_color="white")
                for side in (300, 900)
            )
            reduced = cv2.resize(large, (300, 300), interpolation=cv2.INTER_AREA)
            differences.append(float(np.abs(reduced.astype(int) - small).mean()))
        without, with_shadow = differences
        assert with_shadow < without + 0.3
