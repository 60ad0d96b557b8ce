"""`bgeraser run` beside `rembg p`: the same checkpoint, folder and machine, from the start of each command.

Both are run on one photo first, so that each has compiled what it keeps for later runs. Then they take turns.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.benchmarks import load, peer
from tests.benchmarks.photos import SIZES, iou, jpegs_of
from tests.benchmarks.report import Report
from tests.support import checkpoints

PHOTOS = 16
TURNS = 2
_LONGEST_SECONDS = 900


@dataclass(frozen=True)
class Command:
    """Takes a folder of photos and one for the results."""

    arguments: list[str]
    environment: dict[str, str]
    results_first: bool = False


@dataclass(frozen=True)
class Measured:
    """Seconds from the start of the command."""

    first_seconds: float
    all_seconds: float
    results: Path


def main(report: Report) -> None:
    count = report.times(PHOTOS)
    section = report.section(
        "Folder",
        f"bgeraser run on {count} photos of 1 MP, from the start of the command; {peer.ABOUT}",
        peer.COMMAND,
    )
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        our_environment = os.environ | {
            "BGERASER_DATA_DIR": str(root / "data"),
            "BGERASER_MODELS_DIR": str(checkpoints.models_dir()),
        }
        run = [
            sys.executable,
            "-m",
            "web.cli",
            "run",
            "bg-removal",
            "--local",
            "-p",
            "model=quality",
            "--out",
        ]
        commands = {
            "ours": Command(run, our_environment, results_first=True),
            "peer": Command(*peer.folder_command()),
        }
        for photos, number in (("one", 1), ("many", count)):
            _write_photos(root / photos, number)
        for command in commands.values():
            _measure(command, root / "one", root)
        works = {
            label: partial(_measure, command, root / "many", root) for label, command in commands.items()
        }
        measured = load.in_turns(works, report.times(TURNS))
        mine, theirs = measured["ours"], measured["peer"]
        agreement = _agreement(mine[0].results, theirs[0].results)
    firsts, alls = (
        [statistics.median(getattr(one, name) for one in several) for several in (mine, theirs)]
        for name in ("first_seconds", "all_seconds")
    )
    section.add("first result", "s", firsts[0], peer=firsts[1])
    section.add("all results", "images/s", count / alls[0], peer=count / alls[1])
    section.note(
        f"Overlap (IoU) of both cut-outs: at least {min(agreement):.2f}, median "
        f"{statistics.median(agreement):.2f}."
    )


def _agreement(ours: Path, theirs: Path) -> list[float]:
    results = sorted(ours.glob("*.png")), sorted(theirs.glob("*.png"))
    return [iou(one.read_bytes(), other.read_bytes()) for one, other in zip(*results, strict=True)]


def _write_photos(folder: Path, count: int) -> None:
    folder.mkdir()
    jpegs = jpegs_of(SIZES["1 MP"])
    for number in range(count):
        (folder / f"{number:02}.jpg").write_bytes(jpegs[number % len(jpegs)])


def _measure(command: Command, photos: Path, root: Path) -> Measured:
    """Run a command that writes PNGs into a new folder of `root`."""
    results = Path(tempfile.mkdtemp(dir=root))
    folders = [str(results), str(photos)] if command.results_first else [str(photos), str(results)]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command.arguments, *folders],
        env=command.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    first_seconds = 0.0
    try:
        while process.poll() is None:
            seconds = time.perf_counter() - began
            if not first_seconds and any(results.glob("*.png")):
                first_seconds = seconds
            if seconds > _LONGEST_SECONDS:
                raise RuntimeError(f"{command.arguments[0]} did not end")
            time.sleep(0.01)
    finally:
        process.kill()
        _, problems = process.communicate()
    all_seconds = time.perf_counter() - began
    if process.returncode != 0:
        raise RuntimeError(problems.decode(errors="replace")[-2000:])
    return Measured(first_seconds or all_seconds, all_seconds, results)
