"""The messages between the server and a worker.

The server sends `WorkerConfig` once, then `StartCall` and `CancelCall`, pickled. The worker sends JSON
objects; `kind` is one of

    ready      the worker has warmed up
        started    the call was started; it will not be run again
        estimated  from the header: `work` in units of `ml.runtime.duration_model`, expected `seconds`, and
                   `trial`: whether it runs although that exceeds its limit
    long       the call was not started: it has to be queued as a long one
    step       `stage`, `fraction`
    done       `answer`, `seconds`, `cold`: whether this was the worker's first call of its kind, `engines`:
               bytes that each loaded engine counts for
    failed     `error` (a class of `ml.errors`, or ""), `args`, `traceback`
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml.backend import ToolCall
from ml.device import CpuLimit, PrecisionChoice
from ml.generative_config import GenerativeConfig
from ml.runtime.duration_model import DurationEstimate


@dataclass(frozen=True)
class WorkerConfig:
    """`perform` and `engines` are dotted names, `package.module:attribute`."""

    models_dir: Path
    cache_dir: Path
    device: str  # cpu, cuda
    memory_limit_bytes: int  # resident memory of the worker
    threads: int  # for OpenCV and every engine
    perform: str = "ml.runtime.run_call:perform"
    engines: str = "ml.engines.cache:EngineCache"  # "" = none
    warm_up: bool = True
    generative: GenerativeConfig = field(default_factory=GenerativeConfig)
    precision: PrecisionChoice = "auto"
    cpu_limit: CpuLimit | None = None

    @property
    def engine_memory_bytes(self) -> int:
        """The limit of all loaded engines together."""
        return self.memory_limit_bytes // 2

    @property
    def picture_memory_bytes(self) -> int:
        """The limit of a call's pictures, see `ml.runtime.planning`."""
        return self.memory_limit_bytes - self.engine_memory_bytes


@dataclass(frozen=True)
class StartCall:
    """One call. Its files are the frame's payloads, in the order of `file_names`."""

    number: int
    call: ToolCall
    file_names: tuple[str, ...]
    estimate: DurationEstimate | None
    long_seconds: float | None  # a call expected to take longer is returned to the queue


@dataclass(frozen=True)
class CancelCall:
    """Stop call `number` at its next step."""

    number: int


def failure(number: int, error: Exception) -> dict[str, Any]:
    """The message about call `number` that a worker would send for this `error` of `ml.errors`."""
    return {
        "kind": "failed",
        "number": number,
        "error": type(error).__name__,
        "args": list(error.args),
        "traceback": "",
    }
