"""Frames between the server and a worker process over a socket pair.

A frame is a small body and any number of payloads, which carry pictures as raw bytes. Bodies sent to the
worker are pickled. Those from the worker are JSON: workers decode untrusted pictures in native code, so their
output is never unpickled, and every length they announce is checked before memory is allocated.
"""

import json
import pickle
import select
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from typing import Any

_HEAD = struct.Struct(">4sII")  # magic, length of the body, number of payloads
_LENGTH = struct.Struct(">Q")
_MAGIC = b"bge1"

MAX_BODY_BYTES = 64 << 20
MAX_PAYLOADS = 64
MAX_PAYLOAD_BYTES = 1 << 30  # all payloads of a frame together

#: Time limit for transferring a frame once it has begun.
STALL_SECONDS = 30.0


class WireBroken(Exception):
    """The other side has ended, stalls in the middle of a frame, or sent an invalid frame."""


class WorkerGone(WireBroken):
    """The worker is gone together with its machine, or cannot be reached: not by the fault of its call."""


class Wire:
    """One end of the connection. Each direction may be used by its own thread."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def send(self, body: bytes, payloads: Sequence[bytes] = ()) -> None:
        """Write a frame. Raises WireBroken."""
        deadline = time.monotonic() + STALL_SECONDS
        head = _HEAD.pack(_MAGIC, len(body), len(payloads))
        lengths = b"".join(_LENGTH.pack(len(payload)) for payload in payloads)
        for part in (head + lengths + body, *payloads):
            rest = memoryview(part)
            while rest:
                self._wait(select.POLLOUT, deadline)
                try:
                    rest = rest[self._socket.send(rest) :]
                except BlockingIOError:
                    continue
                except OSError as error:
                    raise WireBroken(f"writing failed: {error}") from None

    def receive(self) -> tuple[bytes, list[bytes]]:
        """Wait for a frame and read it: its body and payloads. Raises WireBroken."""
        self._wait(select.POLLIN, None)
        deadline = time.monotonic() + STALL_SECONDS
        magic, body_bytes, count = _HEAD.unpack(self._read(_HEAD.size, deadline))
        if magic != _MAGIC or body_bytes > MAX_BODY_BYTES or count > MAX_PAYLOADS:
            raise WireBroken("not a valid frame")
        lengths = [_LENGTH.unpack(self._read(_LENGTH.size, deadline))[0] for _ in range(count)]
        if sum(lengths) > MAX_PAYLOAD_BYTES:
            raise WireBroken("the frame is too large")
        body = self._read(body_bytes, deadline)
        return body, [self._read(length, deadline) for length in lengths]

    def _read(self, size: int, deadline: float) -> bytes:
        buffer = bytearray(size)
        rest = memoryview(buffer)
        while rest:
            self._wait(select.POLLIN, deadline)
            try:
                count = self._socket.recv_into(rest)
            except BlockingIOError:
                continue
            except OSError as error:
                raise WireBroken(f"reading failed: {error}") from None
            if count == 0:
                raise WireBroken("the other side has closed the connection")
            rest = rest[count:]
        return bytes(buffer)

    def _wait(self, event: int, deadline: float | None) -> None:
        poll = select.poll()
        poll.register(self._socket, event)
        # A closed socket counts as an event: reading or writing then fails.
        left_ms = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        if not poll.poll(left_ms):
            raise WireBroken("the other side stalls in the middle of a frame")


def dump_for_worker(message: Any) -> bytes:
    """The body of a frame to a worker."""
    return pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)


def load_in_worker(body: bytes) -> Any:
    """The message in a frame from the server, which a worker trusts."""
    return pickle.loads(body)  # noqa: S301 (read by the worker from the process that started it)


def dump_for_server(message: Mapping[str, Any]) -> tuple[bytes, list[bytes]]:
    """Body and payloads of a frame to the server. Bytes anywhere in `message` become payloads."""
    payloads: list[bytes] = []

    def replace(value: Any) -> Any:
        if isinstance(value, bytes | bytearray | memoryview):
            payloads.append(bytes(value))
            return {"$payload": len(payloads) - 1}
        if hasattr(value, "tolist"):  # numpy's scalars and arrays, without importing numpy
            return value.tolist()
        raise TypeError(f"{type(value).__name__} cannot be sent to the server")

    return json.dumps(message, default=replace).encode(), payloads


def load_in_server(body: bytes, payloads: Sequence[bytes]) -> dict[str, Any]:
    """The message in a frame from a worker. Raises WireBroken for anything else than a JSON object."""

    def restore(value: dict[str, Any]) -> Any:
        return payloads[value["$payload"]] if value.keys() == {"$payload"} else value

    try:
        message = json.loads(body, object_hook=restore)
    except (ValueError, RecursionError, LookupError, TypeError) as error:
        raise WireBroken(f"not a valid message: {error}") from None
    if not isinstance(message, dict):
        raise WireBroken("not a valid message")
    return message
