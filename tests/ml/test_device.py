"""What this CPU supports, and the limit that lets it stand for a weaker one."""

import os
import subprocess
import sys
from typing import get_args

import pytest

from ml import device
from ml.device import CpuLimit

_TELL = """
import numpy, openvino
from openvino import opset13 as ops
from ml import device
data = ops.parameter([1, 16, 64, 64], numpy.float32)
weights = numpy.ones((16, 16, 3, 3), numpy.float32)
whole = ops.convolution(data, weights, [1, 1], [1, 1], [1, 1], [1, 1])
core = openvino.Core()
network = core.compile_model(openvino.Model([ops.result(whole)], [data]), "CPU")
network({0: numpy.ones((1, 16, 64, 64), numpy.float32)})
kinds = [node.get_rt_info()["primitiveType"].astype(str) for node in network.get_runtime_model().get_ops()]
has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
print(" ".join(kinds), has_bf16, device.has_fast_bf16(), device.has_wide_int8(), sep="|")
"""


def _tell(limit: CpuLimit | None) -> list[str]:
    environment = {**os.environ, **device.limit_environment(limit)}
    run = subprocess.run(
        [sys.executable, "-c", _TELL], env=environment, check=True, capture_output=True, text=True
    )
    return run.stdout.strip().split("|")


def test_engines_obey_the_limit() -> None:
    """OpenVINO has its own copy of oneDNN, which reads the same setting."""
    kinds, has_bf16, has_fast_bf16, has_wide_int8 = _tell("avx2")
    assert "avx2" in kinds
    assert "avx512" not in kinds
    assert (has_bf16, has_fast_bf16, has_wide_int8) == ("False", "False", "False")


def test_a_processor_computes_in_16_bits_unless_it_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "cpu_flags", lambda: frozenset({"avx2", "avx512_vnni", "avx512_bf16"}))
    expected = {None: (True, True), "avx2": (False, False), "vnni": (False, True), "bf16": (True, True)}
    assert {None, *get_args(CpuLimit)} == set(expected)
    for limit, answers in expected.items():
        monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
        for name, value in device.limit_environment(limit).items():  # type: ignore[arg-type]
            monkeypatch.setenv(name, value)
        assert (device.has_fast_bf16(), device.has_wide_int8()) == answers
