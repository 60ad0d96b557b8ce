"""Strokes: parsing, limits, and exactly which pixels they paint."""

import json
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from ml import params
from ml.errors import BadParameter
from ml.imaging import masks, strokes
from ml.imaging.strokes import Stroke, StrokesField
from ml.pixels import Mask


class Form(BaseModel):
    strokes: StrokesField


def read(text: str) -> tuple[Stroke, ...]:
    return strokes.parse(Form.model_validate({"strokes": text}).strokes)


def refusal(text: str) -> str:
    with pytest.raises(ValidationError) as refused:
        read(text)
    (error,) = refused.value.errors()
    assert error["loc"][0] == "strokes"
    return str(error["msg"])


def refusal_of_worker(text: str) -> str:
    """What is refused only where the strokes are drawn, because the text is long."""
    Form.model_validate({"strokes": text})
    with pytest.raises(BadParameter) as refused:
        masks.from_strokes(text, 400, 300)
    assert refused.value.name == "strokes"
    return refused.value.message


def drawn(*lines: Stroke, width: int = 20, height: int = 10) -> Mask:
    return strokes.draw(lines, width, height)


class TestReading:
    def test_a_stroke_is_parsed_with_its_defaults(self) -> None:
        assert read('[{"points":[[1,2],[3.5,4]]}]') == (Stroke(((1, 2), (3.5, 4)), 24, 0.8, 1),)

    def test_every_field_of_a_stroke_is_parsed(self) -> None:
        (stroke,) = read('[{"points":[[1,2]],"size":5,"hardness":0,"opacity":0.5}]')
        assert stroke == Stroke(((1, 2),), 5, 0, 0.5)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[]",
            "{}",
            "nonsense",
            "null",
            "[" * 100_000,
            '[{"points":[]}]',
            '[{"points":[[1]]}]',
            '[{"points":[[1,2,3]]}]',
            '[{"points":[["1",2]]}]',
            '[{"points":[[true,2]]}]',
            '[{"points":[[NaN,2]]}]',
            '[{"points":[[Infinity,2]]}]',
            '[{"points":[[1e999,2]]}]',
            '[{"points":[[1' + "0" * 400 + ",2]]}]",
            '[{"points":[[1e7,2]]}]',
            '[{"points":[[1,2]],"size":0}]',
            '[{"points":[[1,2]],"size":-3}]',
            '[{"points":[[1,2]],"size":1e9}]',
            '[{"points":[[1,2]],"hardness":1.1}]',
            '[{"points":[[1,2]],"opacity":null}]',
            '[{"points":[[1,2]],"colour":"red"}]',
            "[[[1,2]]]",
        ],
    )
    def test_invalid_strokes_are_refused_by_name(self, text: str) -> None:
        assert refusal(text)

    def test_relative_coordinates_are_refused(self) -> None:
        shares = '[{"points":[[0.2,0.3],[0.5,0.9]]},{"points":[[1,1]]}]'
        assert "pixels" in refusal(shares)
        assert len(read(shares.replace("[1,1]", "[1,2]"))) == 2
        assert len(read('[{"points":[[0,0]]}]')) == 1, "the top left corner either way"

    def test_ten_thousand_strokes_are_too_many(self) -> None:
        assert "1000" in refusal(json.dumps([{"points": [[1, 2]]}] * 10_000))

    def test_a_hundred_thousand_points_are_allowed_and_one_more_is_not(self) -> None:
        most: list[Any] = [{"points": [[1, 2]] * 99_999}, {"points": [[3, 4]]}]
        assert sum(len(stroke.points) for stroke in read(json.dumps(most))) == 100_000
        most[1]["points"].append([5, 6])
        assert "100000" in refusal(json.dumps(most))

    def test_long_text_is_bounded_before_it_is_parsed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The validator runs on a server's event loop, so its work must not grow with the text."""

        def parse(text: str) -> Any:
            raise AssertionError(f"{len(text)} characters were parsed by the validator")

        monkeypatch.setattr(params, "read_json", parse)
        many_points = json.dumps([{"points": [[1, 2]] * 100}] * 1_000)
        assert Form.model_validate({"strokes": many_points}).strokes == many_points
        for refused in (
            json.dumps([{"points": [[1, 2]]}] * 1_001 + [{"points": [[1, 2]] * 1_000}]),
            json.dumps([{"points": [[1, 2]] * 100_001}]),
            "[" * 1_000_000,
            "[" + "[]," * 1_000_000 + "[]]",
            "x" * (strokes.MAX_TEXT_CHARACTERS + 1),
        ):
            assert refusal(refused)

    @pytest.mark.parametrize(
        "end", ["", "}]", '{"points":[[1]]}]', '{"points":[[1,2]],"colour":"red"}]', '{"points":[[1e7,2]]}]']
    )
    def test_long_invalid_text_is_refused_when_it_is_drawn(self, end: str) -> None:
        long = json.dumps([{"points": [[1, 2]] * 5_000}])[:-1]
        assert refusal_of_worker(f"{long},{end}")


