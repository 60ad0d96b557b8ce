"""`bgeraser run` beside `rembg p`: the same checkpoint, folder and machine, from the start of each command.

Both are run on one photo first, so that each has compiled what it keeps for later runs.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import peer
from tests.benchmarks.bg_removal import jpegs_of
from tests.support import checkpoints

PHOTOS = 16
SIZE = (1224, 816)
_LONGEST_SECONDS = 600


@dataclass(frozen=True)
class Measured:
    """Seconds from the start of the command."""

    first_seconds: float
    all_seconds: float


def main() -> None:
    print(
        f"folder: {PHOTOS} photos of 1 MP, ISNet on the same weights, seconds from the start of the command"
    )
    checkpoint = checkpoints.models_dir() / "isnet-general-use.onnx"
    their_command, their_environment = peer.folder_command(Path("data/bench").absolute(), checkpoint)
    our_command = [sys.executable, "-m", "web.cli", "run", "bg-removal", "--local", "-p", "model=quality"]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        our_environment = os.environ | {
            "BGERASER_DATA_DIR": str(root / "data"),
            "BGERASER_MODELS_DIR": str(checkpoints.models_dir()),
        }

        def ours(photos: Path, results: Path) -> Measured:
            return _measure([*our_command, "--out", str(results), str(photos)], our_environment, results)

        def theirs(photos: Path, results: Path) -> Measured:
            return _measure([*their_command, str(photos), str(results)], their_environment, results)

        for photos, count in (("one", 1), ("many", PHOTOS)):
            _write_photos(root / photos, count)
        ours(root / "one", root / "ours-one")
        theirs(root / "one", root / "theirs-one")
        mine = ours(root / "many", root / "ours-many")
        peers = theirs(root / "many", root / "theirs-many")
    print(f"{'':10}{'first s':>9}{'all s':>8}{'images/s':>10}")
    for label, measured in (("ours", mine), ("rembg p", peers)):
        rate = PHOTOS / measured.all_seconds
        print(f"{label:10}{measured.first_seconds:9.2f}{measured.all_seconds:8.1f}{rate:10.2f}")
    print(
        f"{'ratio':10}{peers.first_seconds / mine.first_seconds:9.1f}"
        f"{peers.all_seconds / mine.all_seconds:8.1f}",
        flush=True,
    )


def _write_photos(folder: Path, count: int) -> None:
    folder.mkdir()
    jpegs = jpegs_of(SIZE)
    for number in range(count):
        (folder / f"{number:02}.jpg").write_bytes(jpegs[number % len(jpegs)])


def _measure(command: list[str], environment: dict[str, str], results: Path) -> Measured:
    """Run a command that writes PNGs into `results`."""
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    first_seconds = 0.0
    try:
        while process.poll() is None:
            seconds = time.perf_counter() - began
            if not first_seconds and any(results.glob("*.png")):
                first_seconds = seconds
            if seconds > _LONGEST_SECONDS:
                raise RuntimeError(f"{command[0]} did not end")
            time.sleep(0.01)
    finally:
        process.kill()
        _, problems = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(problems.decode(errors="replace")[-2000:])
    return Measured(first_seconds, time.perf_counter() - began)
