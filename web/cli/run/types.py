"""What the parts of `bgeraser run` pass to each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePath
from typing import Any, Protocol

_TOP = PurePath()

#: The code of files that cannot be read, which an API never sees.
UNREADABLE_FILE = "UNREADABLE_FILE"


class PictureFailed(Exception):
    """One picture failed; the run continues. `code` and `param` are those of the API's errors."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


class RunStopped(Exception):
    """Every further picture would fail too. The message is a sentence for the user."""


@dataclass(frozen=True)
class Source:
    """A picture to process: its file, and the folder of its result relative to the output folder."""

    path: Path
    folder: PurePath = _TOP


@dataclass(frozen=True)
class Result:
    """A finished picture. `data` has the fields of the API's answer that exist without a server."""

    content: bytes
    format: str
    data: Mapping[str, Any] = field(default_factory=dict)


class Status(StrEnum):
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """What became of one source. `output` is None for a failure and for a result on stdout."""

    source: Path
    status: Status
    output: Path | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    failure: PictureFailed | None = None


class Runner(Protocol):
    """Runs the tool on pictures: with workers of its own, or through a server."""

    @property
    def parallel(self) -> int:
        """How many calls of `run` to have open at once."""

    @property
    def file_limit_bytes(self) -> int: ...

    async def run(self, content: bytes) -> Result:
        """Run the tool on a picture's file. Raises PictureFailed, RunStopped."""

    def start_no_more(self) -> None:
        """The run is stopping: calls of `run` that have not begun to work raise RunStopped, others finish."""

    async def close(self) -> None:
        """Stop at once whatever still runs."""
