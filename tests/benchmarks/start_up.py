"""Seconds from the start of each server, with what it compiled for an earlier start on its disk.

Ours answers while its workers start; `/readyz` says when they are ready. rembg loads its network at the
first call, so both are also compared by their first cut-out of a small photo. Imports are timed in an
interpreter of their own.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from tests.benchmarks import load, ours, peer
from tests.benchmarks.photos import SMALL, jpegs_of
from tests.benchmarks.report import Report
from tests.support.server import free_port, running_server

STARTS = 3
IMPORTS = 5
MODULES = ("web.app", "api.http.app")
REST_SECONDS, READY_SECONDS, IMPORT_SECONDS = 3.0, 8.0, 1.2
_LONGEST_SECONDS = 300.0


@dataclass(frozen=True)
class Started:
    """Seconds from the start; `ready` is None for the peer, which does not say when it is."""

    rest: float
    first_result: float
    ready: float | None = None


def main(report: Report) -> None:
    section = report.section(
        "Start", f"from the start of each server, compiled networks cached; {peer.ABOUT}", peer.SERVER
    )
    photo = jpegs_of(SMALL)[0]
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "data"
        _start_ours(data_dir, photo)  # compiles the networks
        _start_theirs(photo)
        works: dict[str, Callable[[], Started]] = {
            "ours": partial(_start_ours, data_dir, photo),
            "peer": partial(_start_theirs, photo),
        }
        started = load.in_turns(works, report.times(STARTS))
    mine, theirs = started["ours"], started["peer"]
    rest = [statistics.median(one.rest for one in several) for several in (mine, theirs)]
    first = [statistics.median(one.first_result for one in several) for several in (mine, theirs)]
    section.add("the REST API answers", "s", rest[0], peer=rest[1], at_most=REST_SECONDS)
    ready = statistics.median(one.ready or 0.0 for one in mine)
    section.add("/readyz answers 200", "s", ready, at_most=READY_SECONDS)
    section.add("first cut-out, 0.2 MP", "s", first[0], peer=first[1])
    for module in report.cases(MODULES):
        seconds = statistics.median(import_seconds(module) for _ in range(report.times(IMPORTS)))
        section.add(f"import {module}", "s", seconds, at_most=IMPORT_SECONDS)


def _start_ours(data_dir: Path, photo: bytes) -> Started:
    port = free_port()
    with ThreadPoolExecutor(1) as watcher:
        began = time.perf_counter()
        times = watcher.submit(_await_answers, f"http://127.0.0.1:{port}", began)
        with running_server(data_dir, {}, port) as server, server.client(server.customer) as client:
            ours.call(client, "bg-removal", photo, model="quality")
            first_result = time.perf_counter() - began
            rest, ready = times.result()
            return Started(rest, first_result, ready)


def _await_answers(address: str, began: float) -> tuple[float, float]:
    """Seconds until the REST API answers, and until the server is ready."""
    rest = None
    while time.perf_counter() - began < _LONGEST_SECONDS:
        with suppress(httpx.HTTPError):
            if rest is None and httpx.get(f"{address}/api/tools", verify=False).status_code == 200:
                rest = time.perf_counter() - began
            if rest is not None and httpx.get(f"{address}/readyz", verify=False).status_code == 200:
                return rest, time.perf_counter() - began
        time.sleep(0.05)
    raise RuntimeError(f"the server was not ready after {_LONGEST_SECONDS:.0f} seconds")


def _start_theirs(photo: bytes) -> Started:
    began = time.perf_counter()
    with peer.serving() as server, httpx.Client(timeout=_LONGEST_SECONDS) as client:
        server.cut_out(client, photo)
        return Started(server.started_seconds, time.perf_counter() - began)


def import_seconds(module: str) -> float:
    """In an interpreter of its own, without its start."""
    program = f"import time; began = time.perf_counter(); import {module}; print(time.perf_counter() - began)"
    ended = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return float(ended.stdout)
