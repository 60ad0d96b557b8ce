"""What this CPU supports, and the limit that lets it stand for a weaker one."""

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from ml import device
from ml.device import CpuLimit
from tests.support.checkpoints import models_dir

_TELL = """
import sys
from pathlib import Path
from ml.engines.openvino_runtime import OpenVinoRuntime
runtime = OpenVinoRuntime(Path(sys.argv[2]), threads=1)
for precisions in (("int8",), ("bf16",)):
    network = runtime.load(Path(sys.argv[1]), (1, 3, 1024, 1024), precisions)
    operations = network._request.get_compiled_model().get_runtime_model().get_ops()
    kinds = {one.get_rt_info()["primitiveType"].astype(str) for one in operations}
    print(network.precision, *sorted(kinds))
"""


@pytest.mark.parametrize("limit", ["avx2", "vnni"])
def test_engines_obey_the_limit(limit: CpuLimit, tmp_path: Path) -> None:
    """OpenVINO has its own copy of oneDNN, which reads the same setting, but asks the CPU itself for BF16."""
    command = [sys.executable, "-c", _TELL, str(models_dir() / "isnet-general-use.onnx"), str(tmp_path)]
    environment = {**os.environ, **device.limit_environment(limit)}
    run = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    quantised, floats = (set(line.split()) for line in run.stdout.splitlines())
    assert "int8" in quantised
    assert "f32" in floats
    for kind in quantised | floats:
        assert "bf16" not in kind.lower()
        if "conv" in kind:
            assert ("avx512" in kind) is (limit == "vnni" and "avx512f" in device.cpu_flags())


def test_a_processor_computes_in_16_bits_unless_it_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "cpu_flags", lambda: frozenset({"avx2", "avx512_vnni", "avx512_bf16"}))
    expected = {None: (True, True), "avx2": (False, False), "vnni": (False, True), "bf16": (True, True)}
    assert {None, *get_args(CpuLimit)} == set(expected)
    for limit, answers in expected.items():
        monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
        for name, value in device.limit_environment(limit).items():  # type: ignore[arg-type]
            monkeypatch.setenv(name, value)
        assert (device.has_fast_bf16(), device.has_wide_int8()) == answers
