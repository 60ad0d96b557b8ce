"""docs/performance.md: one table for each class of processor, which `make bench BENCH=--page` writes."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from tests.benchmarks.machine import ProcessorClass
from tests.benchmarks.report import COLUMNS, Report, table
from tests.support import page_parts

PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"


_COMMAND = "make bench"

Row = tuple[str, ...]  # a cell for each of COLUMNS


class NotForThePage(ValueError):
    """A run that says nothing about a class of processor."""


def write_class(report: Report, page: Path = PAGE) -> None:
    """Write what was measured into the table of the class of processor; its other rows stay.

    Raises NotForThePage for a quick run, and on a processor without a class.
    """
    name = report.machine.processor_class
    if report.quick:
        raise NotForThePage("A quick run measures too little for the page.")
    if name is None:
        raise NotForThePage("The page has no table for processors without AVX2.")
    earlier = _rows_of(page_parts.read_part(page, name, _COMMAND))
    page_parts.write_part(page, name, _COMMAND, part(report, earlier))


def part(report: Report, earlier: Sequence[Row] = ()) -> str:
    """Where it was measured, and every row in one table, with `earlier` ones that were not measured again."""
    rows: list[Row] = []
    for section in report.sections:
        for row in section.rows:
            measure, unit, ours, peer, *others = row.cells()
            beside = f"{peer} ({section.peer})" if peer and section.peer else peer
            rows.append((f"{section.title}: {measure}", unit, ours, beside, *others))
    measured = {row[0]: row for row in rows}
    kept = [measured.pop(row[0], row) for row in earlier]
    rows = [*kept, *measured.values()]
    lines = "\n".join(f"- {line}" for line in report.machine.lines())
    failed = [f"Not measured, because it failed: {', '.join(report.failures)}."] if report.failures else []
    return "\n\n".join([lines, table(COLUMNS, rows), *failed]) + "\n"


def figures(beginning: str, page: Path = PAGE) -> dict[str, float]:
    """Our figures whose measure begins so, by the measure, from the fastest class that has any."""
    for name in reversed(get_args(ProcessorClass)):
        rows = _rows_of(page_parts.read_part(page, name, _COMMAND))
        found = {row[0]: row[2] for row in rows if row[0].startswith(beginning)}
        if found:
            return {measure: float(cell.split(" ")[0].replace(",", "")) for measure, cell in found.items()}
    raise ValueError(f"no table of {page} has figures of {beginning!r}")


def _rows_of(text: str) -> list[Row]:
    """The rows of the table in a part of the page."""
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line[:1] == "|"
    ]
    if not lines:
        return []
    names, _, *rows = lines
    if not set(names) <= set(COLUMNS):
        return []  # of an earlier form of the page
    return [tuple(dict(zip(names, row, strict=True)).get(column, "") for column in COLUMNS) for row in rows]
