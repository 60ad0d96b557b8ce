"""Networks on OpenVINO, the fastest library on CPUs, in 32 or 16 bits, or partly in 8."""

import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from ml import device as devices
from ml.device import Device, Precision
from ml.engines import quantisation
from ml.engines.network import Floats, Inputs, Shape

_X86 = ("x86_64", "AMD64")


class OpenVinoNetwork:
    device: Device = "cpu"  # OpenVINO does not support NVIDIA

    def __init__(self, request: Any, precision: Precision) -> None:
        self._request = request
        self.precision = precision

    def __call__(self, batch: Floats) -> Floats:
        outputs = self._request.infer({0: np.ascontiguousarray(batch)}, share_inputs=True)
        answer: Floats = outputs[0]
        return answer


class OpenVinoGraph:
    device: Device = "cpu"

    def __init__(self, request: Any) -> None:
        self._request = request
        self._names = {name for port in request.get_compiled_model().inputs for name in port.get_names()}

    def __call__(self, inputs: Inputs) -> list[NDArray[Any]]:
        wanted = {name: np.ascontiguousarray(value) for name, value in inputs.items() if name in self._names}
        outputs = self._request.infer(wanted, share_inputs=True)
        return [outputs[number] for number in range(len(outputs))]


class OpenVinoRuntime:
    """Raises ImportError where OpenVINO is not installed.

    Compiled networks are cached in `cache_dir`: compiling takes a second, loading a tenth of it. A lock makes
    other processes wait for the one that compiles.
    """

    def __init__(self, cache_dir: Path, threads: int) -> None:
        import openvino

        self._core = openvino.Core()
        # Results of other OpenVINO versions, or for other instruction sets, cannot be used.
        kind = [openvino.__version__.split("-")[0], devices.cpu_limit().lower()]
        self._cache_dir = cache_dir / "-".join(["openvino", *filter(None, kind)])
        self._threads = threads

    def load(
        self, checkpoint: Path, input_shape: Shape, precisions: Sequence[Precision] = ("f32",)
    ) -> OpenVinoNetwork:
        precision = choose_precision(self._core, checkpoint, precisions)

        def read() -> Any:
            graph = read_network(self._core, checkpoint, input_shape)
            if precision == "int8":
                quantisation.quantise(graph, quantisation.RANGES[checkpoint.stem])
            return graph

        return OpenVinoNetwork(self._compiled(read, precision).create_infer_request(), precision)

    def load_graph(
        self, checkpoint: Path, outputs: Sequence[str], shapes: Mapping[str, Shape] | None = None
    ) -> OpenVinoGraph:
        def read() -> Any:
            import openvino

            whole = self._core.read_model(checkpoint)
            if shapes:
                whole.reshape({name: list(shape) for name, shape in shapes.items()})
            ports = whole.add_outputs(list(outputs)) if outputs else [whole.outputs[0]]
            # Drop inputs that only other outputs need.
            used = _inputs_of(ports)
            parameters = [one for one in whole.get_parameters() if one.get_friendly_name() in used]
            return openvino.Model(ports, parameters, checkpoint.stem)

        return OpenVinoGraph(self._compiled(read, "f32").create_infer_request())

    def _compiled(self, read: Callable[[], Any], precision: Precision) -> Any:
        self._cache_dir.mkdir(parents=True, exist_ok=True)
        # The lock is outside the directory, which may be deleted.
        with FileLock(f"{self._cache_dir}.lock"):
            try:
                return self._compile(read(), precision)
            except RuntimeError:
                # The cache may be damaged; any other defect is raised again by the second attempt.
                shutil.rmtree(self._cache_dir, ignore_errors=True)
                self._cache_dir.mkdir(parents=True, exist_ok=True)
                return self._compile(read(), precision)

    def _compile(self, graph: Any, precision: Precision) -> Any:
        properties: dict[str, Any] = {
            "CACHE_DIR": str(self._cache_dir),
            "PERFORMANCE_HINT": "LATENCY",  # a worker runs one call at a time
            "INFERENCE_NUM_THREADS": self._threads,
            # Else every worker computes on the same first cores, and leaves the others idle.
            "ENABLE_CPU_PINNING": False,
        }
        properties |= precision_properties(precision)
        return self._core.compile_model(graph, "CPU", properties)


def read_network(core: Any, checkpoint: Path, input_shape: Shape) -> Any:
    """The `openvino.Model` of an ONNX file's first output, with its input fixed to `input_shape`."""
    import openvino

    graph = core.read_model(checkpoint)
    # ISNet's ten other outputs are for training only and take a third of the time.
    graph = openvino.Model([graph.outputs[0]], graph.get_parameters(), checkpoint.stem)
    graph.reshape(list(input_shape))
    return graph


def choose_precision(core: Any, checkpoint: Path, precisions: Sequence[Precision]) -> Precision:
    """The first of `precisions` that this CPU and the network in the file `checkpoint` support, else f32."""
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    # On other processors, OpenVINO computes quantised networks in floats.
    has_int8 = "INT8" in capabilities and platform.machine() in _X86
    supported = {
        "f32": True,
        "bf16": "BF16" in capabilities and not devices.is_limited_below_bf16(),
        "int8": has_int8 and checkpoint.stem in quantisation.RANGES,
    }
    return next((one for one in precisions if supported[one]), "f32")


def precision_properties(precision: Precision) -> dict[str, Any]:
    """Properties for compiling a network. A quantised one's float layers use 16 bits where that is fast."""
    if precision != "int8":
        return {"INFERENCE_PRECISION_HINT": precision}
    return {"INFERENCE_PRECISION_HINT": "f32"} if devices.is_limited_below_bf16() else {}


def _inputs_of(ports: Sequence[Any]) -> set[str]:
    """Names of the graph's inputs on which `ports` depend."""
    waiting = [port.get_node() for port in ports]
    seen: set[str] = set()
    inputs = set()
    while waiting:
        node = waiting.pop()
        name = node.get_friendly_name()
        if name in seen:
            continue
        seen.add(name)
        if node.get_type_name() == "Parameter":
            inputs.add(name)
        waiting.extend(source.get_source_output().get_node() for source in node.inputs())
    return inputs
