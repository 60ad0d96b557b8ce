"""Progress of work within a call."""

from collections.abc import Callable

#: Takes the finished share of the work, 0..1. Raises `Cancelled` if the caller asked to stop.
ReportProgress = Callable[[float], None]


def part_of(report: ReportProgress, number: int, count: int) -> ReportProgress:
    """The progress of part `number`, from 0, of `count` equal parts of the work."""
    return lambda fraction: report((number + fraction) / count)
