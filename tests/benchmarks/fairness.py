"""A paid caller beside hostile guests: how much slower its calls become.

The guests (`tests/support/hostile_guests.py`) do without pause what costs them nothing. The paid caller
sends one call after the other, crops and background removals of 1 megapixel in turn. Phases with and
without guests alternate, so that other load on the machine affects both.

Bar: the paid p95 beside the guests is at most twice the p95 alone. The guests' clients run with low priority,
because outside a benchmark they would use other machines' cores.
"""

import time

import httpx
import numpy as np
from PIL import Image

from tests.benchmarks import ours
from tests.benchmarks.load import percentile
from tests.benchmarks.report import Report
from tests.support.hostile_guests import hostile_guests
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.server import RunningServer

GUESTS = 2
ROUNDS = 3
SECONDS_EACH = 16.0
SETTLING_SECONDS = 3.0  # for the guests' work to begin
BOUND_RATIO = 2.0
IDLE_PATIENCE_SECONDS = 300.0  # for what the guests began to end

#: The tools and the fields of the paid calls.
PAID_CALLS = {"crop": {"width": "800", "height": "800"}, "bg-removal": {"model": "fast"}}

Seconds = dict[str, list[float]]


def main(report: Report) -> None:
    section = report.section(
        "Fairness", f"a paid caller beside {GUESTS} hostile guests, in turns; the floor is the caller alone"
    )
    seconds_each = 3.0 if report.quick else SECONDS_EACH
    with ours.serving(BGERASER_WORKERS="2") as server:
        paid = _PaidCaller(server)
        paid.call_all(4.0)  # first calls load engines and measure durations
        alone, beside = _nothing_measured(), _nothing_measured()
        with hostile_guests(server.address, GUESTS) as allowed:
            for _ in range(report.times(ROUNDS)):
                _wait_until_idle(server)
                _extend(alone, paid.call_all(seconds_each))
                allowed.set()
                time.sleep(SETTLING_SECONDS)
                _extend(beside, paid.call_all(seconds_each))
                allowed.clear()
    for tool in PAID_CALLS:
        for percent in (50, 95):
            floor, mine = (percentile(one[tool], percent) * 1000 for one in (alone, beside))
            bound = BOUND_RATIO * floor if percent == 95 else None
            section.add(f"{tool}, p{percent}", "ms", mine, floor=floor, at_most=bound)


def _nothing_measured() -> Seconds:
    return {tool: [] for tool in PAID_CALLS}


def _extend(whole: Seconds, more: Seconds) -> None:
    for tool, seconds in more.items():
        whole[tool] += seconds


class _PaidCaller:
    """One after the other, calls that no earlier call has the answer of."""

    def __init__(self, server: RunningServer) -> None:
        self._client = server.client(server.customer)
        self._pixels = np.asarray(Image.fromarray(photo("coffee")).resize((1224, 816)))
        self._number = 0

    def call_all(self, seconds: float) -> Seconds:
        """The seconds of every call, by tool."""
        measured = _nothing_measured()
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            for tool, fields in PAID_CALLS.items():
                picture = self._new_picture()
                began = time.perf_counter()
                answer = self._client.post(f"/api/tools/{tool}", files={"image": picture}, data=fields)
                measured[tool].append(time.perf_counter() - began)
                answer.raise_for_status()
        return measured

    def _new_picture(self) -> bytes:
        self._number += 1
        pixels = self._pixels.copy()
        pixels[0, :16] = np.unpackbits(np.array([self._number], ">u2").view(np.uint8))[:, None] * 255
        return jpeg_bytes(pixels)


def _wait_until_idle(server: RunningServer) -> None:
    ends_at = time.monotonic() + IDLE_PATIENCE_SECONDS
    while time.monotonic() < ends_at:
        queue = httpx.get(f"{server.address}/readyz").json()["data"]["queue"]
        if queue == {"waiting": 0, "running": 0}:
            return
        time.sleep(0.5)
    raise SystemExit("the guests' work did not end")
