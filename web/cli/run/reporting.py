"""Tells the user how a run goes: a progress bar and failures on stderr, JSON lines on stdout."""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from web.cli.run import streams
from web.cli.run.types import Outcome, Status


class StderrConsole(Console):
    """Goes silent once stderr has no reader, where rich would end the process in the middle of its work."""

    def __init__(self) -> None:
        super().__init__(stderr=True, highlight=False)

    def on_broken_pipe(self) -> None:
        self.quiet = True


class Report:
    """Counts outcomes and prints them. `lists_results`: print a line for each result too."""

    def __init__(self, console: Console, *, as_json: bool, lists_results: bool) -> None:
        self.counts: Counter[Status] = Counter()
        self._console = console
        self._as_json = as_json
        self._lists_results = lists_results
        self._warnings: Counter[str] = Counter()
        self._credits: int | None = None
        self._began = time.monotonic()
        self._bar: tuple[Progress, TaskID] | None = None

    def add(self, outcome: Outcome) -> None:
        """Raises RunStopped if its line of JSON cannot be written."""
        self.counts[outcome.status] += 1
        self._warnings.update(set(outcome.data.get("warnings", ())))
        charged = outcome.data.get("creditsCharged")
        if isinstance(charged, int):
            self._credits = (self._credits or 0) + charged
        if outcome.failure is not None:
            self.note(f"{printable(outcome.source)}: {outcome.failure.message}")
        elif self._lists_results and outcome.status is Status.DONE and outcome.output is not None:
            self.note(f"{printable(outcome.source)} -> {printable(outcome.output)}")
        if self._bar is not None:
            bars, task = self._bar
            bars.advance(task)
        if self._as_json:
            streams.write_stdout(json.dumps(_as_json(outcome)).encode() + b"\n")

    def note(self, line: str) -> None:
        """A line on stderr, above the progress bar."""
        try:
            self._console.print(_one_line(line), markup=False, highlight=False, soft_wrap=True)
        except OSError:  # stderr is on a full disk: nowhere is left to say so
            self._console.quiet = True

    def note_warnings(self) -> None:
        """A line for each kind of warning so far."""
        for warning, count in sorted(self._warnings.items()):
            self.note(f"Warning ({_count(count, 'picture')}): {warning}")

    def summarize(self) -> None:
        seconds = time.monotonic() - self._began
        self.note_warnings()
        done = self.counts[Status.DONE]
        parts = [f"{done} done"]
        parts += [
            f"{self.counts[status]} {status.value}"
            for status in (Status.SKIPPED, Status.FAILED)
            if self.counts[status]
        ]
        rate = f" ({done / seconds:.1f} images/s)" if done > 1 and seconds > 0 else ""
        credits = "" if self._credits is None else f", {_count(self._credits, 'credit')}"
        self.note(f"{', '.join(parts)} in {seconds:.1f} s{rate}{credits}")

    @contextmanager
    def progress(self, total: int | None) -> Iterator[None]:
        """Show a progress bar meanwhile, on a terminal."""
        # Lines of JSON on the same terminal would be drawn over.
        is_hidden = not self._console.is_terminal or (self._as_json and sys.stdout.isatty())
        if is_hidden or total is None:
            yield
            return
        bars = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            _RateColumn(),
            TextColumn("·"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            redirect_stdout=False,  # what goes to stdout may be piped elsewhere
        )
        with bars:
            self._bar = bars, bars.add_task("", total=total)
            try:
                yield
            finally:
                self._bar = None


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} images/s")


def printable(path: Path | str) -> str:
    """A file's name, or a text from the command line, for messages.

    Bytes that are not UTF-8 and control characters are escaped.
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _as_json(outcome: Outcome) -> dict[str, object]:
    failure = outcome.failure
    return {
        "input": printable(outcome.source),
        "output": None if outcome.output is None else printable(outcome.output),
        "status": outcome.status.value,
        **outcome.data,
        **(
            {}
            if failure is None
            else {"error": {"code": failure.code, "message": failure.message, "param": failure.param}}
        ),
    }


def _one_line(text: str) -> str:
    """Messages may come from a server: nothing in them may control the terminal."""
    return "".join(one if one.isprintable() else " " for one in text)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
