"""The worker process: receives calls on its socket, runs them one at a time, and sends the results.

It ends with its parent in any case, see `ml.runtime.child_process`.
"""

import contextlib
import ctypes
import importlib
import io
import logging
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from ml.backend import ToolAnswer, ToolCall
from ml.errors import Cancelled, MlError, OutOfMemory, TooSlow
from ml.runtime import child_process, duration_model
from ml.runtime.messages import CancelCall, StartCall, WorkerConfig
from ml.runtime.wire import Wire, WireBroken, dump_for_server, load_in_worker

log = logging.getLogger(__name__)

#: Minimum interval between progress reports; cancellation is checked at every step.
MIN_STEP_SECONDS = 0.05

Perform = Callable[[ToolCall, Any, Callable[[str, float], None]], ToolAnswer]


class _TurnedOutLong(Exception):
    """The call turned out to be a long one although it was not queued as such."""


class _Inbox:
    """Reads the socket on its own thread, so that a cancellation or the server's end is noticed at once."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._work: queue.SimpleQueue[tuple[StartCall, list[bytes]]] = queue.SimpleQueue()
        self.cancelled = 0  # number of the last call that was cancelled

    def start(self) -> None:
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def next(self) -> tuple[StartCall, list[bytes]]:
        return self._work.get()

    def _read(self) -> None:
        status = 0
        try:
            while True:
                body, payloads = self._wire.receive()
                message = load_in_worker(body)
                if isinstance(message, CancelCall):
                    self.cancelled = message.number
                else:
                    self._work.put((message, payloads))
                # Otherwise the last call's bytes would stay in memory until the next call.
                del body, payloads, message
        except WireBroken:
            pass  # the server has ended, or wants this worker to end
        except BaseException:
            traceback.print_exc()
            status = 1
        finally:
            # End the process even if native code is running.
            os._exit(status)


class _Run:
    """One call in this process."""

    def __init__(
        self,
        wire: Wire,
        inbox: _Inbox,
        work: StartCall,
        picture_memory_bytes: int,
        done_kinds: set[duration_model.Kind],
    ) -> None:
        self._wire = wire
        self._inbox = inbox
        self._work = work
        self._picture_memory_bytes = picture_memory_bytes
        self._done_kinds = done_kinds  # kinds of calls that this process has completed
        self._fraction = 0.0
        self._reported_at = 0.0
        self._stage = ""

    def _send(self, kind: str, **message: Any) -> None:
        body, payloads = dump_for_server({"kind": kind, "number": self._work.number, **message})
        self._wire.send(body, payloads)

    def step(self, stage: str, fraction: float) -> None:
        """Report the tool's progress. Raises Cancelled if the call was cancelled."""
        if self._inbox.cancelled == self._work.number:
            raise Cancelled("The call was stopped.")
        self._fraction = max(self._fraction, min(max(fraction, 0.0), 1.0))
        now = time.monotonic()
        if stage != self._stage or now - self._reported_at >= MIN_STEP_SECONDS:
            self._stage, self._reported_at = stage, now
            self._send("step", stage=stage, fraction=self._fraction)

    def run(self, perform: Perform, engines: Any, payloads: list[bytes]) -> None:
        work = self._work
        began = time.perf_counter()
        # From here on the call counts as started: if this process dies, the call may be the cause and is not
        # retried. It may also be suspended, for which the server corrects its time.
        self._send("started")
        try:
            call = _with_files(work.call, dict(zip(work.file_names, payloads, strict=True)))
            self._estimate(call)
            answer = perform(call, engines, self.step)
            seconds = time.perf_counter() - began
            is_cold = duration_model.kind(call) not in self._done_kinds
            self._done_kinds.add(duration_model.kind(call))
            memory = {} if engines is None else engines.memory_bytes
            self._send("done", answer=_as_message(answer), seconds=seconds, cold=is_cold, engines=memory)
        except _TurnedOutLong:
            self._send("long")
        except MemoryError:
            self._fail(OutOfMemory("The machine is out of memory for this call."))
        except Exception as error:
            self._fail(error)

    def _estimate(self, call: ToolCall) -> None:
        """Send an estimate of the call's work. Raises if it would take too long or must be requeued."""
        from ml import catalogue
        from ml.runtime import planning

        tool = catalogue.get(call.tool)
        try:
            plan = planning.plan(call)
        except MlError:
            if tool is None:
                return  # a tool outside the catalogue may accept other files
            raise
        planning.check_memory(plan, self._picture_memory_bytes)
        amount = duration_model.work(
            tool, call.params, plan.source_megapixels, plan.answer_megapixels, plan.answer_format
        )
        estimate = self._work.estimate or duration_model.FIRST_FIGURE
        seconds = estimate.seconds(amount)
        if estimate.refuses(amount, call.timeout_seconds):
            raise TooSlow(
                f"The call is expected to take about {seconds:.0f} seconds on this server;"
                f" it would be stopped after {call.timeout_seconds:.0f}."
            )
        is_trial = not estimate.may_refuse and estimate.exceeds(amount, call.timeout_seconds)
        self._send("estimated", work=amount, seconds=seconds, trial=is_trial)
        if self._work.long_seconds is not None and estimate.exceeds(amount, self._work.long_seconds):
            raise _TurnedOutLong

    def _fail(self, error: Exception) -> None:
        name = type(error).__name__ if isinstance(error, MlError) else ""
        text = "".join(traceback.format_exception(error))
        try:
            self._send("failed", error=name, args=list(error.args), traceback=text)
        except TypeError:  # arguments that cannot be sent
            self._send("failed", error=name, args=[str(error)], traceback=text)


