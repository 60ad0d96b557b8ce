"""Memory of each server and its workers when idle, and the peak while four callers send large photos.

The proportional set size of the whole tree of processes: what they share counts once. The servers run one
after the other, since memory does not depend on the load of the machine. Ours then gets many small mixed
calls, which must not make it grow.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from billing.ledger.plans import PlanName
from tests.benchmarks import load, ours, peer, processes
from tests.benchmarks.photos import SIZES, SMALL, jpegs_of
from tests.benchmarks.report import Report
from tests.support.server import RunningServer

CALLERS = 4
CALLS = 12
SETTLING_SECONDS = 3.0
MIXED_CALLS, FIRST_MIXED_CALLS = 2_000, 200
MOST_GROWTH_MIB = 50.0
#: Tools and their fields.
MIXED = (
    ("crop", {"width": "50%"}),
    ("bg-removal", {"model": "fast"}),
    ("brush", {"op": "erase", "strokes": '[{"points": [[50, 50], [300, 200]], "size": 30}]'}),
)
LARGE = {"9 MP": SIZES["9 MP"], "12 MP": (4000, 3000)}


@dataclass(frozen=True)
class Measured:
    """MiB, `peaks` by the size of the photos."""

    idle: float
    peaks: dict[str, float]
    idle_afterwards: float


def main(report: Report) -> None:
    section = report.section("Memory", f"{peer.ABOUT}, PSS of all processes of the server", peer.SERVER)
    with ours.serving() as server, server.client(server.customer) as client:
        mine = _measure(
            server.process.pid, lambda photo: ours.call(client, "bg-removal", photo, model="quality"), report
        )
        growth = _growth(server, report)
    with peer.serving() as their_server, httpx.Client(timeout=600) as their_client:
        theirs = _measure(their_server.pid, lambda photo: their_server.cut_out(their_client, photo), report)
    section.add("idle, after a small call", "MiB", mine.idle, peer=theirs.idle)
    for size, peak in mine.peaks.items():
        section.add(f"peak, {CALLERS} callers, {size}", "MiB", peak, peer=theirs.peaks[size])
    section.add("idle, after these calls", "MiB", mine.idle_afterwards, peer=theirs.idle_afterwards)
    calls = f"{report.times(MIXED_CALLS):,} mixed calls"
    section.add(f"growth by {calls}, 0.2 MP", "MiB", growth, at_most=MOST_GROWTH_MIB)


def _measure(pid: int, call: Callable[[bytes], object], report: Report) -> Measured:
    call(jpegs_of(SMALL)[0])
    idle = _settled(pid)
    peaks = {}
    for name, size in report.cases(LARGE.items()):
        photos = jpegs_of(size)
        with processes.watched(pid) as peak:
            load.run(
                lambda number: call(photos[number % len(photos)]),  # noqa: B023
                callers=CALLERS,
                calls=max(CALLERS, report.times(CALLS)),
            )
        peaks[name] = peak.mib
    return Measured(idle, peaks, _settled(pid))


def _growth(server: RunningServer, report: Report) -> float:
    """MiB by which the server grows in mixed calls, after the first ones have loaded what they need."""
    photo = jpegs_of(SMALL)[0]
    # More calls than one account may make in this time.
    customers = [server.new_customer(PlanName.BUSINESS) for _ in range(CALLERS)]
    clients = [server.client(customer) for customer in customers]

    def call(number: int) -> None:
        tool, fields = MIXED[number % len(MIXED)]
        ours.call(clients[number % len(clients)], tool, photo, **fields)

    first = max(len(MIXED), report.times(FIRST_MIXED_CALLS))
    load.run(call, callers=CALLERS, calls=first)
    before = _settled(server.process.pid)
    load.run(call, callers=CALLERS, calls=report.times(MIXED_CALLS - first))
    return _settled(server.process.pid) - before


def _settled(pid: int) -> float:
    time.sleep(SETTLING_SECONDS)
    return processes.pss_mib(pid)
