"""8-bit networks: what is computed with integers, how far results move, and what the operator may choose."""

import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.backend import ToolCall
from ml.device import Precision, PrecisionChoice
from ml.engines import quantisation
from ml.engines.cache import EngineCache
from ml.engines.network import Floats
from ml.runtime.run_call import perform
from ml.tools.bg_removal_params import BgRemovalParams
from ml.tools.crop import CropParams
from tests.support.checkpoints import models_dir
from tests.support.ml.cutouts import engines
from tests.support.ml.photos import jpeg_bytes, photo

openvino: Any = pytest.importorskip("openvino")

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"),
    reason="other processors compute quantised networks in floats",
)


@pytest.fixture(scope="module")
def floats(tmp_path_factory: pytest.TempPathFactory) -> EngineCache:
    return EngineCache(models_dir(), tmp_path_factory.mktemp("cache"), "cpu", 8 << 30, precision="f32")


class TestIsnet:
    @pytest.mark.parametrize("name", ["chelsea", "astronaut", "motorcycle_left"])
    def test_mattes_of_photos_are_within_one_and_a_half_levels_of_32_bits(
        self, name: str, floats: EngineCache
    ) -> None:
        quantised, full = engines().matting("isnet-general-use"), floats.matting("isnet-general-use")
        assert (quantised.precision, full.precision) == ("int8", "f32")  # type: ignore[attr-defined]
        difference = np.abs(quantised.matte(photo(name)) - full.matte(photo(name))).mean() * 255
        assert 0 < difference <= 1.5

    def test_an_answer_tells_the_precision(self, floats: EngineCache) -> None:
        params = BgRemovalParams(model="quality")
        call = ToolCall("bg-removal", params, {"image": jpeg_bytes(photo("coffee"))})
        answers = [perform(call, one, lambda _stage, _fraction: None) for one in (engines(), floats)]
        assert [one.precision for one in answers] == ["int8", "f32"]

    def test_a_tool_without_a_network_has_no_precision(self, floats: EngineCache) -> None:
        call = ToolCall("crop", CropParams(mode="trim"), {"image": jpeg_bytes(photo("coffee"))})
        assert perform(call, floats, lambda _stage, _fraction: None).precision is None


@pytest.mark.parametrize("choice", ["auto", "int8"])
def test_a_network_without_ranges_keeps_32_bits(choice: PrecisionChoice, tmp_path: Path) -> None:
    assert "u2netp" not in quantisation.RANGES
    cache = EngineCache(models_dir(), tmp_path, "cpu", 8 << 30, precision=choice)
    assert cache.precision("u2netp") is None  # not loaded yet
    cache.matting("u2netp")
    assert cache.precision("u2netp") == "f32"


class TestTinyNetwork:
    """Two convolutions; the output channels of the first differ a hundredfold in size."""

    def build(self) -> Any:
        from openvino import opset13 as ops

        random = np.random.default_rng(5)
        data = ops.parameter([1, 3, 32, 32], np.float32)
        data.set_friendly_name("data")
        sizes = np.array([0.01] * 8 + [1.0] * 8, np.float32).reshape(16, 1, 1, 1)
        first = random.normal(0, 0.2, (16, 3, 3, 3)).astype(np.float32) * sizes
        inner = ops.relu(_convolution(ops, data, first))
        inner.set_friendly_name("inner")
        second = random.normal(0, 0.1, (4, 16, 3, 3)).astype(np.float32)
        outer = _convolution(ops, inner, second)
        return openvino.Model([ops.result(outer), ops.result(inner)], [data])

    def run(self, graph: Any, batch: Floats) -> list[Floats]:
        outputs = _compiled(graph)({0: batch})
        return [outputs[0], outputs[1]]

    def batch(self) -> Floats:
        return np.random.default_rng(6).uniform(0, 1, (1, 3, 32, 32)).astype(np.float32)

    def test_convolutions_with_a_range_compute_with_integers(self) -> None:
        graph = self.build()
        quantisation.quantise(graph, {"inner": (0.0, 1.6)})
        kinds = [
            node.get_rt_info()["runtimePrecision"].astype(str)
            for node in _compiled(graph).get_runtime_model().get_ordered_ops()
            if node.get_rt_info()["layerType"].astype(str) == "Convolution"
        ]
        assert sorted(kinds) == ["f32", "u8"]

    def test_small_channels_keep_their_precision(self) -> None:
        full = self.run(self.build(), self.batch())[1]
        graph = self.build()
        quantisation.quantise(graph, {"data": (0.0, 1.0)})
        quantised = self.run(graph, self.batch())[1]
        for channel in range(16):
            error = np.abs(full[0, channel] - quantised[0, channel]).mean()
            assert error < 0.02 * np.abs(full[0, channel]).max()

    def test_bright_inputs_do_not_overflow(self) -> None:
        """Without VNNI, sums of two products saturate in 16 bits unless weights use half of their range."""
        from openvino import opset13 as ops

        def build() -> Any:
            data = ops.parameter([1, 3, 32, 32], np.float32)
            data.set_friendly_name("data")
            whole = _convolution(ops, data, np.full((16, 3, 3, 3), 0.1, np.float32))
            return openvino.Model([ops.result(whole)], [data])

        graph, bright = build(), np.ones((1, 3, 32, 32), np.float32)
        quantisation.quantise(graph, {"data": (0.0, 1.0)})
        full, quantised = _compiled(build())({0: bright})[0], _compiled(graph)({0: bright})[0]
        np.testing.assert_allclose(quantised, full, rtol=0.01)

    def test_zero_stays_exact_where_values_are_negative(self) -> None:
        """Convolutions pad with it: a range whose levels miss 0 would add a border to every picture."""
        graph = self.build()
        quantisation.quantise(graph, {"data": (-0.3, 1.0)})
        nothing = np.zeros((1, 3, 32, 32), np.float32)
        np.testing.assert_array_equal(self.run(graph, nothing)[0], self.run(self.build(), nothing)[0])

    def test_a_range_that_fits_nothing_is_refused(self) -> None:
        with pytest.raises(KeyError, match="elsewhere"):
            quantisation.quantise(self.build(), {"elsewhere": (0.0, 1.0)})


def test_ranges_include_zero() -> None:
    assert "isnet-general-use" in quantisation.RANGES
    for name, ranges in quantisation.RANGES.items():
        assert all(low <= 0 <= high and low < high for low, high in ranges.values()), name


@pytest.mark.parametrize(("choice", "precision"), [("auto", "int8"), ("int8", "int8"), ("f32", "f32")])
def test_the_operator_chooses(choice: PrecisionChoice, precision: Precision, tmp_path: Path) -> None:
    cache = EngineCache(models_dir(), tmp_path, "cpu", 8 << 30, precision=choice)
    cache.matting("isnet-general-use")
    assert cache.precision("isnet-general-use") == precision


def _convolution(ops: Any, source: Any, weights: Floats) -> Any:
    return ops.convolution(source, weights, [1, 1], [1, 1], [1, 1], [1, 1])


def _compiled(graph: Any) -> Any:
    return openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
