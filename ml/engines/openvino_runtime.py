"""Networks on OpenVINO: the fastest on processors, in bf16 where the processor has it and nothing is lost."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from ml.device import Device
from ml.engines.network import Floats, Shape


class OpenVinoNetwork:
    device: Device = "cpu"  # OpenVINO has no NVIDIA path

    def __init__(self, request: Any) -> None:
        self._request = request

    def __call__(self, batch: Floats) -> Floats:
        outputs = self._request.infer({0: np.ascontiguousarray(batch)}, share_inputs=True)
        answer: Floats = outputs[0]
        return answer


class OpenVinoRuntime:
    """Raises ImportError where OpenVINO is not installed.

    Compiled networks are kept in `cache_dir`: compiling takes a second and loading what was compiled a tenth
    of it. A lock makes one process compile while the others wait for its result.
    """

    def __init__(self, cache_dir: Path, threads: int) -> None:
        import openvino

        self._core = openvino.Core()
        # Another version's results would only be read, refused and left lying.
        self._cache_dir = cache_dir / f"openvino-{openvino.__version__.split('-')[0]}"
        self._threads = threads

    def load(self, checkpoint: Path, input_shape: Shape, *, precise: bool = False) -> OpenVinoNetwork:
        self._cache_dir.mkdir(parents=True, exist_ok=True)
        # The lock lies beside the directory, which may be removed.
        with FileLock(f"{self._cache_dir}.lock"):
            try:
                compiled = self._compile(checkpoint, input_shape, precise)
            except RuntimeError:
                # A damaged result of an earlier run, or a defect that the second try repeats.
                shutil.rmtree(self._cache_dir, ignore_errors=True)
                self._cache_dir.mkdir(parents=True, exist_ok=True)
                compiled = self._compile(checkpoint, input_shape, precise)
        return OpenVinoNetwork(compiled.create_infer_request())

    def _compile(self, checkpoint: Path, input_shape: Shape, precise: bool) -> Any:
        import openvino

        graph = self._core.read_model(checkpoint)
        # ISNet's other ten outputs are for training and take a third of the time.
        graph = openvino.Model([graph.outputs[0]], graph.get_parameters(), checkpoint.stem)
        graph.reshape(list(input_shape))
        properties: dict[str, Any] = {
            "CACHE_DIR": str(self._cache_dir),
            "PERFORMANCE_HINT": "LATENCY",  # a worker runs one call at a time
            "INFERENCE_NUM_THREADS": self._threads,
        }
        if precise:
            properties["INFERENCE_PRECISION_HINT"] = "f32"
        return self._core.compile_model(graph, "CPU", properties)
