"""The protocol of a backend that runs tool calls.

`ml.runtime.local` implements it with worker processes on this machine; a cluster could implement it too.
Pictures are passed as uploaded bytes and returned as encoded bytes: only workers decode.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from ml.params import Params
from ml.statistics import Snapshot


class Priority(StrEnum):
    """Paid, free and guest calls are weighted 8 : 2 : 1; waiting raises the weight of each."""

    PAID = "paid"
    FREE = "free"
    GUEST = "guest"


@dataclass(frozen=True)
class Delivery:
    """How a call takes its source and delivers its result, apart from the tool's own parameters."""

    #: A larger source is reduced to this many pixels before the tool runs. None: never.
    max_pixels: int | None = None
    #: The format of `format=auto` for a result without transparency. None: the source's own.
    opaque_format: str | None = None
    #: Deliver a ZIP of `color.jpg` and `alpha.png` instead of one picture.
    archive: bool = False
    #: Neither the source that the tool gets nor the result has a longer side than this, in pixels. The
    #: parameters keep meaning the whole source. None: no such limit.
    max_side: int | None = None
    #: A text that is drawn all over the result. None: none.
    mark: str | None = None


@dataclass(frozen=True)
class Chaining:
    """For one of several steps on a picture, each of which runs on the result of the step before."""

    #: The result is an encoded picture; otherwise it is an intermediate (`ml.imaging.intermediates`).
    is_last: bool
    #: Intermediates with more bytes of pixels are compressed without loss.
    raw_bytes_max: int


@dataclass(frozen=True)
class ToolCall:
    """One tool on one picture. Pickled for the worker.

    `files` maps form names to uploaded bytes; `"image"` is always present. Artefacts that an earlier call
    stored with the picture are included, their names prefixed with `ml.tool.ARTEFACT_PREFIX`.
    """

    tool: str
    params: Params
    files: Mapping[str, bytes]
    priority: Priority = Priority.FREE
    timeout_seconds: float = 300.0
    is_billed: bool = True  # unbilled calls never occupy every worker
    delivery: Delivery | None = None  # None: as the parameters say
    chaining: Chaining | None = None  # set for a step of a batch with several


@dataclass(frozen=True)
class ToolAnswer:
    """A finished call: `content` is the encoded picture of `format`, `width` x `height` pixels."""

    content: bytes
    format: str  # png, jpg, webp, avif, zip for an archive, or raw for the next step
    width: int
    height: int
    model: str | None  # the checkpoint used; None if the tool needs none
    device: str  # cpu, cuda
    source_width: int
    source_height: int
    fields: Mapping[str, Any] = field(default_factory=dict)  # fields that the tool adds to the answer
    warnings: tuple[str, ...] = ()
    processing_seconds: float = 0.0  # time in the worker
    decode_seconds: float = 0.0  # of these, for reading the image
    encode_seconds: float = 0.0  # and for writing the result
    queue_seconds: float = 0.0  # time in the queue before that
    #: How later calls read the picture as their mask: `luminance` or `alpha`; None if it is not a mask.
    mask_mode: str | None = None
    precision: str | None = None  # the arithmetic of `model`: f32, bf16, int8; None if not known
    artefacts: Mapping[str, bytes] = field(default_factory=dict)  # to store with the source picture


@dataclass(frozen=True)
class Progress:
    """Progress of a call. `fraction` 0..1 of its work; `queue_position` 1 = next, 0 = running."""

    stage: str
    fraction: float
    queue_position: int = 0


class Ticket(Protocol):
    """A submitted call."""

    @property
    def answer(self) -> Future[ToolAnswer]:
        """Resolves to the answer or raises an `ml.errors.MlError`."""

    @property
    def expected_seconds(self) -> float | None:
        """How long the work is expected to take; None before a worker has read the picture's header."""

    def cancel(self) -> None:
        """Stop it, queued or running: `answer` raises `Cancelled` at the next step, or after 5 s by force."""

    def drop_if_queued(self) -> bool:
        """Withdraw it unless a worker has started it. True if withdrawn (`answer` raises `Cancelled`)."""


async def answer_of(ticket: Ticket) -> ToolAnswer:
    """The answer of a submitted call, whose errors this raises. Cancelling this cancels the call."""
    answer = asyncio.wrap_future(ticket.answer)
    try:
        # Shielded, because cancelling the wrapper would cancel the backend's own future.
        return await asyncio.shield(answer)
    except asyncio.CancelledError:
        # Retrieve the exception so that asyncio does not warn.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        ticket.cancel()
        raise


@dataclass(frozen=True)
class EngineState:
    """The engines of one tool, as reported by `GET /api/tools` and `/readyz`."""

    tool: str
    installed: tuple[str, ...]  # checkpoint names that can be requested
    missing: tuple[str, ...]  # messages: which checkpoints are not installed, and the command to install each
    device: str
    seconds_per_megapixel: float | None  # measured on this machine; None until the first call
    defaults: Mapping[str, Any] = field(
        default_factory=dict
    )  # of parameters whose default depends on the checkpoint


@dataclass(frozen=True)
class BackendState:
    ready: bool  # at least one worker is ready
    workers: int
    queued: int
    running: int
    device: str
    engines: tuple[EngineState, ...]


class Backend(Protocol):
    @property
    def worker_count(self) -> int:
        """How many workers there are, ready or not."""

    def start(self) -> None:
        """Start the workers. Returns at once; they warm up in the background."""

    def stop(self, grace_seconds: float) -> None:
        """Refuse new calls and fail waiting ones with `Overloaded`; running ones end within the grace period.

        Does not block. Only the first call sets the grace period.
        """

    def close(self) -> None:
        """`stop`, then wait for running calls and end every worker."""

    def submit(self, call: ToolCall, on_progress: Callable[[Progress], None] | None = None) -> Ticket:
        """Queue a call. Raises `Overloaded` when the queue is full or its expected wait is too long.

        `on_progress` is called from a thread of the backend.
        """

    def expected_seconds(self, tool: str, params: Params, source: tuple[int, int]) -> float | None:
        """How long a call on a picture of `source` (width, height) is expected to take, without waiting.

        None if neither this server's earlier calls nor the tool's own figures allow an estimate.
        """

    def check_installed(self, tool: str, params: Params) -> None:
        """Check that a call needs no checkpoint or library that is not installed, as far as that is known
        without its picture. Reads files: not for an event loop. Raises `ModelUnavailable`, `BadParameter`.
        """

    def state(self) -> BackendState: ...

    def statistics(self) -> Snapshot:
        """What was counted since the start."""
