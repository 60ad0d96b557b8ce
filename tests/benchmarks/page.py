"""docs/performance.md: one table for each class of processor, which `make bench BENCH=--page` writes."""

from pathlib import Path

from tests.benchmarks.report import COLUMNS, Report, table
from tests.support import page_parts

PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"


class NotForThePage(ValueError):
    """A run that says nothing about a class of processor."""


def write_class(report: Report, page: Path = PAGE) -> None:
    """Replace the table of the class of processor that was measured.

    Raises NotForThePage for a quick run, and on a processor without a class.
    """
    name = report.machine.processor_class
    if report.quick:
        raise NotForThePage("A quick run measures too little for the page.")
    if name is None:
        raise NotForThePage("The page has no table for processors without AVX2.")
    page_parts.write_part(page, name, "make bench", part(report))


def part(report: Report) -> str:
    """Where it was measured, and every row in one table."""
    rows = []
    for section in report.sections:
        for row in section.rows:
            measure, unit, ours, peer, *others = row.cells()
            beside = f"{peer} ({section.peer})" if peer and section.peer else peer
            rows.append((f"{section.title}: {measure}", unit, ours, beside, *others))
    lines = "\n".join(f"- {line}" for line in report.machine.lines())
    failed = [f"Not measured, because it failed: {', '.join(report.failures)}."] if report.failures else []
    return "\n\n".join([lines, table(COLUMNS, rows), *failed]) + "\n"
