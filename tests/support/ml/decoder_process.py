"""Runs `decode` in a process of its own, as workers do, and reports what a file cost there."""

import json
import resource
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import PIPE
from types import TracebackType
from typing import IO, Self

from ml.errors import MlError
from ml.imaging import codecs

#: A bomb that goes off fails its test and leaves the machine alone.
_MOST_BYTES = 6 << 30


@dataclass(frozen=True)
class Verdict:
    """What became of one file: `outcome` is `decoded`, `crash` or the class name of what was raised."""

    outcome: str
    is_clean: bool  # decoded, or refused with one of our own errors
    message: str
    cpu_seconds: float
    extra_bytes: int  # the process's memory at its highest, over what it had before its first picture


class DecoderProcess:
    """One decoding process; a crash is reported as a verdict and the process replaced."""

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()  # it ends with its input
        self._errors.close()

    def decode(self, content: bytes) -> Verdict:
        try:
            _send(self._process.stdin, content)
            return Verdict(**json.loads(_receive(self._process.stdout)))
        except (EOFError, OSError):
            self._process.communicate()
            self._errors.seek(0)
            message = f"ended with code {self._process.returncode}: {self._errors.read().decode()[-2000:]}"
            self._errors.close()
            self._start()
            return Verdict("crash", False, message, 0.0, 0)

    def kill(self) -> None:
        self._process.kill()

    def _start(self) -> None:
        command = [sys.executable, "-m", "tests.support.ml.decoder_process"]
        root = Path(__file__).parents[3]
        # A file, because decoders write so much about damaged files that a pipe that nobody reads fills up.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed with the process
        self._process = subprocess.Popen(command, cwd=root, stdin=PIPE, stdout=PIPE, stderr=self._errors)


def _send(stream: IO[bytes] | None, content: bytes) -> None:
    assert stream is not None
    stream.write(struct.pack(">Q", len(content)) + content)
    stream.flush()


def _receive(stream: IO[bytes] | None) -> bytes:
    assert stream is not None
    header = stream.read(8)
    if len(header) < 8:
        raise EOFError
    return stream.read(struct.unpack(">Q", header)[0])


def _serve() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    idle_bytes = _memory("VmRSS")
    while True:
        try:
            content = _receive(sys.stdin.buffer)
        except EOFError:
            return
        _send(sys.stdout.buffer, json.dumps(asdict(_judge(content, idle_bytes))).encode())


def _judge(content: bytes, idle_bytes: int) -> Verdict:
    _forget_peak()
    began = time.process_time()
    outcome, is_clean, message = "decoded", True, ""
    try:
        codecs.decode(content)
    except Exception as error:
        outcome, is_clean, message = type(error).__name__, isinstance(error, MlError), str(error)
    seconds = time.process_time() - began
    return Verdict(outcome, is_clean, message, seconds, _memory("VmHWM") - idle_bytes)


def _forget_peak() -> None:
    reset = Path("/proc/self/clear_refs")  # Linux; elsewhere the peak is that of the process's whole life
    if reset.exists():
        reset.write_text("5")


def _memory(name: str) -> int:
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith(name))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    _serve()
