"""Pictures go through a runner several at a time, and never more of them are in memory."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from web.cli.run import pipeline
from web.cli.run.outputs import OutputFolder, Target
from web.cli.run.pipeline import Skipping
from web.cli.run.types import Outcome, Result, RunStopped, Source, Status

ALL = Skipping(is_wanted=False, formats=("png",))


class CopyingRunner:
    """Answers each file as it is, and counts how many it has at once."""

    parallel = 3
    file_limit_bytes = 1000

    def __init__(self, stops_after: int | None = None) -> None:
        self.most_at_once = self.runs = self._running = 0
        self._stops_after = stops_after

    async def run(self, content: bytes) -> Result:
        self.runs += 1
        self._running += 1
        self.most_at_once = max(self.most_at_once, self._running)
        try:
            if self.runs == self._stops_after:
                raise RunStopped("No credits are left.")
            await asyncio.sleep(0.001)
            return Result(content, "png")
        finally:
            self._running -= 1

    def start_no_more(self) -> None: ...

    async def close(self) -> None: ...


def process(
    sources: list[Source], out: Path, runner: CopyingRunner, skipping: Skipping = ALL
) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {}

    async def targets() -> AsyncIterator[Target]:
        for target in OutputFolder(out, "crop", ("png",), set()).assign(sources):
            yield target

    def add(outcome: Outcome) -> None:
        outcomes[outcome.source.name] = outcome

    asyncio.run(pipeline.process(targets(), runner, skipping, add))
    return outcomes


def write(folder: Path, count: int) -> list[Source]:
    paths = [folder / f"{number:03}.png" for number in range(count)]
    for path in paths:
        path.write_bytes(path.name.encode())
    return [Source(path) for path in paths]


def test_every_source_gets_its_own_result(tmp_path: Path) -> None:
    runner = CopyingRunner()
    outcomes = process(write(tmp_path, 50), tmp_path / "out", runner)
    assert runner.most_at_once == runner.parallel
    assert len(outcomes) == 50
    for name, outcome in outcomes.items():
        assert outcome.status is Status.DONE
        assert outcome.output == tmp_path / "out" / name
        assert outcome.output.read_bytes() == name.encode()


def test_a_file_that_cannot_be_read_or_written_fails_alone(tmp_path: Path) -> None:
    sources = write(tmp_path, 4)
    sources[1].path.unlink()
    sources[2].path.write_bytes(b"x" * 1001)
    (tmp_path / "empty.png").touch()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "out" / "003.png").mkdir(parents=True)
    more = [Source(tmp_path / "pipe.png"), Source(tmp_path / "empty.png")]
    runner = CopyingRunner()
    outcomes = process([*sources, *more], tmp_path / "out", runner)
    messages = {name: one.failure.message for name, one in outcomes.items() if one.failure is not None}
    assert messages == {
        "001.png": "no such file or directory",
        "002.png": "is too large: at most 0 MiB",
        "003.png": "003.png cannot be written: is a directory",
        "pipe.png": "is not a regular file",
        "empty.png": "is empty",
    }
    assert runner.runs == 2
    assert outcomes["000.png"].status is Status.DONE


def test_existing_results_are_skipped_without_reading_their_sources(tmp_path: Path) -> None:
    sources = write(tmp_path, 3)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "001.png").write_bytes(b"earlier")
    sources[1].path.unlink()
    outcomes = process(sources, tmp_path / "out", CopyingRunner(), Skipping(True, ("png",)))
    assert [one.status.value for _, one in sorted(outcomes.items())] == ["done", "skipped", "done"]
    assert (tmp_path / "out" / "001.png").read_bytes() == b"earlier"


def test_a_reason_to_stop_ends_the_run_once(tmp_path: Path) -> None:
    runner = CopyingRunner(stops_after=10)
    with pytest.raises(RunStopped, match=r"^No credits are left\.$"):
        process(write(tmp_path, 50), tmp_path / "out", runner)
    assert runner.runs <= 10 + runner.parallel


def test_calls_that_run_when_the_run_stops_finish_and_are_written(tmp_path: Path) -> None:
    """Their results may have been paid. Watched folders, whose targets never end, do not hold the end up."""
    outcomes: dict[str, Outcome] = {}
    sources = write(tmp_path, 3)

    class LastOneStops(CopyingRunner):
        parallel = 5

        async def run(self, content: bytes) -> Result:
            if content == b"002.png":
                raise RunStopped("No credits are left.")
            await asyncio.sleep(0.1)
            return await super().run(content)

    async def targets() -> AsyncIterator[Target]:
        for target in OutputFolder(tmp_path / "out", "crop", ("png",), set()).assign(sources):
            yield target
        await asyncio.Event().wait()

    async def work() -> None:
        async with asyncio.timeout(60):
            await pipeline.process(
                targets(), LastOneStops(), ALL, lambda one: outcomes.update({one.source.name: one})
            )

    with pytest.raises(RunStopped):
        asyncio.run(work())
    assert {name: one.status for name, one in outcomes.items()} == {
        "000.png": Status.DONE,
        "001.png": Status.DONE,
    }
    assert (tmp_path / "out/001.png").read_bytes() == b"001.png"
