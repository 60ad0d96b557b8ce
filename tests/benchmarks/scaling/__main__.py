"""`make scaling`: how many servers a rate of images needs, and what a month of images costs.

    python -m tests.benchmarks.scaling --measure --page

`--measure` takes the measured points on this machine, which should do nothing else, in less than six minutes,
and writes them as JSON into data/bench. Without it, the newest of these files is used, or the one named by
`--measured`. `--page` writes the tables of docs/scaling.md and docs/operations.md. The options for prices and
peaks change the tables, not what was measured.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks import machine, page
from tests.benchmarks.report import DIRECTORY
from tests.benchmarks.scaling import measuring, pages, server_costs
from tests.benchmarks.scaling.measuring import ClosedRun, OpenCall, OpenRun
from tests.benchmarks.scaling.server_costs import ServerCosts
from tests.benchmarks.scaling.sizing import Assumptions, Measurements

#: For everything that is measured.
MEASURING_SECONDS = 340.0
_ADMISSIONS = "Admissions: "


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = Assumptions()
    parser.add_argument("--measure", action="store_true", help="take the measured points")
    parser.add_argument("--seconds", type=float, default=MEASURING_SECONDS, help="for measuring, in all")
    parser.add_argument("--measured", type=Path, help="a JSON file of an earlier run")
    parser.add_argument("--page", action="store_true", help="write the documents")
    parser.add_argument(
        "--core-hour", type=float, default=default.core_hour_price, help="price of a core-hour"
    )
    parser.add_argument("--peak", type=float, default=default.peak_to_mean, help="peak rate by mean rate")
    parser.add_argument("--stored-hours", type=float, default=default.stored_hours, help="life of an image")
    chosen = parser.parse_args()
    path = measure(chosen.seconds) if chosen.measure else chosen.measured or newest(DIRECTORY)
    if path is None:
        parser.error("nothing was measured yet: use --measure")
    measured = loaded(path.read_text())
    assumed = Assumptions(chosen.core_hour, chosen.peak, chosen.stored_hours)
    if chosen.page:
        pages.write(measured, assumed)
        print(f"{pages.SCALING}\n{pages.OPERATIONS}")
    else:
        for name, text in pages.parts_of(measured, assumed).items():
            print(f"\n{name}\n\n{text}")
    return 0


def measure(seconds: float, directory: Path = DIRECTORY) -> Path:
    """Measure, and return the file that has the figures."""
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:4.0f} s  {what}", flush=True)

    described = machine.describe()
    admissions = {name.removeprefix(_ADMISSIONS): value for name, value in page.figures(_ADMISSIONS).items()}
    server = server_costs.measure(say)
    closed, opened = measuring.measure(seconds - (time.monotonic() - began), say)
    measured = Measurements(described.lines(), closed, opened, server, admissions)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / datetime.now(UTC).strftime("scaling-%Y%m%d-%H%M%S.json")
    path.write_text(json.dumps(asdict(measured), indent=1) + "\n")
    say(str(path))
    return path


def newest(directory: Path) -> Path | None:
    return max(directory.glob("scaling-*.json"), default=None)


def loaded(text: str) -> Measurements:
    """Measurements from their JSON."""
    values: dict[str, Any] = json.loads(text)
    return Measurements(
        values["machine"],
        [ClosedRun(**one) for one in values["closed"]],
        [OpenRun(**{**one, "calls": [OpenCall(**call) for call in one["calls"]]}) for one in values["open"]],
        ServerCosts.loaded(values["server"]),
        values["admissions"],
    )


if __name__ == "__main__":
    sys.exit(main())
