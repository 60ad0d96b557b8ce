"""The cache of loaded engines of one process."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ml import device as devices
from ml.checkpoints import digests, registry
from ml.device import Precision, PrecisionChoice
from ml.engines import erasing, upscaling
from ml.engines.erasing import Eraser
from ml.engines.installed import InstalledEngines
from ml.engines.matting import MattingEngine, NetworkMatting
from ml.engines.network import Runtime
from ml.engines.network_facts import (
    ERASING_FACTS,
    MATTING_FACTS,
    OWN_SAM,
    SAM_CHECKPOINTS,
    SEGMENTING_FACTS,
    UPSCALING_FACTS,
    ErasingFacts,
    SegmentingFacts,
    sam_artefact,
)
from ml.engines.segmenting import Segmenter, SegmentingEngine
from ml.engines.upscaling import Upscaler
from ml.errors import ModelUnavailable, OutOfMemory
from ml.generative_config import GenerativeConfig

if TYPE_CHECKING:
    from ml.engines.diffusion import Inpainter

Engine = TypeVar("Engine")
RuntimeName = Literal["auto", "openvino", "onnxruntime"]

# Memory of a loaded optional checkpoint: its weights and activations in multiples of the file, plus the
# runtime.
_LOADED_TO_FILE = 3
_RUNTIME_BYTES = 300_000_000
# Memory that Segment Anything needs at 1024 x 1024 besides its weights: the attention of one block.
_SAM_WORK_BYTES = 1_500_000_000


@dataclass(frozen=True)
class _Loaded:
    engine: Any
    memory_bytes: int


class EngineCache(InstalledEngines):
    """Loads engines on first use and keeps as many as fit into `memory_budget_bytes`.

    `threads` is the number of threads per engine, by default OpenCV's number in this process. `runtime`
    selects an inference library explicitly, `precision` the arithmetic of networks that keep their results
    in it; all others compute in 32 bits. Raises `NoCudaDevice` for a missing device.
    """

    def __init__(
        self,
        models_dir: Path,
        cache_dir: Path,
        device: str,
        memory_budget_bytes: int,
        threads: int | None = None,
        runtime: RuntimeName = "auto",
        generative: GenerativeConfig | None = None,
        precision: PrecisionChoice = "auto",
    ) -> None:
        super().__init__(models_dir, cache_dir, devices.resolve(device), generative or GenerativeConfig())
        self._budget_bytes = memory_budget_bytes
        self._threads = threads or _opencv_threads()
        self._runtime_name = runtime
        self._precision = precision
        self._runtime: Runtime | None = None
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()  # the least recently used first
        self._lock = threading.RLock()

    def matting(self, checkpoint: str) -> MattingEngine:
        """The engine of a background-removal checkpoint.

        Raises KeyError for an unknown name, ModelUnavailable if it is not installed.
        """
        if registry.CHECKPOINTS[checkpoint].tool != "bg-removal":
            raise KeyError(checkpoint)
        facts = MATTING_FACTS.get(checkpoint)
        if facts is not None:
            return self.get(checkpoint, facts.memory_bytes, lambda: self._network_matting(checkpoint))
        file_bytes = registry.CHECKPOINTS[checkpoint].size_bytes
        memory_bytes = _LOADED_TO_FILE * file_bytes + _RUNTIME_BYTES
        return self.get(checkpoint, memory_bytes, lambda: self._rembg_matting(checkpoint))

    def segmenting(self, checkpoint: str) -> SegmentingEngine:
        """The engine of a checkpoint that segments the object at a click.

        Raises KeyError for an unknown name, ModelUnavailable if it is not installed,
        OutOfMemory if it is too large for a worker.
        """
        if checkpoint in SAM_CHECKPOINTS or checkpoint == OWN_SAM:
            return self._sam(checkpoint)
        facts = SEGMENTING_FACTS[checkpoint]
        return self.get(checkpoint, facts.memory_bytes, lambda: self._segmenter(facts))

    def erasing(self, checkpoint: str) -> Eraser:
        """The engine of a checkpoint that fills holes without words.

        Raises KeyError for an unknown name, ModelUnavailable if it is not installed or cannot be run.
        """
        facts = ERASING_FACTS[checkpoint]
        return self.get(checkpoint, facts.memory_bytes, lambda: self._eraser(facts))

    def inpainter(self) -> "Inpainter":
        """The configured inpainting engine.

        Raises ModelUnavailable if it is not installed, OutOfMemory if it is too large for a worker.
        """
        from ml.engines import diffusion_parts, pipeline_folder
        from ml.engines.diffusion import Inpainter

        config = self._generative
        folder = pipeline_folder.find(config, self._models_dir, self._cache_dir)
        parts = diffusion_parts.choose(folder, config, self._models_dir, self.device)
        memory_bytes = diffusion_parts.memory_bytes(folder, parts)
        return self.get_large(
            f"inpainting {folder.name}",
            memory_bytes,
            lambda: Inpainter(folder, parts, config, self.device, self._threads),
        )

    def upscaler(self, checkpoint: str) -> Upscaler:
        """The engine of an upscaling checkpoint.

        Raises KeyError for an unknown name, ModelUnavailable if it is not installed.
        """
        facts = UPSCALING_FACTS[checkpoint]
        return self.get(
            checkpoint,
            facts.memory_bytes,
            lambda: upscaling.load(
                self._models_dir, checkpoint, self._threads, self._allowed(facts.precisions)
            ),
        )

    def get(self, name: str, memory_bytes: int, load: Callable[[], Engine]) -> Engine:
        """The engine cached under `name`, else loaded by `load`, which takes about `memory_bytes`.

        The least recently used engines are evicted to make room; one that exceeds the budget alone is loaded
        nevertheless. An evicted engine keeps its memory while a caller still uses it.
        """
        with self._lock:
            if name not in self._loaded:
                self._make_room(memory_bytes)
                self._loaded[name] = _Loaded(load(), memory_bytes)
            self._loaded.move_to_end(name)
            engine: Engine = self._loaded[name].engine
            return engine

    def precision(self, checkpoint: str) -> Precision | None:
        """The arithmetic of a loaded checkpoint; None if it is not loaded or its engine does not tell."""
        loaded = self._loaded.get(checkpoint)
        precision: Precision | None = getattr(loaded and loaded.engine, "precision", None)
        return precision

    @property
    def loaded(self) -> tuple[str, ...]:
        """Names of loaded engines, the least recently used first."""
        return tuple(self._loaded)

    @property
    def memory_bytes(self) -> dict[str, int]:
        """What each loaded engine counts for in the budget."""
        return {name: loaded.memory_bytes for name, loaded in self._loaded.items()}

    def get_large(self, name: str, memory_bytes: int, load: Callable[[], Engine]) -> Engine:
        """As `get`, for engines that may be too large for a worker. Raises OutOfMemory in that case."""
        most_bytes = 2 * self._budget_bytes  # the other half is for pictures
        if memory_bytes > most_bytes:
            raise OutOfMemory(
                f"{name} needs about {memory_bytes >> 20} MiB of memory, and a worker may use"
                f" {most_bytes >> 20}. The operator can raise {self._generative.setting_names.worker_memory}."
            )
        return self.get(name, memory_bytes, load)

    def _make_room(self, memory_bytes: int) -> None:
        while self._loaded:
            used = sum(loaded.memory_bytes for loaded in self._loaded.values())
            if used + memory_bytes <= self._budget_bytes:
                return
            self._loaded.popitem(last=False)

    def _network_matting(self, checkpoint: str) -> NetworkMatting:
        facts = MATTING_FACTS[checkpoint]
        file = registry.path(self._models_dir, checkpoint)
        shape = (1, 3, facts.side_pixels, facts.side_pixels)
        return NetworkMatting(facts, self._get_runtime().load(file, shape, self._allowed(facts.precisions)))

    def _allowed(self, precisions: Sequence[Precision]) -> tuple[Precision, ...]:
        """Those of a network's `precisions` that the operator chose."""
        return tuple(one for one in precisions if self._precision in ("auto", one))

    def _eraser(self, facts: ErasingFacts) -> Eraser:
        file = registry.path(self._models_dir, facts.checkpoint)
        return erasing.load(facts, file, [self._get_runtime(), *self._other_runtimes()])

    def _other_runtimes(self) -> Iterator[Runtime]:
        """onnxruntime, if it is installed and not chosen anyway, for graphs that OpenVINO cannot run."""
        from ml.engines import onnx_runtime

        if self._runtime_name == "auto":
            with suppress(ImportError):
                yield onnx_runtime.OnnxRuntime(self.device, self._threads)

    def _segmenter(self, facts: SegmentingFacts) -> Segmenter:
        encoder = registry.path(self._models_dir, facts.encoder_file)
        decoder = registry.path(self._models_dir, facts.decoder_file)
        runtime = self._get_runtime()
        shape = (1, 3, facts.side_pixels, facts.side_pixels)
        # The encoder is loaded on first use: it is not needed for stored embeddings.
        return Segmenter(
            facts,
            lambda: runtime.load(encoder, shape, self._allowed(facts.precisions)),
            runtime.load_graph(decoder, facts.decoder_outputs),
        )

    def _sam(self, checkpoint: str) -> SegmentingEngine:
        from ml.engines.sam_engine import SamSegmenter

        file = self._sam_file(checkpoint)

        def load() -> SamSegmenter:
            if checkpoint == OWN_SAM:
                sha256 = digests.sha256_of(file)
            else:
                sha256 = registry.CHECKPOINTS[checkpoint].files[0].sha256
            artefact = sam_artefact(checkpoint)
            return SamSegmenter(checkpoint, artefact, file, sha256, self.device, self._threads)

        return self.get_large(checkpoint, file.stat().st_size + _SAM_WORK_BYTES, load)

    def _rembg_matting(self, checkpoint: str) -> MattingEngine:
        from ml.engines.rembg_engine import RembgMatting

        file = registry.path(self._models_dir, checkpoint)
        return RembgMatting(file, self.device, self._threads)

    def _get_runtime(self) -> Runtime:
        if self._runtime is None:
            self._runtime = self._choose_runtime()
        return self._runtime

    def _choose_runtime(self) -> Runtime:
        from ml.engines import onnx_runtime, openvino_runtime

        prefers_onnx = self.device == "cuda" and onnx_runtime.has_cuda()
        if self._runtime_name != "onnxruntime" and not (self._runtime_name == "auto" and prefers_onnx):
            try:
                return openvino_runtime.OpenVinoRuntime(self._cache_dir, self._threads)
            except ImportError:
                if self._runtime_name == "openvino":
                    raise ModelUnavailable("openvino", "pip install openvino") from None
        try:
            return onnx_runtime.OnnxRuntime(self.device, self._threads)
        except ImportError:
            raise ModelUnavailable(
                "An inference library (openvino or onnxruntime)", "pip install openvino"
            ) from None


def _opencv_threads() -> int:
    import cv2

    return max(1, int(cv2.getNumThreads()))
