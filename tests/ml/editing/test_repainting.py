"""Prompted painting through the tools: windows, preserved areas, and outpainted borders."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from ml.editing import repainting, windows
from ml.engines.cache import EngineCache
from ml.engines.diffusion import PromptOptions
from ml.errors import Cancelled, ModelUnavailable
from ml.generative_config import GenerativeConfig
from ml.pixels import Mask, Picture, Pixels
from ml.tool import ToolResult
from ml.tools import generative_expand, generative_fill
from ml.tools.generative_expand import GenerativeExpandParams
from ml.tools.generative_fill import GenerativeFillParams
from tests.support.ml import photos, tiny_pipelines
from tests.support.ml.contexts import Calm, Impatient

PHOTO = photos.photo("coffee")  # 600 x 400
SMALL = PHOTO[100:150, 200:280]  # less than the network's 64 pixels high
GROW, FEATHER = 5, 8


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> EngineCache:
    place = tmp_path_factory.mktemp("pipeline")
    folder = tiny_pipelines.save_sd(place / "tiny")
    config = GenerativeConfig(inpaint_checkpoint=str(folder), inpaint_steps=2)
    return EngineCache(place / "models", place / "cache", "cpu", 4 << 30, threads=2, generative=config)


def spot(pixels: Pixels, row: int, column: int, radius: int) -> Mask:
    mask = np.zeros(pixels.shape[:2], np.uint8)
    cv2.circle(mask, (column, row), radius, 255, -1)
    return mask


def filled(engines: EngineCache, pixels: Pixels, mask: Mask, **form: str) -> ToolResult:
    params = GenerativeFillParams.model_validate({"prompt": "a cat", "seed": "1", **form})
    context = Calm({"mask": photos.png_bytes(mask)}, engines)
    return generative_fill.run(Picture(pixels, "png"), params, context)


def expanded(engines: EngineCache, pixels: Pixels, **form: str) -> ToolResult:
    params = GenerativeExpandParams.model_validate({"prompt": "a cat", "seed": "1", **form})
    return generative_expand.run(Picture(pixels, "png"), params, Calm(engines=_WithoutMatting(engines)))


@dataclass
class _WithoutMatting:
    """The engines of a machine on which only the inpainting checkpoint is installed."""

    engines: EngineCache

    def matting(self, checkpoint: str) -> Any:
        raise ModelUnavailable(checkpoint, "")

    def erasing(self, checkpoint: str) -> Any:
        raise ModelUnavailable(checkpoint, "")

    def check_inpainting(self) -> None:
        self.engines.check_inpainting()

    def inpainter(self) -> Any:
        return self.engines.inpainter()


class TestFill:
    @pytest.mark.parametrize("pixels", [PHOTO, SMALL], ids=["large", "small"])
    def test_pixels_beyond_grow_and_feather_are_unchanged(self, engines: EngineCache, pixels: Pixels) -> None:
        mask = spot(pixels, 20, 40, 9)
        answer = filled(engines, pixels, mask).pixels
        far = cv2.distanceTransform((mask == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        beyond = far > GROW + FEATHER
        assert np.array_equal(answer[beyond], pixels[beyond])
        assert np.abs(answer[mask > 0].astype(int) - pixels[mask > 0]).mean() > 3

    def test_twelve_megapixels_keep_their_resolution(self, engines: EngineCache) -> None:
        pixels = np.asarray(Image.fromarray(PHOTO).resize((4000, 3000)))
        mask = spot(pixels, 1500, 900, 30)
        answer = filled(engines, pixels, mask).pixels
        changed = np.argwhere((answer != pixels).any(axis=2))
        assert answer.shape == pixels.shape
        assert np.abs(changed - (1500, 900)).max() <= 30 + GROW + FEATHER

    def test_the_result_states_checkpoint_and_seed(self, engines: EngineCache) -> None:
        mask = spot(SMALL, 20, 40, 9)
        first, again, other = (filled(engines, SMALL, mask, seed=seed) for seed in ("1", "1", "2"))
        assert (first.model, first.device, first.fields) == ("tiny", "cpu", {"seed": 1})
        assert np.array_equal(first.pixels, again.pixels)
        assert not np.array_equal(first.pixels, other.pixels)
        assert not np.array_equal(filled(engines, SMALL, mask, prompt="dogs").pixels, first.pixels)

    def test_a_missing_seed_is_drawn_and_returned(self, engines: EngineCache) -> None:
        mask = spot(SMALL, 20, 40, 9)
        params = GenerativeFillParams.model_validate({"prompt": "a cat"})
        context = Calm({"mask": photos.png_bytes(mask)}, engines)
        drawn = generative_fill.run(Picture(SMALL, "png"), params, context)
        again = filled(engines, SMALL, mask, seed=str(drawn.fields["seed"]))
        assert np.array_equal(drawn.pixels, again.pixels)

    def test_transparency_is_preserved(self, engines: EngineCache) -> None:
        alpha = np.full(SMALL.shape[:2], 255, np.uint8)
        alpha[:, :30] = 90
        answer = filled(engines, np.dstack([SMALL, alpha]), spot(SMALL, 20, 40, 9)).pixels
        assert np.array_equal(answer[..., 3], alpha)

    def test_a_prompt_too_long_for_the_checkpoint_is_followed_with_a_warning(
        self, engines: EngineCache
    ) -> None:
        answer = filled(engines, SMALL, spot(SMALL, 20, 40, 9), prompt="many cats " * 30)
        assert answer.warnings == ["The prompt is too long for the checkpoint and was truncated."]

    def test_cancellation_stops_between_two_steps(self, engines: EngineCache) -> None:
        mask = spot(SMALL, 20, 40, 9)
        context = Impatient({"mask": photos.png_bytes(mask)}, engines, limit=0.4)
        params = GenerativeFillParams.model_validate({"prompt": "a cat", "steps": "8"})
        with pytest.raises(Cancelled):
            generative_fill.run(Picture(SMALL, "png"), params, context)
        assert context.fractions == sorted(context.fractions)
        assert context.fractions[-1] == pytest.approx(0.1 + 0.8 * 3 / 8)


class TestExpand:
    @pytest.mark.parametrize(
        "form",
        [
            pytest.param({"left": "20"}, id="a strip"),
            pytest.param({"right": "90", "top": "40"}, id="two sides"),
            pytest.param({"width": "300%", "height": "300%"}, id="all around", marks=pytest.mark.long),
        ],
    )
    @pytest.mark.parametrize("overlap", [pytest.param(0, marks=pytest.mark.long), 8])
    def test_the_picture_is_untouched_inside_the_overlap(
        self, engines: EngineCache, form: dict[str, str], overlap: int
    ) -> None:
        answer = expanded(engines, SMALL, overlap=str(overlap), **form)
        left, top, right, bottom = answer.fields["bbox"]
        inside = answer.pixels[top:bottom, left:right]
        kept = np.s_[overlap : 50 - overlap, overlap : 80 - overlap]
        assert np.array_equal(inside[kept], SMALL[kept])
        assert (answer.model, answer.fields["seed"]) == ("tiny", 1)

    def test_all_of_the_new_area_is_painted(self, engines: EngineCache) -> None:
        """What PatchMatch guessed is seen nowhere, and another seed paints all of it otherwise."""
        params = GenerativeExpandParams.model_validate({"left": "90", "bottom": "70"})
        context = Calm(engines=_WithoutMatting(engines))
        guess = generative_expand.run(Picture(SMALL, "png"), params, context).pixels
        first = expanded(engines, SMALL, left="90", bottom="70").pixels
        other = expanded(engines, SMALL, left="90", bottom="70", seed="2").pixels
        new = np.ones(guess.shape[:2], np.bool_)
        new[:50, 90:] = False
        for picture in (guess, other):
            differs = (first != picture).any(axis=2)
            assert differs[new].mean() > 0.97

    def test_windows_proceed_outwards_and_always_include_known_pixels(self) -> None:
        hole = np.ones((500, 700), np.bool_)
        hole[220:280, 300:400] = False
        known = ~hole
        reached = []
        distance = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 5)
        for window, painted in windows.outward(hole, 350, 175.0):
            assert known[window].any(), "nothing to go on from"
            assert painted.any()
            assert not (known[window] & painted).any(), "painted twice"
            reached.append(float(distance[window][painted].max()))
            known[window] |= painted
        assert known.all()
        assert len(reached) > 4
        assert reached[0] < reached[-1]

    @pytest.mark.parametrize(
        ("size", "wanted"),
        [
            ((512, 512), (512, 512)),
            ((900, 900), (512, 512)),
            ((60, 60), (512, 512)),
            ((800, 400), (704, 384)),
        ],
    )
    def test_windows_match_the_native_area_of_the_network(
        self, size: tuple[int, int], wanted: tuple[int, int]
    ) -> None:
        assert repainting.network_size(size, 512, 64) == wanted

    def test_the_aspect_ratio_of_windows_is_bounded(self) -> None:
        assert repainting.network_size((4000, 100), 512, 64) == (1024, 64)

    def test_progress_grows_over_all_windows(self, engines: EngineCache) -> None:
        context = Calm(engines=_WithoutMatting(engines))
        params = GenerativeExpandParams.model_validate({"prompt": "a cat", "left": "150", "steps": "3"})
        generative_expand.run(Picture(SMALL, "png"), params, context)
        assert context.fractions == sorted(context.fractions)
        assert len([each for each in context.fractions if each > 0.25]) >= 6


def test_each_window_has_its_own_seed(engines: EngineCache) -> None:
    """Else the same noise would make the same thing in each."""
    seeds = []

    class Noting:
        side_pixels, multiple = 64, 16

        def repaint(self, picture: Pixels, mask: Mask, options: PromptOptions, step: Any) -> Pixels:
            seeds.append(options.seed)
            return engines.inpainter().repaint(picture, mask, options, step)

    guess = np.full((64, 300, 3), 100, np.uint8)
    hole = np.ones((64, 300), np.bool_)
    hole[:, :40] = False
    blend = (hole * 255).astype(np.uint8)
    options = PromptOptions("a cat", seed=2**32 - 1, steps=1)
    repainting.outpaint(guess, guess, hole, blend, Noting(), options, lambda _: None)  # type: ignore[arg-type]
    assert seeds[:2] == [2**32 - 1, 0]
    assert len(set(seeds)) == len(seeds)
