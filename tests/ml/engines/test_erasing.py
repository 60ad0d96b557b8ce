"""Erasing networks: both interfaces on both runtimes, and the real loading path down to the hash."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.checkpoints import registry
from ml.checkpoints.registry import State
from ml.engines import erasing
from ml.engines.cache import EngineCache, RuntimeName
from ml.engines.network_facts import ERASING_FACTS
from ml.errors import ModelUnavailable
from ml.pixels import Pixels
from tests.support.ml import tiny_erasers
from tests.support.ml.fill_figures import disc

SIDE = tiny_erasers.SIDE


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        folder = tmp_path_factory.mktemp("models")
        tiny_erasers.install(folder, monkeypatch, "migan", "lama")
        yield folder


def cache(models: Path, tmp_path: Path, runtime: RuntimeName = "auto") -> EngineCache:
    return EngineCache(models, tmp_path, "cpu", 4 << 30, threads=2, runtime=runtime)


def ramp() -> Pixels:
    """Three different gradients, so that a shift, a transposition or a swap of channels is visible."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.dstack([columns // 2, rows // 2, 255 - columns // 2]).astype(np.uint8)


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("name", ["migan", "lama"])
class TestInterfaces:
    def test_a_hole_is_continued_in_place_and_the_rest_is_unchanged(
        self, name: str, runtime: RuntimeName, models: Path, tmp_path: Path
    ) -> None:
        engine = cache(models, tmp_path, runtime).erasing(name)
        picture = ramp()
        hole = disc(picture, 200, 300, 60)
        answer = engine.fill(np.where(hole[..., None], np.uint8(7), picture), hole)
        assert np.abs(answer[hole].astype(int) - picture[hole]).mean() < 10
        assert np.abs((answer[hole].astype(int) - picture[hole]).mean(axis=0)).max() < 2
        assert np.array_equal(answer[~hole], picture[~hole])
        assert (engine.checkpoint, engine.device, engine.side_pixels) == (name, "cpu", SIDE)

    def test_what_is_in_the_hole_has_no_influence(
        self, name: str, runtime: RuntimeName, models: Path, tmp_path: Path
    ) -> None:
        engine = cache(models, tmp_path, runtime).erasing(name)
        hole = disc(ramp(), 200, 300, 40)
        one, other = (
            engine.fill(np.where(hole[..., None], np.uint8(level), ramp()), hole) for level in (0, 255)
        )
        assert np.array_equal(one, other)


def test_another_size_is_refused(models: Path, tmp_path: Path) -> None:
    engine = cache(models, tmp_path).erasing("lama")
    with pytest.raises(ValueError, match="square of 512"):
        engine.fill(np.zeros((512, 511, 3), np.uint8), np.zeros((512, 511), np.bool_))


def test_an_output_that_is_not_a_number_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_erasers.install(tmp_path, monkeypatch, "lama", gain=float("nan"))
    engine = cache(tmp_path, tmp_path / "cache").erasing("lama")
    with pytest.raises(erasing.UnstableOutput):
        engine.fill(ramp(), disc(ramp(), 200, 300, 40))


def test_values_beyond_the_range_are_clipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_erasers.install(tmp_path, monkeypatch, "lama", gain=9.0)
    engine = cache(tmp_path, tmp_path / "cache").erasing("lama")
    hole = disc(ramp(), 200, 300, 40)
    assert (engine.fill(np.full_like(ramp(), 100), hole)[hole] == 255).all()


class TestLoading:
    @pytest.mark.parametrize("name", ["migan", "lama"])
    def test_a_missing_checkpoint_names_its_command(self, name: str, tmp_path: Path) -> None:
        engines = cache(tmp_path, tmp_path / "cache")
        for look_up in (engines.erasing, engines.check_erasing):
            with pytest.raises(ModelUnavailable) as refused:
                look_up(name)
            assert refused.value.command == f"bgeraser models pull {name}"

    @pytest.mark.parametrize("name", ["migan", "lama"])
    def test_a_file_of_the_right_size_but_other_bytes_is_damaged(self, name: str, tmp_path: Path) -> None:
        """The real pins: only the publisher's bytes are loaded."""
        (file,) = registry.CHECKPOINTS[name].files
        with (tmp_path / file.file_name).open("wb") as content:
            content.truncate(file.size_bytes)
        assert registry.state(tmp_path, registry.CHECKPOINTS[name]) is State.DAMAGED
        with pytest.raises(ModelUnavailable, match="is damaged"):
            cache(tmp_path, tmp_path / "cache").erasing(name)

    def test_an_unknown_name_is_a_key_error(self, tmp_path: Path) -> None:
        with pytest.raises(KeyError):
            cache(tmp_path, tmp_path / "cache").erasing("isnet-general-use")

    def test_a_graph_that_one_library_cannot_run_is_tried_on_the_next(self, models: Path) -> None:
        class Without:
            def load(self, *_: Any, **__: Any) -> Any:
                raise AssertionError

            def load_graph(self, *_: Any, **__: Any) -> Any:
                raise RuntimeError("no such operation")

        from ml.engines.onnx_runtime import OnnxRuntime

        facts, file = ERASING_FACTS["lama"], registry.path(models, "lama")
        engine = erasing.load(facts, file, [Without(), OnnxRuntime("cpu", 1)])
        assert engine.fill(ramp(), disc(ramp(), 200, 300, 40)).shape == (SIDE, SIDE, 3)
        with pytest.raises(ModelUnavailable, match="cannot be run by the installed inference library"):
            erasing.load(facts, file, [Without()])