def main() -> None:
    # The first to be killed when memory runs out.
    wire = child_process.enter(oom_score=800)
    logging.basicConfig(format="worker %(process)d: %(message)s")
    config: WorkerConfig = load_in_worker(wire.receive()[0])
    inbox = _Inbox(wire)
    inbox.start()
    perform: Perform = _load(config.perform)
    engines = _make_engines(config)
    done_kinds: set[duration_model.Kind] = set()
    if config.warm_up:
        done_kinds.add(_warm_up(perform, engines))
    body, _ = dump_for_server({"kind": "ready"})
    wire.send(body)
    with contextlib.suppress(WireBroken):  # the server has ended
        while True:
            work, payloads = inbox.next()
            _Run(wire, inbox, work, config.picture_memory_bytes, done_kinds).run(perform, engines, payloads)
            del work, payloads
            _trim_heap()


def _load(dotted_name: str) -> Any:
    module, _, attribute = dotted_name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _make_engines(config: WorkerConfig) -> Any:
    if not config.engines:
        return None
    import cv2

    cv2.setNumThreads(config.threads)
    make = _load(config.engines)
    return make(
        config.models_dir,
        config.cache_dir,
        config.device,
        config.engine_memory_bytes,
        generative=config.generative,
        precision=config.precision,
    )


def _warm_up(perform: Perform, engines: Any) -> duration_model.Kind:
    """Run the most used tool once on a small picture, to load imports, the checkpoint and codecs.

    Returns the kind of this call.
    """
    from PIL import Image, ImageDraw

    from ml.catalogue import TOOLS

    picture = io.BytesIO()
    # A plain disc, which is detected, so that refinement and encoding are warmed up too.
    scene = Image.new("RGB", (256, 256), "white")
    ImageDraw.Draw(scene).ellipse((64, 64, 192, 192), fill="crimson")
    scene.save(picture, "PNG")
    call = ToolCall("bg-removal", TOOLS["bg-removal"].params(), {"image": picture.getvalue()})
    try:
        perform(call, engines, lambda _stage, _fraction: None)
    except MlError as error:
        log.info("Not warmed up: %s", error)
    except Exception:
        log.exception("Not warmed up")
    return duration_model.kind(call)


def _with_files(call: ToolCall, files: dict[str, bytes]) -> ToolCall:
    return replace(call, files=files)


def _as_message(answer: ToolAnswer) -> dict[str, Any]:
    # Not dataclasses.asdict, which would copy the picture.
    return {field.name: getattr(answer, field.name) for field in fields(answer)}


def _trim_heap() -> None:
    """Return freed memory to the system: it would count against this process's limit."""
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # not glibc
            ctypes.CDLL(None).malloc_trim(0)


if __name__ == "__main__":
    main()
