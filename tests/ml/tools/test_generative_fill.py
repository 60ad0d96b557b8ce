"""Generative fill without a prompt: removed objects, unchanged surroundings, refusals."""

import json

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from ml.errors import BadParameter, Cancelled, EmptyMask, ModelUnavailable
from ml.imaging import masks, seams
from ml.pixels import Mask, Picture, Pixels
from ml.tool import ToolResult
from ml.tools import generative_fill
from ml.tools.generative_fill import GenerativeFillParams
from tests.support.ml import photos
from tests.support.ml.contexts import Calm, Impatient
from tests.support.ml.fill_figures import Figures, Region, disc, figures, painted_over

# An object's place on ordinary ground: (photo, row, column, radius).
GROUNDS = {
    "grass": ("grass", 250, 250, 60),
    "gravel": ("gravel", 250, 250, 60),
    "brick": ("brick", 256, 256, 50),
    "wooden table": ("coffee", 330, 540, 40),
    "fur": ("chelsea", 60, 130, 24),
    "cloth": ("astronaut", 386, 170, 54),
    "evening sky": ("rocket", 60, 320, 40),
    "concrete floor": ("motorcycle_left", 460, 120, 30),
}
GROW, FEATHER = 5, 8


def outcome(pixels: Pixels, mask: Mask | None = None, **form: str) -> ToolResult:
    """Run the tool with parameters as a form sends them: as text."""
    files = {} if mask is None else {"mask": photos.png_bytes(mask)}
    return generative_fill.run(Picture(pixels, "png"), GenerativeFillParams.model_validate(form), Calm(files))


def as_mask(region: Region) -> Mask:
    return np.where(region, np.uint8(255), np.uint8(0))


def refused_parameter(**form: str) -> str:
    """The parameter that validation names, without any picture."""
    with pytest.raises(ValidationError) as refusal:
        GenerativeFillParams.model_validate(form)
    (error,) = refusal.value.errors()
    return str(error.get("ctx", {}).get("param") or error["loc"][0])


def is_good(found: Figures) -> bool:
    """Like its surroundings in colour, contrast and fine detail; the edge no more than other edges there."""
    return (
        found.mean_difference < 18
        and 0.5 < found.deviation_ratio < 1.6
        and 0.65 < found.texture_ratio < 1.5
        and found.seam_ratio < 1.35
    )


@pytest.fixture(scope="module")
def removed() -> dict[str, tuple[Pixels, Pixels, Region]]:
    """By ground: the picture with an object, the same without it, and where it was."""
    answers = {}
    for ground, (name, row, column, radius) in GROUNDS.items():
        photo = photos.photo(name)
        hole = disc(photo, row, column, radius)
        pixels = painted_over(photo, hole)
        answers[ground] = pixels, outcome(pixels, as_mask(hole)).pixels, hole
    return answers


