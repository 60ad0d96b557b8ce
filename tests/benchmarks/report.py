"""What a run of the benchmarks measured: rows, which are printed at once and written as Markdown and JSON."""

import json
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from tests.benchmarks.machine import Machine

Case = TypeVar("Case")

#: Where benchmarks keep the peer's environment and write reports.
DIRECTORY = Path("data/bench")
COLUMNS = ("Measure", "Unit", "bgeraser", "Peer", "Times better", "Floor", "Of the floor")
_WIDTHS = (48, 8, 8, 8, 12, 8, 12)


@dataclass(frozen=True)
class Row:
    """A figure of ours, beside the peer's and the floor in the same run.

    The floor is the least that the work costs on this machine: the network, the codec or the database without
    anything of ours around it. `at_most` is the bound that ours has to meet.
    """

    measure: str
    unit: str
    ours: float
    peer: float | None = None
    floor: float | None = None
    at_most: float | None = None

    @property
    def times_better(self) -> float | None:
        """How many times the peer's rate ours is, or ours the peer's seconds or bytes."""
        return None if self.peer is None else self._quotient(self.ours, self.peer)

    @property
    def share_of_floor(self) -> float | None:
        """1: ours is as good as the floor."""
        return None if self.floor is None else self._quotient(self.ours, self.floor)

    @property
    def is_above_bound(self) -> bool:
        return self.at_most is not None and self.ours > self.at_most

    def cells(self) -> tuple[str, ...]:
        above = f" (above {_number(self.at_most)})" if self.is_above_bound else ""
        better, share = self.times_better, self.share_of_floor
        return (
            self.measure,
            self.unit,
            _number(self.ours) + above,
            _number(self.peer),
            "" if better is None else f"{better:.1f}",
            _number(self.floor),
            "" if share is None else f"{share * 100:.0f} %",
        )

    def _quotient(self, ours: float, other: float) -> float | None:
        good, bad = (ours, other) if self.unit.endswith("/s") else (other, ours)
        return good / bad if bad else None


@dataclass
class Section:
    """The rows of one subject. `about` says what was done, `peer` which program it is compared with."""

    title: str
    about: str
    peer: str | None = None
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(
        self,
        measure: str,
        unit: str,
        ours: float,
        *,
        peer: float | None = None,
        floor: float | None = None,
        at_most: float | None = None,
    ) -> None:
        """Rates have a unit that ends in `/s` and are better if higher, everything else if lower."""
        row = Row(measure, unit, ours, peer, floor, at_most)
        self.rows.append(row)
        print(_padded(row.cells()), flush=True)

    def note(self, text: str) -> None:
        """Text below the table."""
        self.notes.append(text)
        print(text, flush=True)


class Report:
    """The sections of one run on one machine. `quick`: the first case of each, once."""

    def __init__(self, machine: Machine, *, quick: bool = False) -> None:
        self.machine = machine
        self.quick = quick
        self.sections: list[Section] = []
        self.failures: dict[str, str] = {}
        print("\n".join(machine.lines()), flush=True)

    def section(self, title: str, about: str, peer: str | None = None) -> Section:
        section = Section(title, about, peer)
        self.sections.append(section)
        beside = "" if peer is None else f", beside {peer}"
        print(f"\n{title}{beside}: {about}\n{_padded(COLUMNS)}", flush=True)
        return section

    def cases(self, full: Iterable[Case]) -> list[Case]:
        """Those to measure: all in a full run."""
        return list(full)[: self.times(sys.maxsize)]

    def times(self, full: int) -> int:
        """How often to repeat something that is repeated `full` times in a full run."""
        return 1 if self.quick else full

    def fail(self, benchmark: str, problem: str) -> None:
        """Record that a benchmark ended early; its rows so far stay."""
        self.failures[benchmark] = problem
        print(f"{benchmark} failed: {problem}", flush=True)

    def markdown(self) -> str:
        parts = ["# Benchmarks", "\n".join(f"- {line}" for line in self.machine.lines())]
        if self.quick:
            parts.append("A quick run: the first cases only, once, so the figures say little.")
        for section in self.sections:
            peer = "" if section.peer is None else f" The peer is {section.peer}."
            parts += [f"## {section.title}", f"{section.about}.{peer}"]
            parts += [table(COLUMNS, [row.cells() for row in section.rows]), *section.notes]
        parts += [f"{name} failed: {problem}" for name, problem in self.failures.items()]
        return "\n\n".join(parts) + "\n"

    def as_json(self) -> str:
        return json.dumps(
            {
                "machine": asdict(self.machine),
                "quick": self.quick,
                "sections": [asdict(section) for section in self.sections],
                "failures": self.failures,
            },
            indent=1,
        )

    def write(self, directory: Path = DIRECTORY) -> tuple[Path, Path]:
        """The Markdown and the JSON file, named by the time."""
        directory.mkdir(parents=True, exist_ok=True)
        name = datetime.now(UTC).strftime("bench-%Y%m%d-%H%M%S")
        markdown, data = directory / f"{name}.md", directory / f"{name}.json"
        markdown.write_text(self.markdown())
        data.write_text(self.as_json() + "\n")
        return markdown, data


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, without the columns in which every row is empty."""
    rows = list(rows)
    used = [number for number in range(len(columns)) if any(row[number] for row in rows)]
    lines = [[columns[number] for number in used], ["---"] * len(used)]
    lines += [[row[number] for number in used] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _padded(cells: Sequence[str]) -> str:
    first, *others = zip(cells, _WIDTHS, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]).rstrip()


def _number(value: float | None) -> str:
    """Three significant digits, without an exponent; counts in full."""
    if value is None:
        return ""
    if isinstance(value, int) or value == 0:
        return f"{value:,.0f}"
    rounded = float(f"{value:.3g}")
    digits = 2 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:,.{min(max(0, digits), 4)}f}"
