"""A paid caller beside hostile guests: how much slower its calls become.

The guests do without pause what costs them nothing: editor runs with fresh keys, conversions of a 24 and a
50 megapixel picture, previews, uploads of new pictures, and the largest legal bodies. The paid caller
sends one call after the other, crops and background removals of 1 megapixel in turn. Phases with and
without guests alternate, so that other load on the machine affects both.

Bar: the paid p95 beside the guests is at most twice the p95 alone. The guests' clients run with low priority,
because outside a benchmark they would use other machines' cores.
"""

import multiprocessing
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.synchronize import Event
from typing import Any

import httpx
import numpy as np
from PIL import Image

from tests.benchmarks import ours
from tests.benchmarks.load import percentile
from tests.benchmarks.report import Report
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.server import RunningServer

MIB = 1024 * 1024
GUESTS = 2
ROUNDS = 3
SECONDS_EACH = 16.0
SETTLING_SECONDS = 3.0  # for the guests' work to begin
BOUND_RATIO = 2.0
PATIENCE_SECONDS = 60.0
IDLE_PATIENCE_SECONDS = 300.0  # for what the guests began to end

#: The tools and the fields of the paid calls.
PAID_CALLS = {"crop": {"width": "800", "height": "800"}, "bg-removal": {"model": "fast"}}
#: Threads of one guest for each kind of load.
THREADS = {"runs": 2, "conversions": 4, "previews": 2, "uploads": 2, "bodies": 2}

Seconds = dict[str, list[float]]
Act = Callable[["_Guest"], object]


def main(report: Report) -> None:
    section = report.section(
        "Fairness", f"a paid caller beside {GUESTS} hostile guests, in turns; the floor is the caller alone"
    )
    seconds_each = 3.0 if report.quick else SECONDS_EACH
    with ours.serving(BGERASER_WORKERS="2") as server:
        paid = _PaidCaller(server)
        paid.call_all(4.0)  # first calls load engines and measure durations
        alone, beside = _nothing_measured(), _nothing_measured()
        with _guests(server) as allowed:
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


# The guests' side


@contextmanager
def _guests(server: RunningServer) -> Iterator[Event]:
    """Processes that act while the event is set."""
    context = multiprocessing.get_context("spawn")
    allowed, ended = context.Event(), context.Event()
    processes = [
        context.Process(target=_be_hostile, args=(server.address, allowed, ended), daemon=True)
        for _ in range(GUESTS)
    ]
    for process in processes:
        process.start()
    try:
        yield allowed
    finally:
        ended.set()
        for process in processes:
            process.join(PATIENCE_SECONDS)
            process.kill()


def _be_hostile(address: str, allowed: Event, ended: Event) -> None:
    os.nice(10)
    guest = _Guest(address)
    threads = [
        threading.Thread(target=_repeat, args=(guest, act, allowed, ended), daemon=True)
        for kind, act in ACTS.items()
        for _ in range(THREADS[kind])
    ]
    for thread in threads:
        thread.start()
    ended.wait()


def _repeat(guest: "_Guest", act: Act, allowed: Event, ended: Event) -> None:
    while not ended.is_set():
        if not allowed.wait(0.5):
            continue
        with suppress(httpx.HTTPError, KeyError, AssertionError):
            act(guest)
        time.sleep(0.01)


class _Guest:
    """A session in the editor, with a sample and two large pictures once they could be opened."""

    def __init__(self, address: str) -> None:
        self.client = httpx.Client(base_url=address, timeout=PATIENCE_SECONDS)
        self.client.headers["X-CSRF-Token"] = self.client.get("/editor/session").json()["data"]["csrfToken"]
        self._lock = threading.Lock()
        self._opened: dict[str, dict[str, Any]] = {}
        self.large = {"24 megapixels": _noise(6000, 4000), "50 megapixels": _noise(8165, 6120)}
        self._turn = 0

    def sample(self) -> dict[str, Any]:
        return self._open("sample", lambda: self.client.post("/editor/projects", json={"sample": "coffee"}))

    def large_project(self, name: str) -> dict[str, Any]:
        content = self.large[name]
        return self._open(name, lambda: self.client.post("/editor/projects", files={"image": content}))

    def next_turn(self) -> int:
        with self._lock:
            self._turn += 1
            return self._turn

    def _open(self, name: str, send: Callable[[], httpx.Response]) -> dict[str, Any]:
        with self._lock:
            if name not in self._opened:
                answer = send()
                answer.raise_for_status()
                self._opened[name] = answer.json()["data"]
            return self._opened[name]


def _noise(width: int, height: int) -> bytes:
    """A JPEG that no encoder finds easy."""
    noise = np.random.default_rng(1).integers(0, 60, (height, width, 3), np.uint8)
    return jpeg_bytes(noise + np.linspace(0, 190, width, dtype=np.uint8)[None, :, None], quality=60)


def _start_run(guest: _Guest) -> None:
    project = guest.sample()
    tool, params = [("crop", {"width": "90%"}), ("bg-removal", {}), ("upscale", {"scale": "4"})][
        guest.next_turn() % 3
    ]
    body = {"tool": tool, "params": params, "stepId": project["currentStepId"]}
    headers = {"Idempotency-Key": secrets.token_hex(8)}
    guest.client.post(f"/editor/projects/{project['id']}/runs", json=body, headers=headers)


def _convert(guest: _Guest) -> None:
    turn = guest.next_turn()
    name = list(guest.large)[turn % 2]
    project = guest.large_project(name)
    place = f"/editor/projects/{project['id']}/steps/{project['currentStepId']}/file"
    format = "avif" if name == "24 megapixels" else "webp"
    guest.client.get(place, params={"format": format, "quality": 10 + turn % 90})


def _preview(guest: _Guest) -> None:
    project = guest.large_project("50 megapixels")
    step = project["steps"][0]
    for name in ("closeUrl", "previewUrl"):
        if name in step:
            guest.client.get(step[name])


def _upload(guest: _Guest) -> None:
    guest.client.post("/editor/projects", files={"image": guest.large["50 megapixels"]})


def _send_bodies(guest: _Guest) -> None:
    guest.client.post("/api/images", files={"image": bytes(24 * MIB)})
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    guest.client.post("/api/tools/crop", content=b"a=" + b"%41" * (MIB // 3 - 1), headers=form)
    project = guest.sample()
    json_body = b'{"tool": "brush", "params": {"strokes": "' + b"[" * (MIB - 100) + b'"}}'
    headers = {"Content-Type": "application/json", "Idempotency-Key": secrets.token_hex(8)}
    guest.client.post(f"/editor/projects/{project['id']}/runs", content=json_body, headers=headers)


ACTS: dict[str, Act] = {
    "runs": _start_run,
    "conversions": _convert,
    "previews": _preview,
    "uploads": _upload,
    "bodies": _send_bodies,
}