class TestDrawing:
    def test_a_hard_horizontal_line_covers_exactly_its_rows(self) -> None:
        mask = drawn(Stroke(((5.5, 5), (14.5, 5)), size=4, hardness=1))
        expected = np.zeros((10, 20), np.uint8)
        expected[3:7, 5:15] = 255
        # Its round ends: half the brush's size beyond the ends, seen from the middles of pixels.
        assert np.array_equal(mask[:, 5:15], expected[:, 5:15])
        assert mask[:, :3].max() == 0
        assert mask[:, 17:].max() == 0
        assert np.array_equal(mask, mask[::-1])
        assert np.array_equal(mask, mask[:, ::-1])

    def test_a_dot_of_one_pixel_is_that_pixel(self) -> None:
        mask = drawn(Stroke(((7.5, 4.5),), size=1, hardness=1))
        expected = np.zeros((10, 20), np.uint8)
        expected[4, 7] = 255
        assert np.array_equal(mask, expected)

    def test_an_edge_between_pixels_is_antialiased(self) -> None:
        """A line from row 3.25 to 6.75 covers three quarters of the rows 3 and 6."""
        mask = drawn(Stroke(((0, 5), (20, 5)), size=3.5, hardness=1))
        assert mask[:, 10].tolist() == [0, 0, 0, 191, 255, 255, 191, 0, 0, 0]

    def test_a_soft_brush_falls_off_linearly_from_its_core(self) -> None:
        mask = drawn(Stroke(((0, 0.5), (20, 0.5)), size=20, hardness=0.5), height=14)
        column = mask[:, 10].astype(int)
        assert column[:6].tolist() == [255] * 6
        assert column[6:11].tolist() == [204, 153, 102, 51, 0]

    def test_opacity_caps_the_coverage_of_a_stroke(self) -> None:
        mask = drawn(Stroke(((10, 5),), size=8, opacity=0.5))
        assert mask.max() == 128

    def test_overlapping_strokes_combine_by_maximum(self) -> None:
        weak = Stroke(((0, 5), (20, 5)), size=6, hardness=1, opacity=0.25)
        strong = Stroke(((10, 5),), size=4, hardness=1)
        mask = drawn(weak, strong)
        assert mask[5, 10] == 255
        assert mask[5, 2] == 64

    def test_a_stroke_may_leave_the_image_and_return(self) -> None:
        mask = drawn(Stroke(((2, -3), (2, 3)), size=4, hardness=1))
        assert mask[0, 1] == 255
        assert mask[9].max() == 0

    def test_a_point_far_outside_the_image_is_refused_by_name(self) -> None:
        with pytest.raises(BadParameter) as refused:
            drawn(Stroke(((2, 2), (300, 3)), size=4))
        assert refused.value.name == "strokes"

    def test_many_segments_are_drawn_like_few(self) -> None:
        """The quick way for long scribbles agrees with the exact one to within a pixel."""
        points = tuple((200 + 150 * np.cos(t / 700), 150 + 100 * np.sin(t / 450)) for t in range(9_000))
        quick = strokes.draw([Stroke(points, size=30, hardness=1)], 400, 300).astype(int)
        exact = strokes.draw([Stroke(points[::20], size=30, hardness=1)], 400, 300).astype(int)
        differing = np.abs(quick - exact) > 128
        assert quick.any()
        assert differing.mean() < 0.005

    def test_too_many_large_brushes_are_refused_before_drawing(self) -> None:
        lines = [Stroke(((0, 0), (4000, 3000)), size=500 + number) for number in range(200)]
        with pytest.raises(BadParameter) as refused:
            strokes.draw(lines, 4000, 3000)
        assert refused.value.name == "strokes"
