"""Memory of each server and its workers when idle, and the peak while four callers send large photos.

The proportional set size of the whole tree of processes: what they share counts once. The servers run one
after the other, since memory does not depend on the load of the machine.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from tests.benchmarks import load, ours, peer, processes
from tests.benchmarks.photos import SIZES, SMALL, jpegs_of
from tests.benchmarks.report import Report

CALLERS = 4
CALLS = 12
SETTLING_SECONDS = 3.0
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
    with peer.serving() as their_server, httpx.Client(timeout=600) as their_client:
        theirs = _measure(their_server.pid, lambda photo: their_server.cut_out(their_client, photo), report)
    section.add("idle, after a small call", "MiB", mine.idle, peer=theirs.idle)
    for size, peak in mine.peaks.items():
        section.add(f"peak, {CALLERS} callers, {size}", "MiB", peak, peer=theirs.peaks[size])
    section.add("idle, after these calls", "MiB", mine.idle_afterwards, peer=theirs.idle_afterwards)


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


def _settled(pid: int) -> float:
    time.sleep(SETTLING_SECONDS)
    return processes.pss_mib(pid)
