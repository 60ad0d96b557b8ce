"""Batches beside the same calls made by hand, jobs beside direct calls, and the idle server after them.

By hand, a client sends the photos of the batch one by one, as many at once as a batch has jobs, and receives
each result; the batch is timed from its request to the last byte of its ZIP. Both take turns on one server.

Bar: when its jobs are done, the server takes at most 1 % of a core more than before them.
"""

import io
import json
import time
import uuid
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import httpx
import psutil

from tests.benchmarks import load, ours
from tests.benchmarks.load import Measured
from tests.benchmarks.photos import SIZES, jpegs_of
from tests.benchmarks.report import Report, Section
from tests.support.calling import small_picture
from tests.support.server import RunningServer

PHOTOS = 12
TURNS = 2
CALLS = 20
CALL_TURNS = 3
#: As many at once as the jobs of a batch, see `api.batches.progress.jobs_at_once`.
CALLERS = 8
FIELDS = {"model": "fast", "bg_color": "#ffffff", "format": "png"}
CROP = {"width": "50%", "format": "png"}
IDLE_SECONDS = 60.0
#: The engine ends when nothing was left at several checks, see `api.durable.engine`.
SETTLING_SECONDS = 90.0
IDLE_BOUND_PERCENT = 1.0


@dataclass(frozen=True)
class Costing:
    """Calls, and the processor seconds of the server and its workers meanwhile."""

    measured: Measured
    cpu_seconds: float


def main(report: Report) -> None:
    photos = [(f"{n}.jpg", jpeg) for n, jpeg in enumerate(_photos(2 if report.quick else PHOTOS))]
    section = report.section(
        "Volume",
        f"batches of {len(photos)} photos of 1 MP (bg-removal, fast, on white) and crops of a tiny picture as"
        " jobs; the floor is the same by direct calls, in turns",
    )
    with ours.serving(BGERASER_WORKERS="2") as server, server.client(server.customer) as client:
        idle_seconds = 2.0 if report.quick else IDLE_SECONDS
        before_percent = _idle_percent(server, idle_seconds)
        _by_hand(server, photos)  # first calls load engines and measure durations
        _measure_batches(section, server, client, photos, report.times(TURNS))
        _measure_jobs(section, server, client, report.times(CALLS), report.times(CALL_TURNS))
        time.sleep(0.0 if report.quick else SETTLING_SECONDS)
        after_percent = _idle_percent(server, idle_seconds)
        bound_percent = before_percent + IDLE_BOUND_PERCENT
        section.add(
            "the idle server after them",
            "% core",
            after_percent,
            floor=before_percent,
            at_most=None if report.quick else bound_percent,
        )


def _idle_percent(server: RunningServer, seconds: float) -> float:
    before = _cpu_seconds(server)
    time.sleep(seconds)
    return 100 * (_cpu_seconds(server) - before) / seconds


def _photos(count: int) -> list[bytes]:
    jpegs = jpegs_of(SIZES["1 MP"])
    return [jpegs[number % len(jpegs)] for number in range(count)]


def _measure_batches(
    section: Section, server: RunningServer, client: httpx.Client, photos: list[tuple[str, bytes]], turns: int
) -> None:
    works: dict[str, Callable[[], Costing]] = {
        "hand": partial(_costing, server, lambda: _by_hand(server, photos)),
        "batch": partial(_costing, server, lambda: _as_batch(client, photos)),
    }
    before = _credits(client)
    found = load.in_turns(works, turns)
    spent = before - _credits(client)
    count = len(photos) * turns
    hand, batch = (
        (load.merged([one.measured for one in each]), sum(one.cpu_seconds for one in each))
        for each in (found["hand"], found["batch"])
    )
    section.add("a batch", "images/s", count / batch[0].took_seconds, floor=count / hand[0].took_seconds)
    section.add("an image, processor", "s", batch[1] / count, floor=hand[1] / count)
    section.note(f"{2 * count} results cost {spent} credits.")


def _measure_jobs(
    section: Section, server: RunningServer, client: httpx.Client, calls: int, turns: int
) -> None:
    picture = small_picture()
    works: dict[str, Callable[[], Costing]] = {
        "direct": partial(_costing, server, lambda: _in_a_row(lambda: _direct(client, picture), calls)),
        "job": partial(_costing, server, lambda: _in_a_row(lambda: _as_job(client, picture), calls)),
    }
    _as_job(client, picture)  # launches the engine
    found = load.in_turns(works, turns)
    direct, job = (
        (load.merged([one.measured for one in each]), sum(one.cpu_seconds for one in each))
        for each in (found["direct"], found["job"])
    )
    ms, count = 1000.0, calls * turns
    section.add(
        "a job until its result, p50", "ms", ms * job[0].p50_seconds, floor=ms * direct[0].p50_seconds
    )
    section.add("a job, processor", "ms", ms * job[1] / count, floor=ms * direct[1] / count)


def _costing(server: RunningServer, work: Callable[[], Measured]) -> Costing:
    before = _cpu_seconds(server)
    measured = work()
    return Costing(measured, _cpu_seconds(server) - before)


def _in_a_row(call: Callable[[], object], calls: int) -> Measured:
    return load.run(lambda _number: call(), callers=1, calls=calls)


def _by_hand(server: RunningServer, photos: list[tuple[str, bytes]]) -> Measured:
    with server.client(server.customer) as client:
        return load.run(
            lambda number: ours.call(client, "bg-removal", photos[number][1], **FIELDS),
            callers=CALLERS,
            calls=len(photos),
        )


def _as_batch(client: httpx.Client, photos: list[tuple[str, bytes]]) -> Measured:
    began = time.perf_counter()
    files = [("images", (name, content, "image/jpeg")) for name, content in photos]
    accepted = client.post(
        "/api/batches", headers=_new_key(), data={"tool": "bg-removal", **FIELDS}, files=files
    )
    assert accepted.status_code == 202, accepted.text
    path = f"/api/batches/{accepted.json()['data']['batchId']}"
    while client.get(path).json()["data"]["status"] != "completed":
        time.sleep(0.2)
    packed = client.get(f"{path}/results.zip").content
    took = time.perf_counter() - began
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert len(archive.namelist()) == len(photos)
    return Measured((took,), took)


def _direct(client: httpx.Client, picture: bytes) -> None:
    answer = client.post("/api/tools/crop", headers=_new_key(), data=CROP, files={"image": picture})
    assert answer.status_code == 200, answer.text


def _as_job(client: httpx.Client, picture: bytes) -> None:
    headers = {**_new_key(), "Prefer": "respond-async"}
    accepted = client.post("/api/tools/crop", headers=headers, data=CROP, files={"image": picture})
    assert accepted.status_code == 202, accepted.text
    path = f"/api/jobs/{accepted.json()['data']['jobId']}"
    status = ""
    with client.stream("GET", f"{path}/events") as events:
        for line in events.iter_lines():
            if line.startswith("data:"):
                status = json.loads(line.removeprefix("data:"))["status"]
    assert status == "succeeded", status


def _new_key() -> dict[str, str]:
    return {"Idempotency-Key": uuid.uuid4().hex}


def _credits(client: httpx.Client) -> int:
    available: int = client.get("/api/account").json()["data"]["credits"]["available"]
    return available


def _cpu_seconds(server: RunningServer) -> float:
    """Processor time of the server and its workers so far."""
    root = psutil.Process(server.process.pid)
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):  # it ended meanwhile
            times = process.cpu_times()
            total += times.user + times.system
    return total