@pytest.mark.parametrize("ground", GROUNDS)
class TestOnPhotos:
    def test_the_filled_area_resembles_its_surroundings(
        self, ground: str, removed: dict[str, tuple[Pixels, Pixels, Region]]
    ) -> None:
        _, answer, hole = removed[ground]
        found = figures(answer, masks.grow_and_feather(as_mask(hole), GROW, 0) > 0)
        assert is_good(found), found

    def test_there_is_no_seam_at_the_mask_or_at_the_blending_limits(
        self, ground: str, removed: dict[str, tuple[Pixels, Pixels, Region]]
    ) -> None:
        """No step is larger than 1.35 times the mean step around."""
        _, answer, hole = removed[ground]
        for grow in (0, GROW, GROW + FEATHER // 2, GROW + FEATHER):
            assert figures(answer, masks.grow_and_feather(as_mask(hole), grow, 0) > 0).seam_ratio < 1.35, grow

    def test_pixels_beyond_grow_and_feather_are_unchanged(
        self, ground: str, removed: dict[str, tuple[Pixels, Pixels, Region]]
    ) -> None:
        pixels, answer, hole = removed[ground]
        far = cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        beyond = far > GROW + FEATHER
        assert np.array_equal(answer[beyond], pixels[beyond])

    def test_no_color_of_the_object_is_left(
        self, ground: str, removed: dict[str, tuple[Pixels, Pixels, Region]]
    ) -> None:
        _, answer, hole = removed[ground]
        magenta = answer.astype(int) @ (1, -1, 1)
        assert magenta[hole].max() <= magenta[~hole].max() + 40


class TestFigures:
    def test_the_metrics_detect_a_blur_a_smear_and_a_patch_with_an_edge(self) -> None:
        photo = photos.photo("gravel")
        hole = disc(photo, 250, 250, 65)
        assert is_good(figures(photo, hole))
        blur = seams.membrane(painted_over(photo, hole), hole)
        smear = cv2.inpaint(photo, hole.astype(np.uint8), 5, cv2.INPAINT_TELEA)
        patch = photo.copy()
        patch[hole] = photo[::-1][hole]
        for bad in (blur, smear, patch):
            assert not is_good(figures(bad, hole))


class TestPlaces:
    PHOTO = photos.photo("coffee")[200:, 300:]

    def test_strokes_are_equivalent_to_the_mask_they_paint(self) -> None:
        lines = [{"points": [[150, 60], [200, 90]], "size": 20, "hardness": 1}]
        by_strokes = outcome(self.PHOTO, strokes=json.dumps(lines)).pixels
        params = GenerativeFillParams.model_validate({"strokes": json.dumps(lines)})
        assert params.strokes is not None
        height, width = self.PHOTO.shape[:2]
        by_mask = outcome(self.PHOTO, masks.from_strokes(params.strokes, width, height)).pixels
        # Values below 8 at the edge of a stroke are noise in a file.
        assert np.abs(by_strokes.astype(int) - by_mask.astype(int)).max() < 8
        assert not np.array_equal(by_strokes, self.PHOTO)

    def test_grey_mask_values_blend(self) -> None:
        """Half a mask makes the mean of the source and the answer of a whole one."""
        hole = disc(self.PHOTO, 100, 200, 20)
        whole = outcome(self.PHOTO, as_mask(hole), feather="0", grow_mask="0").pixels[hole].astype(int)
        half = outcome(self.PHOTO, as_mask(hole) // 2, feather="0", grow_mask="0").pixels[hole].astype(int)
        mean = self.PHOTO[hole] * (1 - 127 / 255) + whole * (127 / 255)
        assert np.abs(half - mean).max() <= 0.51

    def test_without_grow_and_feather_exactly_the_mask_changes(self) -> None:
        hole = disc(self.PHOTO, 100, 200, 20)
        pixels = painted_over(self.PHOTO, hole)
        answer = outcome(pixels, as_mask(hole), feather="0", grow_mask="0").pixels
        assert np.array_equal((answer != pixels).any(axis=2), hole)

    @pytest.mark.parametrize("radius", [6, 8, 10])
    @pytest.mark.parametrize(("row", "column"), [(200, 300), (330, 540), (60, 130)])
    def test_a_small_thing_is_erased_without_a_trace(self, row: int, column: int, radius: int) -> None:
        """On the rim of a cup and on wood, the answer differs little from what was there."""
        photo = photos.photo("coffee")
        hole = disc(photo, row, column, radius)
        answer = outcome(painted_over(photo, hole), as_mask(hole)).pixels
        assert np.abs(answer[hole].astype(int) - photo[hole]).mean() < 30

    def test_transparency_is_preserved_and_hidden_colors_are_not_copied(self) -> None:
        alpha = np.full(self.PHOTO.shape[:2], 255, np.uint8)
        alpha[:, :100] = 0
        pixels = np.dstack([self.PHOTO, alpha])
        pixels[:, :100, :3] = (0, 255, 0)
        hole = disc(self.PHOTO, 100, 150, 20)
        answer = outcome(pixels, as_mask(hole)).pixels
        assert np.array_equal(answer[..., 3], alpha)
        greenness = answer[hole].astype(int) @ (-1, 2, -1, 0)
        assert greenness.max() < 100

    def test_the_seed_is_returned_and_changes_the_result(self) -> None:
        mask = as_mask(disc(self.PHOTO, 100, 200, 20))
        default, first, second = (
            outcome(self.PHOTO, mask, **form) for form in ({}, {"seed": "0"}, {"seed": "5"})
        )
        assert default.fields == first.fields == {"seed": 0}
        assert second.fields == {"seed": 5}
        assert np.array_equal(default.pixels, first.pixels)
        assert not np.array_equal(first.pixels, second.pixels)

    def test_a_cancelled_call_stops(self) -> None:
        mask = as_mask(disc(self.PHOTO, 100, 200, 20))
        context = Impatient({"mask": photos.png_bytes(mask)}, limit=0.4)
        with pytest.raises(Cancelled):
            generative_fill.run(Picture(self.PHOTO, "png"), GenerativeFillParams(), context)
        assert context.fractions == sorted(context.fractions)


class TestRefusals:
    PHOTO = photos.photo("coffee")[:100, :150]

    @pytest.mark.parametrize(
        ("form", "name"),
        [
            ({"strokes": "[]"}, "strokes"),
            ({"strokes": '[{"points":[[NaN,1]]}]'}, "strokes"),
            ({"strokes": json.dumps([{"points": [[1, 2]]}] * 10_000)}, "strokes"),
            ({"points": "[[NaN,1,1]]"}, "points"),
            ({"points": "[[1,2,3]]"}, "points"),
            ({"points": "[]"}, "points"),
            ({"box": "[10,10,5,20]"}, "box"),
            ({"box": "[1,2,3]"}, "box"),
            ({"box": "[1,2,1e999,4]"}, "box"),
            ({"prompt": "x" * 2001}, "prompt"),
            ({"seed": "-1"}, "seed"),
            ({"steps": "20"}, "steps"),
            ({"guidance_scale": "7"}, "guidance_scale"),
            ({"strength": "0.5"}, "strength"),
            ({"negative_prompt": "cats"}, "negative_prompt"),
            ({"prompt": "   ", "steps": "20"}, "steps"),
            ({"grow_mask": "101"}, "grow_mask"),
            ({"feather": "65"}, "feather"),
            ({"feather": "nan"}, "feather"),
            ({"mask": "text"}, "mask"),
        ],
    )
    def test_a_bad_parameter_is_named(self, form: dict[str, str], name: str) -> None:
        assert refused_parameter(**form) == name

    @pytest.mark.parametrize(
        ("mask", "form", "name"),
        [
            (None, {}, "mask"),
            (np.full((100, 150), 255, np.uint8), {}, "mask"),
            (np.full((100, 150), 9, np.uint8), {}, "mask"),
            (np.full((77, 50), 255, np.uint8), {}, "mask"),
            (np.eye(1, 150, 75, dtype=np.uint8).repeat(100, axis=0) * 255, {"grow_mask": "100"}, "grow_mask"),
            (np.eye(100, 150, dtype=np.uint8) * 255, {"strokes": '[{"points":[[1,2]]}]'}, "mask"),
            (np.eye(100, 150, dtype=np.uint8) * 255, {"points": "[[1,2,1]]"}, "mask"),
            (np.tri(100, 150, 140, dtype=np.uint8) * 255, {"grow_mask": "0"}, "mask"),
            (np.tri(100, 150, 100, dtype=np.uint8) * 255, {"grow_mask": "20"}, "grow_mask"),
            (None, {"strokes": '[{"points":[[75,45]],"size":170}]', "grow_mask": "0"}, "strokes"),
            (None, {"strokes": '[{"points":[[9000,2]]}]'}, "strokes"),
            (None, {"strokes": '[{"points":[[20,20]],"size":1000}]'}, "strokes"),
        ],
    )
    def test_parameters_impossible_for_this_image_are_named(
        self, mask: Mask | None, form: dict[str, str], name: str
    ) -> None:
        with pytest.raises(BadParameter) as refused:
            outcome(self.PHOTO, mask, **form)
        assert refused.value.name == name

    def test_a_mask_of_more_than_half_of_the_image_is_warned_of(self) -> None:
        """A checkerboard, and a mask with black and white exchanged."""
        board = np.kron(np.indices((4, 5)).sum(axis=0) % 2, np.ones((32, 32))).astype(np.uint8)[:100, :150]
        inverted = as_mask(~disc(self.PHOTO, 50, 75, 25))
        for mask in (board * 255, inverted):
            (warning,) = outcome(self.PHOTO, mask).warnings
            assert "white marks what is replaced" in warning
        assert outcome(self.PHOTO, as_mask(disc(self.PHOTO, 50, 75, 40))).warnings == []
        (warning,) = outcome(self.PHOTO, None, strokes='[{"points":[[75,45]],"size":110}]').warnings
        assert warning.endswith("more than was left to continue.")  # Strokes are not inverted.

    def test_a_mask_of_all_that_is_visible_is_refused(self) -> None:
        """Only hidden colours of transparent pixels would be left to continue."""
        shown = disc(self.PHOTO, 50, 75, 30)
        cutout = np.dstack([self.PHOTO, np.where(shown, 255, 0).astype(np.uint8)])
        with pytest.raises(BadParameter) as refused:
            outcome(cutout, as_mask(shown))
        assert refused.value.name == "mask"
        assert "visible part" in refused.value.message
        (warning,) = outcome(cutout, as_mask(disc(self.PHOTO, 50, 75, 21))).warnings
        assert "visible part" in warning
        # Marking what is transparent replaces nothing that is seen.
        assert outcome(cutout, as_mask(~disc(self.PHOTO, 50, 75, 40))).warnings == []

    def test_an_empty_mask_is_refused(self) -> None:
        with pytest.raises(EmptyMask):
            outcome(self.PHOTO, np.zeros((100, 150), np.uint8))
        with pytest.raises(EmptyMask):
            outcome(self.PHOTO, strokes='[{"points":[[10,10]],"opacity":0}]')

    def test_a_prompt_without_a_checkpoint_is_refused(self) -> None:
        """Before any other check, even that of a missing mask."""
        for steps in ("20", "40"):
            with pytest.raises(ModelUnavailable) as refused:
                outcome(self.PHOTO, prompt="a cat", steps=steps, strength="0.8")
            assert refused.value.command == "bgeraser models pull --profile generative"

    def test_a_call_is_random_only_with_a_prompt_and_without_a_seed(self) -> None:
        forms: tuple[dict[str, str], ...] = (
            {},
            {"seed": "1"},
            {"prompt": "a cat", "seed": "1"},
            {"prompt": "a cat"},
        )
        params = (GenerativeFillParams.model_validate(form) for form in forms)
        assert [generative_fill.TOOL.is_random(each) for each in params] == [False, False, False, True]


def test_margins_that_were_given_follow_the_reduced_source() -> None:
    box = "[10, 10, 90, 90]"
    given = GenerativeFillParams(box=box, grow_mask=30, feather=12).for_reduced((1800, 1200), (600, 400))
    assert (given.grow_mask, given.feather) == (10, 4)
    # A thin mask limits those that were not given.
    default = GenerativeFillParams(box=box).for_reduced((1800, 1200), (600, 400))
    assert not {"grow_mask", "feather"} & default.model_fields_set
