"""`bgeraser run` as its own process, and small pictures for it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.checkpoints import models_dir
from tests.support.ml.photos import jpeg_bytes, photo

_ROOT = Path(__file__).resolve().parents[2]


def environment(data_dir: Path, settings: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BGERASER_")}
    paths = {"BGERASER_DATA_DIR": str(data_dir), "BGERASER_MODELS_DIR": str(models_dir())}
    return kept | paths | {"PYTHONPATH": str(_ROOT)} | dict(settings)


@contextmanager
def started(
    folder: Path, *arguments: str | Path, settings: Mapping[str, str] | None = None
) -> "Iterator[subprocess.Popen[bytes]]":
    """Start it in `folder`, which also has its data; killed at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "web.cli", "run", *arguments],
        cwd=folder,
        env=environment(folder / ".data", settings or {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell lets the processes that it starts in the background ignore SIGINT, the test suite too.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - takes no lock
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def run(
    folder: Path, *arguments: str | Path, sent: bytes = b"", settings: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[bytes]":
    """Run it to its end. `settings` are environment variables."""
    with started(folder, *arguments, settings=settings) as process:
        stdout, stderr = process.communicate(sent, timeout=240)
    return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)


def lines(done: "subprocess.CompletedProcess[bytes]") -> list[dict[str, Any]]:
    """The lines of `--json`."""
    return [json.loads(line) for line in done.stdout.splitlines()]


def tree(folder: Path) -> list[str]:
    """The files below `folder`, hidden ones too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def small_picture(number: int) -> bytes:
    """A JPEG of 60 x 40 pixels; each number's differs."""
    pixels = np.array(photo("coffee")[:40, :60])
    for bit in range(7):  # blocks of a JPEG, so that its quantization keeps them apart
        pixels[:8, 8 * bit : 8 * bit + 8] = 255 * (number >> bit & 1)
        pixels[8:16, 8 * bit : 8 * bit + 8] = 255 * (number >> bit + 7 & 1)
    return jpeg_bytes(pixels)


def make_pictures(folder: Path, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"p{number:03}.jpg").write_bytes(small_picture(number))
