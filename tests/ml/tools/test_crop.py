"""The crop tool: cropping, rotation, resizing and refusals."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from ml.errors import BadParameter, NothingFound, PictureTooLarge
from ml.pixels import Picture, Pixels
from ml.tool import ToolResult
from ml.tools import crop
from ml.tools.crop import CropParams
from tests.support.ml import photos

PHOTO = photos.photo("rocket")[:300, :480]  # 480 wide, 300 high
MATTE = np.tile(np.linspace(0, 255, 480).astype(np.uint8), (300, 1))
CUTOUT = np.dstack([PHOTO, MATTE])


class Calm:
    """A context for a tool that needs nothing but to report its steps."""

    files: Mapping[str, bytes] = {}
    engines: Any = None

    def step(self, stage: str, fraction: float) -> None:
        assert stage
        assert 0 <= fraction <= 1


def outcome(pixels: Pixels, **form: str) -> ToolResult:
    """Run the tool with parameters as a form sends them: as text."""
    return crop.run(Picture(pixels, "png"), CropParams.model_validate(form), Calm())


def cropped(pixels: Pixels, **form: str) -> Pixels:
    return outcome(pixels, **form).pixels


def refused_parameter(**form: str) -> str:
    """The parameter that validation names, without any picture."""
    with pytest.raises(ValidationError) as refusal:
        CropParams.model_validate(form)
    (error,) = refusal.value.errors()
    return str(error.get("ctx", {}).get("param") or error["loc"][0])


def mean_difference(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(np.int16) - other).mean())


class TestBox:
    @pytest.mark.parametrize("pixels", [PHOTO, CUTOUT], ids=["opaque", "transparent"])
    def test_a_box_in_pixels_is_cropped_exactly(self, pixels: Pixels) -> None:
        answer = outcome(pixels, x="30", y="20", width="100", height="60px")
        assert np.array_equal(answer.pixels, pixels[20:80, 30:130])
        assert answer.fields == {"bbox": [30, 20, 130, 80]}

    def test_percentages_refer_to_the_sides_of_the_image(self) -> None:
        answer = cropped(PHOTO, x="25%", y="10%", width="50%", height="80%")
        assert np.array_equal(answer, PHOTO[30:270, 120:360])

    def test_omitted_lengths_extend_to_the_edges(self) -> None:
        assert np.array_equal(cropped(PHOTO, x="100"), PHOTO[:, 100:])
        assert np.array_equal(cropped(PHOTO, height="50%"), PHOTO[:150])
        assert np.array_equal(cropped(PHOTO, y="290", width="7"), PHOTO[290:, :7])

    def test_without_parameters_the_result_is_the_whole_image(self) -> None:
        assert np.array_equal(cropped(CUTOUT), CUTOUT)

    def test_neighbouring_boxes_in_percent_share_their_edges(self) -> None:
        narrow = PHOTO[:, :101]
        parts = [
            cropped(narrow, x=f"{start}%", width=f"{width}%")
            for start, width in (("0", "33.3"), ("33.3", "33.3"), ("66.6", "33.4"))
        ]
        assert np.array_equal(np.hstack(parts), narrow)

    def test_the_last_pixel_can_be_cropped_alone(self) -> None:
        assert np.array_equal(cropped(PHOTO, x="479", y="299", width="1", height="1"), PHOTO[299:, 479:])

    @pytest.mark.parametrize(
        ("form", "name"),
        [
            ({"x": "480"}, "x"),
            ({"y": "300", "height": "5"}, "y"),
            ({"x": "100%"}, "x"),
            ({"width": "481"}, "width"),
            ({"x": "400", "width": "81"}, "width"),
            ({"x": "60%", "width": "50%"}, "width"),
            ({"y": "250", "height": "20%"}, "height"),
            ({"width": "0.01%"}, "width"),
        ],
    )
    def test_a_box_outside_the_image_names_the_parameter(self, form: dict[str, str], name: str) -> None:
        with pytest.raises(BadParameter) as refusal:
            cropped(PHOTO, **form)
        assert refusal.value.name == name

    @pytest.mark.parametrize(
        ("form", "name"),
        [
            ({"x": "-1"}, "x"),
            ({"y": "-5%"}, "y"),
            ({"width": "0"}, "width"),
            ({"height": "-20"}, "height"),
            ({"width": "101%"}, "width"),
            ({"x": "banana"}, "x"),
            ({"x": "1e9"}, "x"),
            ({"height": "10 %%"}, "height"),
            ({"width": ""}, "width"),
        ],
    )
    def test_an_impossible_box_is_refused_before_decoding(self, form: dict[str, str], name: str) -> None:
        assert refused_parameter(**form) == name


class TestShape:
    def test_an_aspect_ratio_crops_the_largest_centred_part(self) -> None:
        assert np.array_equal(cropped(PHOTO, aspect_ratio="1:1"), PHOTO[:, 90:390])
        assert np.array_equal(cropped(PHOTO, aspect_ratio="16:9"), PHOTO[15:285])
        assert np.array_equal(cropped(PHOTO, aspect_ratio="8:5"), PHOTO)
        assert cropped(PHOTO, aspect_ratio="1.91:1").shape == (251, 480, 3)

    @pytest.mark.parametrize(
        ("gravity", "left", "top"),
        [
            ("center", 90, 100),
            ("north", 90, 0),
            ("northeast", 180, 0),
            ("east", 180, 100),
            ("southeast", 180, 200),
            ("south", 90, 200),
            ("southwest", 0, 200),
            ("west", 0, 100),
            ("northwest", 0, 0),
        ],
    )
    def test_gravity_says_which_part_is_kept(self, gravity: str, left: int, top: int) -> None:
        tall_part = cropped(PHOTO, aspect_ratio="1:1", gravity=gravity)
        assert np.array_equal(tall_part, PHOTO[:, left : left + 300])
        portrait = np.ascontiguousarray(PHOTO.transpose(1, 0, 2))[:, :280]  # 280 wide, 480 high
        wide_part = cropped(portrait, aspect_ratio="1:1", gravity=gravity)
        assert np.array_equal(wide_part, portrait[top : top + 280])

    def test_an_aspect_ratio_too_narrow_for_the_image_names_the_parameter(self) -> None:
        with pytest.raises(BadParameter) as refusal:
            cropped(PHOTO, aspect_ratio="1:99999")
        assert refusal.value.name == "aspect_ratio"

    @pytest.mark.parametrize("value", ["16", "16:0", "0:9", "-4:3", "a:b", "16/9", "1:2:3", ":"])
    def test_an_invalid_aspect_ratio_is_refused(self, value: str) -> None:
        assert refused_parameter(aspect_ratio=value) == "aspect_ratio"

    def test_an_invalid_gravity_is_refused(self) -> None:
        assert refused_parameter(aspect_ratio="1:1", gravity="up") == "gravity"


class TestTrim:
    CONTENT = PHOTO[100:160, 100:200]

    def bordered(self, color: tuple[int, ...]) -> Pixels:
        canvas = np.empty((120, 170, len(color)), np.uint8)
        canvas[:] = color
        canvas[30:90, 40:140, :3] = self.CONTENT
        if len(color) == 4:
            canvas[30:90, 40:140, 3] = 255
        return canvas

    def content(self) -> Pixels:
        content = self.CONTENT.copy()
        # Every side of it differs from any border used here.
        content[0], content[-1], content[:, 0], content[:, -1] = 77, 77, 77, 77
        return content

    @pytest.mark.parametrize("color", [(255, 255, 255), (0, 0, 0), (12, 200, 240)])
    def test_a_uniform_border_is_trimmed(self, color: tuple[int, int, int]) -> None:
        canvas = self.bordered(color)
        canvas[30:90, 40:140] = self.content()
        answer = outcome(canvas, mode="trim")
        assert np.array_equal(answer.pixels, self.content())
        assert answer.fields == {"bbox": [40, 30, 140, 90]}

    def test_a_transparent_border_is_trimmed_whatever_its_hidden_colour(self) -> None:
        canvas = self.bordered((9, 9, 9, 0))
        canvas[::2, ::3, :3] = 250
        assert outcome(canvas, mode="trim").fields == {"bbox": [40, 30, 140, 90]}

    def test_transparent_corners_match_whatever_their_hidden_colour(self) -> None:
        canvas = np.zeros((60, 80, 4), np.uint8)
        canvas[0, 0], canvas[0, -1] = (200, 10, 10, 0), (10, 200, 10, 0)
        canvas[20:] = (255, 255, 255, 255)  # reaches both lower corners
        assert outcome(canvas, mode="trim").fields == {"bbox": [0, 20, 80, 60]}

    def test_tolerance_allows_an_uneven_border(self) -> None:
        canvas = self.bordered((240, 240, 240))
        canvas[30:90, 40:140] = self.content()
        canvas[5, 5] = (232, 240, 247)
        assert cropped(canvas, mode="trim", tolerance="8").shape == (60, 100, 3)
        assert cropped(canvas, mode="trim", tolerance="7").shape == (85, 135, 3)

    def test_jpeg_noise_in_a_white_border_is_tolerated(self) -> None:
        canvas = self.bordered((255, 255, 255))
        canvas[30:90, 40:140] = self.content()
        stored = photos.open_bytes(photos.jpeg_bytes(canvas, quality=80))
        assert outcome(stored, mode="trim", tolerance="30").fields == {"bbox": [40, 30, 140, 90]}

    def test_content_in_one_corner_does_not_hide_the_border(self) -> None:
        canvas = np.full((100, 150, 3), 255, np.uint8)
        canvas[:40, :50] = 30
        assert outcome(canvas, mode="trim").fields == {"bbox": [0, 0, 50, 40]}

    def test_trimming_a_uniform_image_is_an_error(self) -> None:
        for pixels in (np.full((20, 30, 3), 200, np.uint8), np.zeros((20, 30, 4), np.uint8)):
            with pytest.raises(NothingFound):
                cropped(pixels, mode="trim")

    def test_a_photo_without_border_is_not_trimmed(self) -> None:
        noisy = np.random.default_rng(3).integers(0, 256, (40, 50, 3)).astype(np.uint8)
        assert np.array_equal(cropped(noisy, mode="trim"), noisy)


class TestOneWayToCut:
    @pytest.mark.parametrize(
        ("form", "name"),
        [
            ({"aspect_ratio": "1:1", "x": "5"}, "aspect_ratio"),
            ({"aspect_ratio": "1:1", "height": "50%"}, "aspect_ratio"),
            ({"mode": "trim", "width": "50"}, "mode"),
            ({"mode": "trim", "aspect_ratio": "1:1"}, "mode"),
            ({"mode": "box"}, "mode"),
            ({"tolerance": "5"}, "tolerance"),
            ({"mode": "trim", "tolerance": "256"}, "tolerance"),
            ({"gravity": "north"}, "gravity"),
            ({"x": "5", "gravity": "north"}, "gravity"),
            ({"gravity": "subject"}, "gravity"),
            ({"resize": "20x20", "fit": "cover", "gravity": "subject"}, "gravity"),
            ({"resize": "20x20", "gravity": "north"}, "gravity"),
            ({"fit": "cover"}, "fit"),
            ({"pad_color": "red"}, "pad_color"),
            ({"resize": "20x20", "pad_color": "red"}, "pad_color"),
            ({"resize": "20x20", "fit": "pad", "pad_color": "blurple"}, "pad_color"),
            ({"resize": "20x20", "fit": "fill"}, "fit"),
            ({"resize": "20"}, "resize"),
            ({"resize": "0x20"}, "resize"),
            ({"resize": "-5x20"}, "resize"),
            ({"resize": "20x100000"}, "resize"),
            ({"x": "0.25", "y": "0.1", "width": "0.5", "height": "0.5"}, "x"),
            ({"height": "0.4"}, "height"),
            ({"x": "0", "y": "0", "width": "1", "height": "1"}, "width"),
            ({"rotate": "181"}, "rotate"),
            ({"rotate": "nan"}, "rotate"),
            ({"rotate": "left"}, "rotate"),
            ({"flip": "x"}, "flip"),
            ({"colour": "red"}, "colour"),
        ],
    )
    def test_conflicting_or_ineffective_parameters_are_named(self, form: dict[str, str], name: str) -> None:
        assert refused_parameter(**form) == name

    def test_explicit_defaults_are_accepted(self) -> None:
        form = {"gravity": "center", "tolerance": "10", "fit": "contain", "rotate": "0", "x": "3"}
        assert np.array_equal(cropped(PHOTO, **form), PHOTO[:, 3:])


class TestTurning:
    @pytest.mark.parametrize("pixels", [PHOTO, CUTOUT], ids=["opaque", "transparent"])
    @pytest.mark.parametrize(
        ("degrees", "counterclockwise_quarters"),
        [("0", 0), ("90", 3), ("-90", 1), ("180", 2), ("-180", 2), ("90.0", 3)],
    )
    def test_quarter_turns_are_exact(
        self, pixels: Pixels, degrees: str, counterclockwise_quarters: int
    ) -> None:
        assert np.array_equal(cropped(pixels, rotate=degrees), np.rot90(pixels, counterclockwise_quarters))

    @pytest.mark.parametrize("degrees", [-170.0, -120.0, -45.0, -1.0, 0.3, 30.0, 45.0, 89.9, 135.0, 179.0])
    def test_other_angles_keep_the_whole_image_on_the_smallest_canvas(self, degrees: float) -> None:
        answer = cropped(PHOTO, rotate=str(degrees))
        sine, cosine = abs(math.sin(math.radians(degrees))), abs(math.cos(math.radians(degrees)))
        assert answer.shape == (math.ceil(480 * sine + 300 * cosine), math.ceil(480 * cosine + 300 * sine), 4)
        # Coverage: as much alpha as the picture has pixels, apart from its softened edge.
        assert abs(answer[..., 3].sum() / 255 - 480 * 300) < 2 * (480 + 300)
        assert answer[0, 0, 3] < 255

    def test_positive_angles_rotate_clockwise(self) -> None:
        answer = cropped(PHOTO, rotate="45")
        # The picture's top right corner comes to lie at the right, its top left one at the top.
        top_row_center = np.flatnonzero(answer[2, :, 3]).mean()
        assert abs(top_row_center - 300 * math.sin(math.radians(45))) < 5

    def test_the_interior_is_the_rotated_image(self) -> None:
        smooth = np.dstack([np.add.outer(np.arange(200), np.arange(200)) // 2 + 20] * 3).astype(np.uint8)
        answer = cropped(smooth, rotate="30")
        back = cropped(answer, rotate="-30")
        top, left = (back.shape[0] - 200) // 2, (back.shape[1] - 200) // 2
        inner = back[top + 20 : top + 180, left + 20 : left + 180]
        assert np.all(inner[..., 3] == 255)
        assert np.abs(inner[..., :3].astype(int) - smooth[20:180, 20:180]).max() <= 3

    def test_rotated_edges_are_soft_and_keep_the_colour_of_the_image(self) -> None:
        red = np.full((100, 100, 3), (250, 10, 20), np.uint8)
        answer = cropped(red, rotate="20")
        soft = (answer[..., 3] > 20) & (answer[..., 3] < 235)
        assert soft.sum() > 100
        assert np.abs(answer[soft][:, :3].astype(int) - (250, 10, 20)).max() <= 12

    def test_hidden_colour_under_transparency_does_not_bleed(self) -> None:
        half = np.zeros((100, 100, 4), np.uint8)
        half[:, :50] = (0, 0, 255, 255)
        half[:, 50:] = (255, 255, 0, 0)  # invisible yellow
        for answer in (
            cropped(half, rotate="17"),
            cropped(half, resize="33x33"),
            cropped(half, resize="170x170"),
        ):
            visible = answer[answer[..., 3] > 16]
            assert visible[:, 2].min() > 235
            assert visible[:, :2].max() < 20

    def test_white_stays_white_at_hard_edges(self) -> None:
        bars = np.where(np.arange(120)[None, :, None] // 10 % 2, 255, 0).repeat(120, axis=0).repeat(3, axis=2)
        answer = cropped(bars.astype(np.uint8), rotate="33")
        opaque = answer[answer[..., 3] == 255][:, :3]
        assert (opaque.max(axis=1) - opaque.min(axis=1)).max() <= 1  # neither wraps round nor gets a tint

    def test_flips_are_exact(self) -> None:
        assert np.array_equal(cropped(CUTOUT, flip="h"), CUTOUT[:, ::-1])
        assert np.array_equal(cropped(CUTOUT, flip="v"), CUTOUT[::-1])

    def test_a_rotation_that_needs_too_large_a_canvas_is_refused(self) -> None:
        wide = np.broadcast_to(np.uint8(0), (2_000, 20_000, 3))
        with pytest.raises(PictureTooLarge):
            cropped(wide, rotate="45")


class TestResizing:
    def test_contain_fits_inside_and_keeps_the_aspect_ratio(self) -> None:
        assert cropped(PHOTO, resize="240x240").shape == (150, 240, 3)
        assert cropped(PHOTO, resize="960x600").shape == (600, 960, 3)  # also larger
        assert cropped(PHOTO, resize="480x1").shape == (1, 2, 3)

    def test_cover_fills_and_crops_by_gravity(self) -> None:
        for gravity, part in (
            ("center", PHOTO[:, 90:390]),
            ("west", PHOTO[:, :300]),
            ("east", PHOTO[:, 180:]),
        ):
            answer = cropped(PHOTO, resize="150x150", fit="cover", gravity=gravity)
            assert answer.shape == (150, 150, 3)
            assert mean_difference(answer, cropped(np.ascontiguousarray(part), resize="150x150")) < 0.5

    def test_pad_fits_inside_and_fills_the_rest(self) -> None:
        inner = cropped(PHOTO, resize="240x240")
        for gravity, top in (("center", 45), ("north", 0), ("southwest", 90)):
            answer = cropped(PHOTO, resize="240x240", fit="pad", gravity=gravity)
            assert answer.shape == (240, 240, 3)
            assert np.array_equal(answer[top : top + 150], inner)
            rest = np.delete(answer, np.s_[top : top + 150], axis=0)
            assert np.all(rest == 255)

    def test_pad_color_sets_the_fill(self) -> None:
        answer = cropped(PHOTO, resize="240x240", fit="pad", pad_color="#102030")
        assert answer[0, 0].tolist() == [16, 32, 48]
        see_through = cropped(PHOTO, resize="240x240", fit="pad", pad_color="#10203080")
        assert see_through[0, 0].tolist() == [16, 32, 48, 128]
        assert np.all(see_through[50:180, :, 3] == 255)

    def test_a_cutout_is_padded_with_transparency(self) -> None:
        assert cropped(CUTOUT, resize="240x240", fit="pad")[0].max() == 0
        assert cropped(CUTOUT, resize="240x240", fit="pad", pad_color="red")[0, 0].tolist() == [
            255,
            0,
            0,
            255,
        ]

    @pytest.mark.parametrize("size", ["1200x1200", "333x700", "90x90", "900x900"])
    def test_the_edge_of_a_cutout_keeps_its_colour_without_a_second_edge(self, size: str) -> None:
        square = np.zeros((300, 300, 4), np.uint8)
        square[100:200, 100:200] = (10, 200, 30, 255)
        square[..., :3][square[..., 3] == 0] = (255, 0, 255)
        answer = cropped(square, resize=size, fit="pad")
        colored = answer[answer[..., 3] > 30]
        assert np.abs(colored[:, :3].astype(int) - (10, 200, 30)).max() <= 1
        if size == "1200x1200":
            assert not answer[:392, :, 3].any()  # two pixels of the source away
            assert (answer[408:792, 408:792] == (10, 200, 30, 255)).all()

    @pytest.mark.parametrize("fit", ["contain", "cover", "pad"])
    def test_resizing_to_the_same_size_changes_nothing(self, fit: str) -> None:
        assert np.array_equal(cropped(PHOTO, resize="480x300", fit=fit), PHOTO)

    def test_shrinking_averages_instead_of_dropping_pixels(self) -> None:
        checkers = (np.indices((200, 200)).sum(axis=0) % 2 * 255).astype(np.uint8)
        answer = cropped(np.dstack([checkers] * 3), resize="50x50")
        assert np.abs(answer.astype(int) - 127).max() <= 2

    def test_shrinking_a_photo_is_close_to_the_mean_of_its_blocks(self) -> None:
        blocks = PHOTO.reshape(75, 4, 120, 4, 3).mean(axis=(1, 3))
        assert np.abs(cropped(PHOTO, resize="120x75") - blocks).mean() < 3

    def test_a_vanishing_side_is_rounded_up_to_one_pixel(self) -> None:
        assert cropped(PHOTO[:2], resize="10x10").shape == (1, 10, 3)


class TestOrder:
    def test_cut_then_rotate_then_flip_then_resize(self) -> None:
        answer = cropped(
            PHOTO, x="10", y="20", width="200", height="100", rotate="90", flip="h", resize="100x200"
        )
        assert np.array_equal(answer, np.rot90(PHOTO[20:120, 10:210], -1)[:, ::-1])

    def test_resize_applies_after_a_quarter_turn(self) -> None:
        assert cropped(PHOTO, rotate="-90", resize="60x96").shape == (96, 60, 3)

    def test_trim_applies_to_the_source_before_rotation(self) -> None:
        canvas = np.full((100, 100, 3), 255, np.uint8)
        canvas[40:60, 40:60] = 0
        answer = outcome(canvas, mode="trim", rotate="45")
        assert answer.fields == {"bbox": [40, 40, 60, 60]}
        assert answer.pixels.shape == (29, 29, 4)


def test_parameters_round_trip() -> None:
    form = {"aspect_ratio": "1.91:1", "resize": "80x60", "fit": "pad", "pad_color": "red", "rotate": "-3.5"}
    params = CropParams.model_validate(form)
    assert CropParams.model_validate(params.model_dump()) == params
    assert CropParams.model_validate_json(params.model_dump_json()) == params
    with pytest.raises(ValidationError):
        CropParams.model_validate({"resize": [0, -5]})


def test_the_parameters_describe_themselves() -> None:
    fields = CropParams.model_json_schema()["properties"]
    assert set(fields) == {
        *("x", "y", "width", "height", "aspect_ratio", "gravity", "mode", "tolerance"),
        *("rotate", "flip", "resize", "fit", "pad_color", "format", "quality", "dpi", "keep_metadata"),
    }
    assert all(field["description"] for field in fields.values())
    assert "subject" in str(fields["gravity"])


def test_a_large_cutout_is_resized_in_strips_without_seams() -> None:
    tall = np.dstack([np.tile(photos.photo("coffee"), (4, 1, 1)), np.full((1600, 600), 255, np.uint8)])
    tall[0, 0, 3] = 254
    for size in ("300x800", "60x160", "1200x3200"):
        answer = cropped(tall, resize=size)
        opaque = cropped(tall[..., :3], resize=size)
        assert np.abs(answer[..., :3].astype(int) - opaque).mean() < 1
        rows = np.abs(answer[..., :3].astype(int) - opaque).mean(axis=(1, 2))
        assert rows.max() < 6  # a seam would be one row unlike the others
