"""`make bench`: every benchmark, or those named: `python -m tests.benchmarks bg_removal`.

Prints each figure as it is measured and writes all as Markdown and JSON into data/bench. A benchmark that
fails does not stop the others. With BGERASER_CPU_LIMIT, engines use no newer instruction sets than these.
"""

import argparse
import importlib
import os
import sys
import traceback

from ml import device
from tests.benchmarks import machine, page
from tests.benchmarks.report import Report

BENCHMARKS = (
    "start_up",
    "memory",
    "bg_removal",
    "small_crop",
    "folder",
    "selecting",
    "upscale",
    "filling",
    "diffusion",
    "admissions",
    "loop_lag",
    "fairness",
    "volume",
    "replicas",
    "editor_page",
    "look_changes",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument(
        "--quick", action="store_true", help="the first case of each, once, to see that it works"
    )
    parser.add_argument(
        "--page", action="store_true", help="write this processor's table of docs/performance.md"
    )
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - set(BENCHMARKS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(BENCHMARKS)}")
    if chosen.page and chosen.quick:
        parser.error("--page needs full runs")
    # As users start servers: the second start finds its modules compiled.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # For the engines in this process and in all that it starts. They read it when they are imported.
    try:
        limit = machine.cpu_limit()
    except ValueError as error:
        parser.error(str(error))
    os.environ.update(device.limit_environment(limit))
    report = Report(machine.describe(), quick=chosen.quick)
    for name in chosen.names or BENCHMARKS:
        run(name, report)
    for path in report.write():
        print(path)
    if chosen.page:
        page.write_class(report)
    return 1 if report.failures else 0


def run(name: str, report: Report) -> None:
    """Run one benchmark; a failure becomes part of the report."""
    try:
        importlib.import_module(f"tests.benchmarks.{name}").main(report)
    except Exception as error:
        traceback.print_exc()
        report.fail(name, f"{type(error).__name__}: {error}"[:500])


if __name__ == "__main__":
    sys.exit(main())
