"""Networks on onnxruntime, for NVIDIA devices and platforms without OpenVINO."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.device import Device, Precision
from ml.engines.network import Floats, Inputs, Shape


class OnnxNetwork:
    def __init__(self, session: Any, input_shape: Shape) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name
        self._output = session.get_outputs()[0].name
        self._shape = input_shape
        self.device = device_of(session)
        self.precision: Precision = "f32"  # the checkpoint's own

    def __call__(self, batch: Floats) -> Floats:
        if batch.shape != self._shape:
            raise ValueError(f"the network takes {self._shape}, not {batch.shape}")
        answer: Floats = self._session.run([self._output], {self._input: batch})[0]
        return answer


class OnnxGraph:
    def __init__(self, session: Any, outputs: Sequence[str]) -> None:
        self._session = session
        self._outputs = list(outputs)
        self.device: Device = "cuda" if "CUDAExecutionProvider" in session.get_providers() else "cpu"

    def __call__(self, inputs: Inputs) -> list[NDArray[Any]]:
        # onnxruntime requires every input, even those that no requested output depends on.
        omitted = (port for port in self._session.get_inputs() if port.name not in inputs)
        unused = {port.name: np.ones([_side(side) for side in port.shape], np.float32) for port in omitted}
        answer: list[NDArray[Any]] = self._session.run(self._outputs, {**inputs, **unused})
        return answer


class OnnxRuntime:
    """Raises ImportError where onnxruntime is not installed."""

    def __init__(self, device: Device, threads: int) -> None:
        self._options = session_options(threads)
        self._providers = providers(device)

    def load(
        self, checkpoint: Path, input_shape: Shape, precisions: Sequence[Precision] = ("f32",)
    ) -> OnnxNetwork:
        del precisions  # it always computes in the checkpoint's own
        import onnxruntime

        session = onnxruntime.InferenceSession(checkpoint, self._options, providers=self._providers)
        return OnnxNetwork(session, input_shape)

    def load_graph(
        self, checkpoint: Path, outputs: Sequence[str], shapes: Mapping[str, Shape] | None = None
    ) -> OnnxGraph:
        import onnxruntime

        del shapes  # sessions are not compiled for a shape
        if not outputs:
            session = onnxruntime.InferenceSession(checkpoint, self._options, providers=self._providers)
            return OnnxGraph(session, [session.get_outputs()[0].name])
        # onnxruntime returns declared outputs only. Protobuf messages can be concatenated, which merges them
        # and extends lists: this declares inner tensors as outputs without the onnx library.
        declared = b"".join(_message(_GRAPH_OUTPUT, _message(_VALUE_NAME, name.encode())) for name in outputs)
        content = checkpoint.read_bytes() + _message(_MODEL_GRAPH, declared)
        session = onnxruntime.InferenceSession(content, self._options, providers=self._providers)
        return OnnxGraph(session, outputs)


# Field numbers in onnx.proto: ModelProto.graph, GraphProto.output, ValueInfoProto.name.
_MODEL_GRAPH, _GRAPH_OUTPUT, _VALUE_NAME = 7, 12, 1


def _message(field: int, content: bytes) -> bytes:
    """A length-delimited protobuf field: tag, varint length, content."""
    length_delimited = 2
    length, encoded = len(content), bytearray([field << 3 | length_delimited])
    while length > 127:
        encoded.append(length & 127 | 128)
        length >>= 7
    encoded.append(length)
    return bytes(encoded) + content


def _side(side: int | str | None) -> int:
    return side if isinstance(side, int) else 1


def session_options(threads: int) -> Any:
    """onnxruntime's options for a worker process, which runs one call at a time."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    # Spinning threads would take CPU time from other workers.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def providers(device: Device) -> list[str]:
    """onnxruntime's execution providers, best first."""
    return ["CUDAExecutionProvider"] * (device == "cuda" and has_cuda()) + ["CPUExecutionProvider"]


def device_of(session: Any) -> Device:
    """The device a session actually uses: onnxruntime falls back to the CPU silently."""
    return "cuda" if "CUDAExecutionProvider" in session.get_providers() else "cpu"


def has_cuda() -> bool:
    """Whether the NVIDIA build of onnxruntime is installed."""
    try:
        import onnxruntime
    except ImportError:
        return False
    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()
