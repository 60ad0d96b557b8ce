"""The event loop beside hostile bodies: how long `/healthz` takes while four callers send the largest.

Bodies are built to be as much work as their size allows: forms of nothing but separators, JSON of nothing
but brackets, strokes of 100,000 points, pictures of 24 MiB. Nothing of it may stop the loop that all requests
share. Senders are processes of their own, so that building bodies does not slow the measuring down; where
they fill the machine's cores, compare with the line "nothing but processes".
"""

import json
import multiprocessing
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.synchronize import Event

import httpx

from tests.benchmarks import ours
from tests.benchmarks.load import percentile
from tests.benchmarks.report import Report
from tests.support.calling import small_picture
from tests.support.server import RunningServer

MIB = 1024 * 1024
SENDERS = 4
SECONDS_EACH = 8.0
BOUND_MS = 50.0
PATIENCE_SECONDS = 30.0

Send = Callable[[httpx.Client, str], object]

_STROKES = json.dumps([{"points": [[100.5, 100.25]] * 100, "size": 24}] * 1_000)
_ARRAYS = b'{"a":[' + b"[]," * (MIB // 3 - 10) + b"0]}"
_TEXTS = json.dumps({"tool": "brush", "stepId": "x", "params": {"strokes": _STROKES[: MIB // 2]}}).encode()
_URLENCODED = {"Content-Type": "application/x-www-form-urlencoded"}


def _form(content: bytes) -> Send:
    return lambda client, _: client.post("/api/tools/crop", content=content, headers=_URLENCODED)


def _run(content: bytes) -> Send:
    def send(client: httpx.Client, project_id: str) -> object:
        headers = {"Content-Type": "application/json", "Idempotency-Key": str(time.monotonic_ns())}
        return client.post(f"/editor/projects/{project_id}/runs", content=content, headers=headers)

    return send


def _strokes(client: httpx.Client, _: str) -> object:
    files = {"image": ("a.png", small_picture()), "strokes": (None, _STROKES.encode())}
    return client.post("/api/tools/brush", files=files, data={"op": "erase"})


def _picture(client: httpx.Client, _: str) -> object:
    return client.post("/api/images", files={"image": ("a.png", small_picture() + bytes(24 * MIB))})


def _busy(_: httpx.Client, __: str) -> None:
    ends_at = time.monotonic() + 0.1
    while time.monotonic() < ends_at:
        pass


LOADS: dict[str, Send] = {
    "nothing": lambda _, __: time.sleep(0.1),
    "nothing but processes": _busy,
    "1 MiB of &": _form(b"&" * MIB),
    "1 MiB of escapes": _form(b"a=" + b"%41" * (MIB // 3 - 1)),
    "1 MiB of JSON arrays": _run(_ARRAYS),
    "1 MiB of JSON text": _run(_TEXTS),
    "100,000 points": _strokes,
    "24 MiB pictures": _picture,
}


def main(report: Report) -> None:
    section = report.section("Event loop", f"/healthz beside {SENDERS} senders of the largest bodies")
    with ours.serving(BGERASER_WORKERS="1") as server:
        for name in report.cases(LOADS):
            seconds = _beside(server, name, SECONDS_EACH if not report.quick else 1.0)
            p50, p99 = (percentile(seconds, percent) * 1000 for percent in (50, 99))
            section.add(f"{name}, p50", "ms", p50)
            section.add(f"{name}, p99", "ms", p99, at_most=BOUND_MS)


def _beside(server: RunningServer, name: str, seconds_each: float) -> list[float]:
    """Seconds of each `/healthz` while the load lasts."""
    context = multiprocessing.get_context("spawn")
    begin, end = context.Event(), context.Event()
    keys = [server.new_customer().key for _ in range(SENDERS)]
    senders = [context.Process(target=_send, args=(server.address, key, name, begin, end)) for key in keys]
    for sender in senders:
        sender.start()
    begin.wait(PATIENCE_SECONDS)
    seconds = []
    with server.client() as client:
        client.get("/healthz")
        ends_at = time.monotonic() + seconds_each
        while time.monotonic() < ends_at:
            began = time.perf_counter()
            client.get("/healthz")
            seconds.append(time.perf_counter() - began)
            time.sleep(0.01)
    end.set()
    for sender in senders:
        sender.join(PATIENCE_SECONDS)
        sender.kill()
    return seconds


def _send(address: str, key: str, name: str, begin: Event, end: Event) -> None:
    """One sender: an account through the API, a guest in the editor."""
    with httpx.Client(base_url=address, headers={"X-Api-Key": key}, timeout=PATIENCE_SECONDS) as client:
        client.headers["X-CSRF-Token"] = client.get("/editor/session").json()["data"]["csrfToken"]
        opened = client.post("/editor/projects", json={"sample": "coffee"})
        project_id = opened.json()["data"]["id"] if opened.status_code == 200 else "none"
        begin.set()
        while not end.is_set():
            with suppress(httpx.HTTPError):
                LOADS[name](client, project_id)
