"""Guests who do without pause what costs them nothing.

They make editor runs with fresh keys, conversions of a 24 and a 50 megapixel picture, previews, uploads of
new pictures, and the largest legal bodies.
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

from tests.support.ml.photos import jpeg_bytes

MIB = 1024 * 1024
PATIENCE_SECONDS = 60.0
#: Threads of one guest for each kind of load.
THREADS = {"runs": 2, "conversions": 4, "previews": 2, "uploads": 2, "bodies": 2}

Act = Callable[["_Guest"], object]


@contextmanager
def hostile_guests(address: str, count: int) -> Iterator[Event]:
    """`count` processes of low priority that act while the event is set."""
    context = multiprocessing.get_context("spawn")
    allowed, ended = context.Event(), context.Event()
    processes = [
        context.Process(target=_be_hostile, args=(address, allowed, ended), daemon=True) for _ in range(count)
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
