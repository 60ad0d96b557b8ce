"""Progress of a pull on stderr: a progress bar on a terminal, otherwise plain lines."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from ml.checkpoints.fetching.pull import Pulled, PullProgress

_LINE_EVERY_FRACTION = 0.1  # of a download, without a terminal


@contextmanager
def shown(verbose: bool = True, failures: bool = True) -> Iterator[PullProgress]:
    """The progress object for a pull.

    With `verbose`, checkpoints that are already installed are listed too; with `failures`, those that failed.
    """
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield _Lines(verbose, failures)
        return
    bars = Bars(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[amount]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    with bars:
        yield _Bar(bars, verbose, failures)


class _Bar:
    """A bar for the current step, pulsing if its length is unknown, and a line for each finished item."""

    def __init__(self, bars: Bars, verbose: bool, failures: bool) -> None:
        self._bars = bars
        self._verbose = verbose
        self._failures = failures
        self._task: TaskID | None = None

    def stage(self, text: str) -> None:
        self._clear()
        self._task = self._bars.add_task(text, total=None, amount="")

    def received(self, file_name: str, done_bytes: int, total_bytes: int) -> None:
        if self._task is None:
            self._task = self._bars.add_task(file_name, amount="")
        amount = f"{done_bytes / 1e6:.0f} of {total_bytes / 1e6:.0f} MB"
        self._bars.update(self._task, completed=done_bytes, total=total_bytes, amount=amount)

    def finished(self, pulled: Pulled) -> None:
        self._clear()
        if line := _line(pulled, self._verbose, self._failures):
            self._bars.console.print(line, markup=False)

    def _clear(self) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None


class _Lines:
    def __init__(self, verbose: bool, failures: bool) -> None:
        self._verbose = verbose
        self._failures = failures
        self._next_fraction = 0.0

    def stage(self, text: str) -> None:
        self._next_fraction = _LINE_EVERY_FRACTION
        typer.echo(f"{text} …", err=True)

    def received(self, file_name: str, done_bytes: int, total_bytes: int) -> None:
        fraction = done_bytes / total_bytes
        if self._next_fraction <= fraction < 1:
            self._next_fraction = fraction + _LINE_EVERY_FRACTION
            typer.echo(f"{file_name}: {fraction:.0%} of {total_bytes / 1e6:.0f} MB", err=True)

    def finished(self, pulled: Pulled) -> None:
        if line := _line(pulled, self._verbose, self._failures):
            typer.echo(line, err=True)


def _line(pulled: Pulled, verbose: bool, failures: bool) -> str:
    """The result of one checkpoint. The command prints details of failures at the end."""
    name = pulled.checkpoint.name
    if pulled.problems and pulled.source is None:
        return f"{name}: failed" if failures else ""
    if pulled.source is None:
        return f"{name}: already installed" if verbose else ""
    return f"{name}: installed from {pulled.source} in {pulled.seconds:.1f} s"
