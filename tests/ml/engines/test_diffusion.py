"""The diffusion engine on real, tiny pipelines: its output depends on options, seed and folder."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml.engines import diffusion_parts, pipeline_folder
from ml.engines.cache import EngineCache
from ml.engines.diffusion import Inpainter, PromptOptions
from ml.errors import BadParameter, Cancelled, ModelUnavailable, OutOfMemory
from ml.generative_config import GenerativeConfig
from ml.pixels import Mask, Pixels
from tests.support.ml import tiny_pipelines
from tests.support.ml.photos import photo
from tests.support.ml.tiny_pipelines import SIDE

PICTURE = np.ascontiguousarray(photo("astronaut")[100 : 100 + SIDE, 200 : 200 + SIDE])
MASK: Mask = np.zeros((SIDE, SIDE), np.uint8)
MASK[16:48, 16:48] = 255
CAT = PromptOptions("a cat", seed=7, steps=2)


def engines(folder: Path, tmp_path: Path, budget_bytes: int = 4 << 30, **choices: object) -> EngineCache:
    config = replace(GenerativeConfig(inpaint_checkpoint=str(folder)), **choices)  # type: ignore[arg-type]
    return EngineCache(
        tmp_path / "models", tmp_path / "cache", "cpu", budget_bytes, threads=2, generative=config
    )


def painted(engine: Inpainter, options: PromptOptions = CAT, picture: Pixels = PICTURE) -> Pixels:
    return engine.repaint(picture, MASK, options, lambda _: None)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("pipelines")
    return {
        "sd": tiny_pipelines.save_sd(place / "tiny-sd"),
        "sdxl": tiny_pipelines.save_sdxl(place / "tiny-sdxl"),
    }


@pytest.fixture(scope="module", params=["sd", "sdxl"])
def engine(
    request: pytest.FixtureRequest, folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Inpainter:
    return engines(folders[request.param], tmp_path_factory.mktemp("place")).inpainter()


class TestBothKinds:
    def test_the_result_depends_on_prompt_and_seed(self, engine: Inpainter) -> None:
        first = painted(engine)
        assert first.shape == PICTURE.shape
        assert first.std() > 1, "not one plain colour"
        assert np.array_equal(painted(engine), first)
        for other in (
            replace(CAT, seed=8),
            replace(CAT, prompt="zebras"),
            replace(CAT, steps=3),
            replace(CAT, guidance_scale=1.0),
            replace(CAT, strength=0.5),
            replace(CAT, negative_prompt="dogs"),
        ):
            assert not np.array_equal(painted(engine, other), first), other

    def test_each_step_is_reported_and_may_cancel(self, engine: Inpainter) -> None:
        fractions: list[float] = []
        engine.repaint(PICTURE, MASK, replace(CAT, steps=4), fractions.append)
        assert fractions == [0.0, 0.25, 0.5, 0.75, 1.0]

        def impatient(done: float) -> None:
            if done >= 0.5:
                raise Cancelled

        with pytest.raises(Cancelled):
            engine.repaint(PICTURE, MASK, replace(CAT, steps=4), impatient)
        assert painted(engine).std() > 1, "and it goes on working"

    def test_a_small_strength_still_runs_at_least_one_step(self, engine: Inpainter) -> None:
        fractions: list[float] = []
        engine.repaint(PICTURE, MASK, replace(CAT, steps=1, strength=0.1), fractions.append)
        assert fractions == [0.0, 1.0]

    def test_the_engine_states_its_preferred_sizes(self, engine: Inpainter) -> None:
        assert (engine.side_pixels, engine.multiple, engine.device) == (SIDE, 16, "cpu")
        assert engine.checkpoint.startswith("tiny-sd")


class TestSetting:
    def test_the_default_is_25_guided_steps(self, folders: dict[str, Path], tmp_path: Path) -> None:
        engine = engines(folders["sd"], tmp_path).inpainter()
        fractions: list[float] = []
        engine.repaint(PICTURE, MASK, PromptOptions("a cat"), fractions.append)
        assert (len(fractions), engine.default_guidance) == (26, 7.5)

    @pytest.mark.parametrize("scheduler", ["lcm", "turbo"])
    def test_few_step_schedulers_take_four_without_guidance(
        self, folders: dict[str, Path], tmp_path: Path, scheduler: str
    ) -> None:
        engine = engines(folders["sd"], tmp_path, inpaint_scheduler=scheduler).inpainter()
        fractions: list[float] = []
        first = engine.repaint(PICTURE, MASK, PromptOptions("a cat"), fractions.append)
        assert (len(fractions), engine.default_guidance) == (5, 1.0)
        own = engines(folders["sd"], tmp_path).inpainter()
        same = PromptOptions("a cat", steps=4, guidance_scale=1.0)
        assert not np.array_equal(own.repaint(PICTURE, MASK, same, lambda _: None), first)

    def test_more_steps_than_a_distilled_schedule_has_are_refused(
        self, folders: dict[str, Path], tmp_path: Path
    ) -> None:
        engine = engines(folders["sd"], tmp_path, inpaint_scheduler="lcm").inpainter()
        assert painted(engine, replace(CAT, steps=50)).shape == PICTURE.shape
        for options, param, message in (
            (replace(CAT, steps=51), "steps", "steps must be at most 50 with tiny-sd"),
            (replace(CAT, strength=0.01), "strength", "strength must be at least 0.02 with tiny-sd"),
        ):
            with pytest.raises(BadParameter, match=message) as refused:
                painted(engine, options)
            assert refused.value.name == param

    def test_a_lora_changes_the_result_and_sets_its_scheduler(
        self, folders: dict[str, Path], tmp_path: Path
    ) -> None:
        lora = tiny_pipelines.save_lora(tmp_path / "few.safetensors", folders["sd"])
        with_it = engines(folders["sd"], tmp_path, inpaint_lora=str(lora)).inpainter()
        fractions: list[float] = []
        answer = with_it.repaint(PICTURE, MASK, PromptOptions("a cat"), fractions.append)
        without = engines(folders["sd"], tmp_path, inpaint_scheduler="lcm").inpainter()
        assert len(fractions) == 5
        assert not np.array_equal(
            without.repaint(PICTURE, MASK, PromptOptions("a cat"), lambda _: None), answer
        )

    def test_a_tiny_autoencoder_replaces_encoder_and_decoder(
        self, folders: dict[str, Path], tmp_path: Path
    ) -> None:
        vae = tiny_pipelines.save_tiny_vae(tmp_path / "tiny-vae")
        for kind in ("sd", "sdxl"):
            usual = painted(engines(folders[kind], tmp_path).inpainter())
            tiny = painted(engines(folders[kind], tmp_path, inpaint_tiny_vae=str(vae)).inpainter())
            assert not np.array_equal(usual, tiny)

    def test_the_operator_s_steps_and_guidance_are_the_default(
        self, folders: dict[str, Path], tmp_path: Path
    ) -> None:
        engine = engines(folders["sd"], tmp_path, inpaint_steps=3, inpaint_guidance=2.0).inpainter()
        fractions: list[float] = []
        answer = engine.repaint(PICTURE, MASK, PromptOptions("a cat"), fractions.append)
        assert len(fractions) == 4
        assert np.array_equal(painted(engine, PromptOptions("a cat", guidance_scale=2.0, steps=3)), answer)

    def test_a_negative_prompt_needs_guidance(self, folders: dict[str, Path], tmp_path: Path) -> None:
        engine = engines(folders["sd"], tmp_path, inpaint_scheduler="lcm").inpainter()
        with pytest.raises(BadParameter) as refused:
            painted(engine, PromptOptions("a cat", negative_prompt="dogs", guidance_scale=1.0))
        assert refused.value.name == "negative_prompt"
        plain, against = (
            painted(engine, PromptOptions("a cat", negative_prompt=text)) for text in ("", "dogs")
        )
        assert not np.array_equal(plain, against)

    def test_a_safety_checker_s_objection_is_an_error(self, tmp_path: Path, folders: dict[str, Path]) -> None:
        strict = tiny_pipelines.save_sd(tmp_path / "strict", checker=True)
        with pytest.raises(BadParameter, match="safety checker") as refused:
            painted(engines(strict, tmp_path, inpaint_safety_checker=True).inpainter())
        assert refused.value.name == "prompt"
        assert painted(engines(strict, tmp_path).inpainter()).std() > 1
        with pytest.raises(ModelUnavailable, match="has no safety checker"):
            engines(folders["sd"], tmp_path, inpaint_safety_checker=True).inpainter()

    def test_a_prompt_over_the_token_limit_is_detected(
        self, folders: dict[str, Path], tmp_path: Path
    ) -> None:
        engine = engines(folders["sd"], tmp_path).inpainter()
        assert not engine.truncates("a cat")
        assert engine.truncates("cat " * 40)


class TestMemory:
    def test_required_memory_is_stated_and_insufficient_memory_is_refused(
        self, folders: dict[str, Path], tmp_path: Path
    ) -> None:
        found = engines(folders["sd"], tmp_path)
        found.inpainter()
        assert found.loaded == ("inpainting tiny-sd",)
        with pytest.raises(OutOfMemory, match="raise memory_limit_bytes"):
            engines(folders["sd"], tmp_path, budget_bytes=200 << 20).inpainter()

    def test_the_memory_estimate_reads_the_safetensors_headers(
        self, folders: dict[str, Path], tmp_path: Path
    ) -> None:
        folder = pipeline_folder.inspect_folder(folders["sd"], "tiny-sd")
        parts = diffusion_parts.choose(folder, GenerativeConfig(), tmp_path, "cpu")
        width = 4 if parts.numbers == "float32" else 2
        # Saved in 32 bits; the header is small.
        stored = sum(path.stat().st_size for path in folder.weights()) // 4 * width
        taken = diffusion_parts.memory_bytes(folder, parts) - 500_000_000
        assert abs(taken - stored) < 100_000 + 1_000_000_000 * width / 2 / 64
