"""What the server and a worker say to each other.

The server says `WorkerConfig` once, then `Work` and `Cancel`, pickled. The worker answers with JSON objects;
`kind` is one of

    ready    it is warm
    taken    the call has begun and is never run again, whatever happens
    weighed  the header is read: `work` in units of `ml.runtime.duration_model`, `seconds` expected, `trial`: whether it goes
             on though that is beyond the call's limit
    long     the call was not begun after all: it must wait among the long ones
    step     `stage`, `fraction`
    done     `answer`, `seconds`, `cold`: whether this worker had done no call of its kind before
    failed   `error` (a class of `ml.errors`, or ""), `args`, `traceback`
"""

from dataclasses import dataclass, field
from pathlib import Path

from ml.backend import ToolCall
from ml.generative_config import GenerativeConfig
from ml.runtime.duration_model import DurationEstimate


@dataclass(frozen=True)
class WorkerConfig:
    """`perform` and `engines` are dotted names, `package.module:attribute`."""

    models_dir: Path
    cache_dir: Path
    device: str  # cpu, cuda
    engine_memory_bytes: int  # what loaded engines may take together
    picture_memory_bytes: int  # what a call's pictures may take, by `ml.runtime.planning`
    threads: int  # of OpenCV and of every engine
    perform: str = "ml.runtime.run_call:perform"
    engines: str = "ml.engines.cache:EngineCache"  # "" = none
    warm_up: bool = True
    generative: GenerativeConfig = field(default_factory=GenerativeConfig)


@dataclass(frozen=True)
class StartCall:
    """One call, its files apart: they are the frame's payloads, in the order of `file_names`."""

    number: int
    call: ToolCall
    file_names: tuple[str, ...]
    estimate: DurationEstimate | None
    long_seconds: float | None  # a call expected to take longer goes back to wait among the long ones


@dataclass(frozen=True)
class CancelCall:
    """Stop call `number` at its next step."""

    number: int
