"""The event loop beside hostile bodies: how long `/healthz` takes while four callers send the largest.

Bodies are built to be as much work as their size allows: forms of nothing but separators, JSON of nothing
but brackets, strokes of 100,000 points, pictures of 24 MiB. Nothing of it may stop the loop that all requests
share.
"""

import json
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx

from tests.api.calling import small_picture
from tests.benchmarks.load import percentile
from tests.server import RunningServer, running_server

MIB = 1024 * 1024
GUESTS = 4
SECONDS_EACH = 8.0
BOUND_SECONDS = 0.050

URLENCODED = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}
STROKES = json.dumps([{"points": [[100.5, 100.25]] * 100, "size": 24}] * 1_000)


def _loads(project_id: str) -> dict[str, Callable[[httpx.Client], object]]:
    runs = f"/editor/projects/{project_id}/runs"
    arrays = b'{"a":[' + b"[]," * (MIB // 3 - 10) + b"0]}"
    texts = json.dumps({"tool": "brush", "stepId": "x", "params": {"strokes": STROKES[: MIB // 2]}}).encode()
    picture = {"image": ("a.png", small_picture() + bytes(24 * MIB))}

    def keyed(headers: dict[str, str]) -> dict[str, str]:
        return {**headers, "Idempotency-Key": f"{time.monotonic_ns()}"}

    return {
        "nothing": lambda client: time.sleep(0.1),
        "1 MiB of &": lambda client: client.post("/api/tools/crop", content=b"&" * MIB, headers=URLENCODED),
        "1 MiB of escapes": lambda client: client.post(
            "/api/tools/crop", content=b"a=" + b"%41" * (MIB // 3 - 1), headers=URLENCODED
        ),
        "1 MiB of JSON arrays": lambda client: client.post(runs, content=arrays, headers=keyed(JSON)),
        "1 MiB of JSON text": lambda client: client.post(runs, content=texts, headers=keyed(JSON)),
        "100,000 points": lambda client: client.post(
            "/api/tools/brush",
            files={"image": ("a.png", small_picture()), "strokes": (None, STROKES.encode())},
            data={"op": "erase"},
        ),
        "24 MiB pictures": lambda client: client.post("/api/images", files=picture),
    }


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as directory,
        running_server(Path(directory) / "data", {"BGERASER_WORKERS": "1"}) as server,
    ):
        project_id = _open_sample(server)
        print(f"/healthz beside {GUESTS} guests, milliseconds:")
        for name, load in _loads(project_id).items():
            seconds = _beside(server, load)
            p50, p99 = (percentile(seconds, percent) * 1000 for percent in (50, 99))
            verdict = "" if p99 < BOUND_SECONDS * 1000 else f"  ABOVE {BOUND_SECONDS * 1000:g}"
            print(f"  {name:22} p50 {p50:6.1f}  p99 {p99:6.1f}  max {max(seconds) * 1000:6.1f}{verdict}")


def _open_sample(server: RunningServer) -> str:
    with server.client() as client:
        _as_guest(client)
        return str(client.post("/editor/projects", json={"sample": "coffee"}).json()["data"]["id"])


def _as_guest(client: httpx.Client) -> None:
    client.headers["X-CSRF-Token"] = client.get("/editor/session").json()["data"]["csrfToken"]


def _beside(server: RunningServer, load: Callable[[httpx.Client], object]) -> list[float]:
    ended = threading.Event()

    def send() -> None:
        with server.client(server.new_customer()) as client:
            _as_guest(client)
            while not ended.is_set():
                with suppress(httpx.HTTPError):
                    load(client)

    guests = [threading.Thread(target=send) for _ in range(GUESTS)]
    for guest in guests:
        guest.start()
    seconds = []
    with server.client() as client:
        client.get("/healthz")
        ends_at = time.monotonic() + SECONDS_EACH
        while time.monotonic() < ends_at:
            began = time.perf_counter()
            client.get("/healthz")
            seconds.append(time.perf_counter() - began)
            time.sleep(0.01)
    ended.set()
    for guest in guests:
        guest.join()
    return seconds
