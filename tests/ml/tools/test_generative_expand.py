"""Generative expand without a prompt: sizes, an unchanged source, a plausible continuation."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from ml.engines.cache import EngineCache
from ml.errors import BadParameter, ModelUnavailable, PictureTooLarge
from ml.pixels import Picture, Pixels
from ml.tool import ToolResult
from ml.tools import generative_expand
from ml.tools.generative_expand import GenerativeExpandParams
from tests.support import checkpoints
from tests.support.ml import photos
from tests.support.ml.contexts import Calm
from tests.support.ml.fill_figures import figures

SMALL = photos.photo("coffee")[200:300, 400:550]  # 150 wide, 100 high


def outcome(pixels: Pixels, **form: str) -> ToolResult:
    """Run the tool with parameters as a form sends them: as text."""
    return generative_expand.run(Picture(pixels, "png"), GenerativeExpandParams.model_validate(form), Calm())


def refused_parameter(**form: str) -> str:
    """The parameter that validation names, without any picture."""
    with pytest.raises(ValidationError) as refusal:
        GenerativeExpandParams.model_validate(form)
    (error,) = refusal.value.errors()
    return str(error.get("ctx", {}).get("param") or error["loc"][0])


class TestSizes:
    @pytest.mark.parametrize(
        ("form", "size", "bbox"),
        [
            ({"left": "30"}, (180, 100), [30, 0, 180, 100]),
            ({"left": "10%", "right": "20%", "top": "5", "bottom": "50%"}, (195, 155), [15, 5, 165, 105]),
            ({"aspect_ratio": "1:1"}, (150, 150), [0, 25, 150, 125]),
            ({"aspect_ratio": "2:1", "anchor": "west"}, (200, 100), [0, 0, 150, 100]),
            ({"aspect_ratio": "2:1", "anchor": "southeast"}, (200, 100), [50, 0, 200, 100]),
            ({"width": "200", "height": "120", "anchor": "north"}, (200, 120), [25, 0, 175, 100]),
            ({"width": "120%"}, (180, 100), [15, 0, 165, 100]),
            ({"height": "111", "anchor": "south"}, (150, 111), [0, 11, 150, 111]),
        ],
    )
    def test_the_canvas_size_and_image_position_follow_the_parameters(
        self, form: dict[str, str], size: tuple[int, int], bbox: list[int]
    ) -> None:
        answer = outcome(SMALL, overlap="0", **form)
        left, top, right, bottom = bbox
        assert answer.pixels.shape == (size[1], size[0], 3)
        assert answer.fields["bbox"] == bbox
        assert np.array_equal(answer.pixels[top:bottom, left:right], SMALL)

    @pytest.mark.parametrize("overlap", [0, 16, 128])
    def test_pixels_inside_the_overlap_are_unchanged(self, overlap: int) -> None:
        answer = outcome(SMALL, left="40", right="40", overlap=str(overlap)).pixels[:, 40:-40]
        used = min(overlap, 25)  # a quarter of the shorter side
        assert np.array_equal(answer[:, used : -used or None], SMALL[:, used : -used or None])
        if overlap:
            assert not np.array_equal(answer, SMALL)

    def test_tiny_images_are_expanded_too(self) -> None:
        for height, width in ((1, 1), (1, 30), (9, 4)):
            pixels = np.full((height, width, 3), (10, 200, 90), np.uint8)
            answer = outcome(pixels, left="20", bottom="7").pixels
            assert answer.shape == (height + 7, width + 20, 3)
            assert np.abs(answer.astype(int) - (10, 200, 90)).max() <= 1


#: Photos, or parts of them, with something at either side that can go on.
PHOTOS = {
    "gravel": photos.photo("gravel")[:300, :400],
    "grass": photos.photo("grass")[:300, :400],
    "table": photos.photo("coffee"),
}


@pytest.fixture(scope="module")
def wider() -> dict[str, Pixels]:
    """The same with 80 pixels more on either side."""
    return {name: outcome(photo, left="80", right="80").pixels for name, photo in PHOTOS.items()}


class TestContinuation:
    @pytest.mark.parametrize("name", PHOTOS)
    def test_the_new_area_resembles_its_neighbourhood_without_a_seam(
        self, name: str, wider: dict[str, Pixels]
    ) -> None:
        answer = wider[name]
        for columns in (slice(0, 80), slice(-80, None)):
            new = np.zeros(answer.shape[:2], np.bool_)
            new[:, columns] = True
            found = figures(answer, new, around_pixels=60)
            assert found.mean_difference < 25
            assert 0.5 < found.deviation_ratio < 1.7
            assert 0.6 < found.texture_ratio < 1.6
            assert found.seam_ratio < 1.35

    @pytest.mark.parametrize("name", PHOTOS)
    def test_the_new_area_is_neither_a_smear_nor_a_reflection_of_the_edge(
        self, name: str, wider: dict[str, Pixels]
    ) -> None:
        answer = wider[name].astype(int)
        photo = PHOTOS[name]
        padded = {
            way: cv2.copyMakeBorder(photo, 0, 0, 80, 80, border).astype(int)
            for way, border in (("smear", cv2.BORDER_REPLICATE), ("mirror", cv2.BORDER_REFLECT_101))
        }
        busy = float(np.abs(np.diff(photo.astype(int), axis=1)).mean())
        for other in padded.values():
            for columns in (slice(0, 80), slice(-80, None)):
                assert np.abs(answer[:, columns] - other[:, columns]).mean() > busy
        across = np.abs(np.diff(answer[:, :80], axis=1)).mean()
        assert across > 0.5 * busy

    def test_transparent_edges_stay_transparent(self) -> None:
        alpha = np.full(SMALL.shape[:2], 255, np.uint8)
        alpha[:, :20] = 0
        answer = outcome(np.dstack([SMALL, alpha]), left="30", right="30").pixels
        assert (answer[:, :50, 3] == 0).all()
        assert (answer[:, 50:, 3] == 255).all()

    def test_the_same_call_yields_the_same_image(self) -> None:
        one, same, other = (outcome(SMALL, right="60", seed=seed) for seed in ("3", "3", "4"))
        assert np.array_equal(one.pixels, same.pixels)
        assert not np.array_equal(one.pixels, other.pixels)
        assert one.fields["seed"] == 3


class TestForeground:
    def test_with_a_checkpoint_the_subject_is_not_repeated(self, tmp_path: Path) -> None:
        """The motorcycle's red fender and tyre fill the picture's right edge unless it is recognised."""
        photo = photos.photo("motorcycle_left")
        params = GenerativeExpandParams.model_validate({"right": "150"})
        engines = EngineCache(checkpoints.models_dir(), tmp_path, "cpu", 2_000_000_000)
        recognised = generative_expand.run(Picture(photo, "png"), params, Calm(engines=engines))
        unaware = generative_expand.run(Picture(photo, "png"), params, Calm())
        assert recognised.model == unaware.model == "patchmatch"
        new = np.s_[:, photo.shape[1] :]
        # Red as the motorcycle's tank is; the boxes and the floor are not.
        red = [
            int(((pixels[new].astype(int) @ (2, -1, -1)) > 200).sum())
            for pixels in (recognised.pixels, unaware.pixels)
        ]
        assert red[0] <= red[1]
        assert red[0] < 0.01 * recognised.pixels[new].shape[0] * 150


class TestRefusals:
    @pytest.mark.parametrize(
        ("form", "name"),
        [
            ({}, "left"),
            ({"left": "-5"}, "left"),
            ({"left": "0.25"}, "left"),
            ({"width": "0.9"}, "width"),
            ({"left": "5", "width": "200"}, "width"),
            ({"left": "5", "aspect_ratio": "1:1"}, "aspect_ratio"),
            ({"height": "500", "aspect_ratio": "1:1"}, "aspect_ratio"),
            ({"left": "5", "anchor": "north"}, "anchor"),
            ({"aspect_ratio": "0:1"}, "aspect_ratio"),
            ({"aspect_ratio": "nan:1"}, "aspect_ratio"),
            ({"left": "nan"}, "left"),
            ({"left": "5", "overlap": "129"}, "overlap"),
            ({"left": "5", "steps": "20"}, "steps"),
            ({"left": "5", "strength": "0.5"}, "strength"),
            ({"left": "5", "anchor": "up"}, "anchor"),
        ],
    )
    def test_a_bad_parameter_is_named(self, form: dict[str, str], name: str) -> None:
        assert refused_parameter(**form) == name

    @pytest.mark.parametrize(
        ("form", "name"),
        [
            ({"left": "0"}, "left"),
            ({"right": "0.1%"}, "right"),
            ({"width": "149"}, "width"),
            ({"width": "200", "height": "50%"}, "height"),
            ({"width": "150", "height": "100"}, "width"),
            ({"aspect_ratio": "3:2"}, "aspect_ratio"),
        ],
    )
    def test_a_canvas_that_is_not_larger_is_refused_by_name(self, form: dict[str, str], name: str) -> None:
        with pytest.raises(BadParameter) as refused:
            outcome(SMALL, **form)
        assert refused.value.name == name

    @pytest.mark.parametrize(
        "form", [{"left": "999999999"}, {"aspect_ratio": "99999:1"}, {"width": "9000000%"}]
    )
    def test_a_result_over_the_limit_is_refused_before_allocation(self, form: dict[str, str]) -> None:
        with pytest.raises(PictureTooLarge):
            outcome(SMALL, **form)

    def test_a_prompt_without_a_checkpoint_is_refused(self) -> None:
        with pytest.raises(ModelUnavailable) as refused:
            outcome(SMALL, left="10", prompt="the sea")
        assert refused.value.command == "bgeraser models pull --profile generative"


def test_lengths_follow_the_reduced_source() -> None:
    for params, size in {
        GenerativeExpandParams(left="600", top="10%"): (800, 440),
        GenerativeExpandParams(left="1"): (601, 400),
        GenerativeExpandParams(width="2400", height="1800"): (800, 600),
        GenerativeExpandParams(aspect_ratio="2:1"): (800, 400),
    }.items():
        reduced = params.for_reduced((1800, 1200), (600, 400))
        assert generative_expand.TOOL.answer_size(reduced, (600, 400)) == size
        assert reduced.overlap == 5
