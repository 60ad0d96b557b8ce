"""What a worker may be made to run: real work of every temper, imported by the worker process itself.

The tool's name chooses the workload. Blocking ones wait for a file to appear at `gate`, so that a test says
when they go on.
"""

import ctypes
import hashlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from ml.backend import ToolAnswer, ToolCall
from ml.errors import BadParameter, Cancelled, ModelUnavailable
from ml.params import Params

OnStep = Callable[[str, float], None]


class WorkloadParams(Params):
    gate: str = ""
    amount: int = 0


_kept: list[bytes] = []  # what a leaking workload never gives back


def perform(call: ToolCall, engines: Any, on_step: OnStep) -> ToolAnswer:
    content = _WORKLOADS[call.tool](call, on_step)
    return ToolAnswer(
        content=content or call.files["image"],
        format="png",
        width=3,
        height=2,
        model=None,
        device="cpu",
        source_width=3,
        source_height=2,
        fields={"pid": os.getpid(), "score": np.float32(0.5), "masks": [b"\x00\xff"]},
        warnings=("one",),
    )


def _echo(call: ToolCall, on_step: OnStep) -> bytes:
    for step in range(5):
        on_step(f"step {step}", step / 4)
    return hashlib.sha256(call.files["image"]).digest() + call.files["image"]


def _wait(call: ToolCall, on_step: OnStep) -> None:
    on_step("began", 0.1)
    while not Path(call.params.gate).exists():  # type: ignore[attr-defined]
        time.sleep(0.005)


def _locked(call: ToolCall, on_step: OnStep) -> None:
    """Waits for its gate with a file lock, and notes the end of waiting in a file before releasing it."""
    gate = call.params.gate  # type: ignore[attr-defined]
    with FileLock(f"{gate}.lock"):
        _wait(call, on_step)
        Path(f"{gate}-passed").touch()


def _polite(call: ToolCall, on_step: OnStep) -> None:
    while True:
        on_step("began", 0.1)
        time.sleep(0.005)


def _stubborn(call: ToolCall, on_step: OnStep) -> None:
    on_step("began", 0.1)
    while True:
        time.sleep(1)


def _stubborn_to_the_end(call: ToolCall, on_step: OnStep) -> None:
    """Hears of its cancel and works on all the same until it is done."""
    try:
        _polite(call, on_step)
    except Cancelled:
        return


def _deaf(call: ToolCall, on_step: OnStep) -> None:
    """Holds the interpreter's lock in native code, so that not even the inbox thread runs."""
    on_step("began", 0.1)
    ctypes.PyDLL(None).sleep(10_000)


def _exit(call: ToolCall, on_step: OnStep) -> None:
    os._exit(3)


def _segfault(call: ToolCall, on_step: OnStep) -> None:
    signal.raise_signal(signal.SIGSEGV)


def _eat(call: ToolCall, on_step: OnStep) -> None:
    eaten = []
    while True:
        eaten.append(b"x" * (8 << 20))
        time.sleep(0.002)


def _leak(call: ToolCall, on_step: OnStep) -> None:
    _kept.append(b"x" * call.params.amount)  # type: ignore[attr-defined]


def _no_memory(call: ToolCall, on_step: OnStep) -> None:
    bytearray(1 << 62)


def _defect(call: ToolCall, on_step: OnStep) -> None:
    raise ZeroDivisionError("a defect of ours")


def _bad_parameter(call: ToolCall, on_step: OnStep) -> None:
    raise BadParameter("x", "the box lies outside the picture")


def _unavailable(call: ToolCall, on_step: OnStep) -> None:
    raise ModelUnavailable("isnet-general-use", "bgeraser models pull isnet-general-use")


def _our_socket() -> socket.socket:
    return socket.socket(fileno=os.dup(int(sys.argv[1])))


def _garbage(call: ToolCall, on_step: OnStep) -> None:
    with _our_socket() as end:
        end.send(os.urandom(4096))
    _stubborn(call, on_step)


def _nonsense(call: ToolCall, on_step: OnStep) -> None:
    """A well-formed frame that announces more than any answer."""
    with _our_socket() as end:
        end.send(
            b"bge1" + (2).to_bytes(4, "big") + (1).to_bytes(4, "big") + (1 << 60).to_bytes(8, "big") + b"{}"
        )
    _stubborn(call, on_step)


_WORKLOADS: dict[str, Callable[[ToolCall, OnStep], bytes | None]] = {
    "echo": _echo,
    "wait": _wait,
    "locked": _locked,
    "polite": _polite,
    "stubborn": _stubborn,
    "stubborn to the end": _stubborn_to_the_end,
    "deaf": _deaf,
    "exit": _exit,
    "segfault": _segfault,
    "eat": _eat,
    "leak": _leak,
    "no memory": _no_memory,
    "defect": _defect,
    "bad parameter": _bad_parameter,
    "unavailable": _unavailable,
    "garbage": _garbage,
    "nonsense": _nonsense,
}
