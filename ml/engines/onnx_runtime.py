"""The same networks on onnxruntime, where OpenVINO cannot be had or an NVIDIA device is there."""

from pathlib import Path
from typing import Any

from ml.device import Device
from ml.engines.network import Floats, Shape


class OnnxNetwork:
    def __init__(self, session: Any, input_shape: Shape) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name
        self._output = session.get_outputs()[0].name
        self._shape = input_shape
        self.device = device_of(session)

    def __call__(self, batch: Floats) -> Floats:
        if batch.shape != self._shape:
            raise ValueError(f"the network takes {self._shape}, not {batch.shape}")
        answer: Floats = self._session.run([self._output], {self._input: batch})[0]
        return answer


class OnnxRuntime:
    """Raises ImportError where onnxruntime is not installed."""

    def __init__(self, device: Device, threads: int) -> None:
        self._options = session_options(threads)
        self._providers = providers(device)

    def load(self, checkpoint: Path, input_shape: Shape, *, precise: bool = False) -> OnnxNetwork:
        del precise  # it never computes with fewer bits than the checkpoint asks for
        import onnxruntime

        session = onnxruntime.InferenceSession(checkpoint, self._options, providers=self._providers)
        return OnnxNetwork(session, input_shape)


def session_options(threads: int) -> Any:
    """onnxruntime's options for a worker process, which runs one call at a time."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    # Threads that wait busily would take the other workers' processor time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def providers(device: Device) -> list[str]:
    """What onnxruntime shall run on, best first."""
    return ["CUDAExecutionProvider"] * (device == "cuda" and has_cuda()) + ["CPUExecutionProvider"]


def device_of(session: Any) -> Device:
    """Where a session really runs: onnxruntime falls back to the processor in silence."""
    return "cuda" if "CUDAExecutionProvider" in session.get_providers() else "cpu"


def has_cuda() -> bool:
    """Whether onnxruntime is installed in its NVIDIA build."""
    try:
        import onnxruntime
    except ImportError:
        return False
    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()
