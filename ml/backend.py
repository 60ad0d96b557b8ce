"""What runs calls: the protocol between the paid path and whatever processes do the work.

`ml.runtime.local` implements it with worker processes on this machine; a cluster can implement it too. Pictures cross
as the bytes that were uploaded and come back as encoded bytes: only workers ever decode.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from ml.params import Params


class Priority(StrEnum):
    """Paid calls are served before free ones, four to one, those before guests', and waiting raises all."""

    PAID = "paid"
    FREE = "free"
    GUEST = "guest"


@dataclass(frozen=True)
class ToolCall:
    """One tool on one picture. Pickled to a worker.

    `files` maps form names to uploaded bytes; `"image"` is always there. What was kept beside the picture by
    an earlier answer's `artefacts` is among them, named as `ml.tool.ARTEFACT_PREFIX` says.
    """

    tool: str
    params: Params
    files: Mapping[str, bytes]
    priority: Priority = Priority.FREE
    timeout_seconds: float = 300.0
    is_billed: bool = True  # unbilled calls never hold every worker


@dataclass(frozen=True)
class ToolAnswer:
    """A finished call: `content` is the encoded picture of `format`, `width` x `height` pixels."""

    content: bytes
    format: str  # png, jpg, webp, avif
    width: int
    height: int
    model: str | None  # the checkpoint used; None where none is needed
    device: str  # cpu, cuda
    source_width: int
    source_height: int
    fields: Mapping[str, Any] = field(default_factory=dict)  # the tool's own additions to the answer
    warnings: tuple[str, ...] = ()
    processing_seconds: float = 0.0  # the worker's time
    queue_seconds: float = 0.0  # waiting before it
    #: How later calls read the picture as their mask: `luminance` or `alpha`; None if it is not a mask.
    mask_mode: str | None = None
    artefacts: Mapping[str, bytes] = field(default_factory=dict)  # to keep beside the source picture


@dataclass(frozen=True)
class Progress:
    """Where a call stands. `fraction` 0..1 of its work; `queue_position` 1 = next, 0 = running."""

    stage: str
    fraction: float
    queue_position: int = 0


class Ticket(Protocol):
    """A submitted call."""

    @property
    def answer(self) -> Future[ToolAnswer]:
        """Resolves to the answer or raises an `ml.errors.MlError`."""

    def cancel(self) -> None:
        """Stop it, queued or running: `answer` raises `Cancelled` at the next step, after 5 s by force."""

    def drop_if_queued(self) -> bool:
        """Withdraw it only if no worker has begun. True if it was withdrawn (`answer` raises `Cancelled`)."""


@dataclass(frozen=True)
class EngineState:
    """What `GET /api/tools` and `/readyz` say of one tool's engines."""

    tool: str
    installed: tuple[str, ...]  # checkpoint names that can be asked for
    missing: tuple[str, ...]  # messages: what is not installed, and the command
    device: str
    seconds_per_megapixel: float | None  # measured here; None until the first call
    defaults: Mapping[str, Any] = field(default_factory=dict)  # of parameters that the checkpoint decides


@dataclass(frozen=True)
class BackendState:
    ready: bool  # workers are up
    workers: int
    queued: int
    running: int
    device: str
    engines: tuple[EngineState, ...]


class Backend(Protocol):
    def start(self) -> None:
        """Start the workers; returns at once, they warm up behind it."""

    def stop(self, grace_seconds: float) -> None:
        """Refuse new calls and withdraw waiting ones with `Overloaded`; running ones end within the grace.

        Never waits. The grace of the first call counts.
        """

    def close(self) -> None:
        """`stop`, then wait for the running calls and end every worker."""

    def submit(self, call: ToolCall, on_progress: Callable[[Progress], None] | None = None) -> Ticket:
        """Queue a call. Raises `Overloaded` when the queue is full or its expected wait is too long.

        `on_progress` is called from a thread of the backend.
        """

    def state(self) -> BackendState: ...
