"""The standard streams, any of which may be closed, full or a pipe without a reader.

A stream that the caller has closed is None in `sys`.
"""

import contextlib
import os
import sys

from web.cli.run.parameters import reason
from web.cli.run.types import RunStopped


def fill_closed() -> None:
    """Open the null device for closed streams.

    Otherwise their descriptors go to the next sockets, which worker processes take for their streams.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest free number


def read_stdin(limit_bytes: int) -> bytes:
    """Everything up to one byte more than the limit. Raises RunStopped."""
    assert sys.stdin is not None
    try:
        return sys.stdin.buffer.read(limit_bytes + 1) or b""
    except OSError as error:
        raise RunStopped(f"stdin cannot be read: {reason(error)}.") from None


def write_stdout(content: bytes) -> None:
    """Write it at once. After a failure, which raises RunStopped, whatever follows is discarded."""
    assert sys.stdout is not None
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except OSError as error:
        _discard_stdout()
        raise RunStopped(f"stdout cannot be written: {reason(error)}.") from None


def _discard_stdout() -> None:
    """What is still buffered would fail again when the interpreter flushes it at its end."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, sys.stdout.fileno())
        finally:
            os.close(nowhere)
