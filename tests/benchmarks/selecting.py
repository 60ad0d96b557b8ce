"""Magic select over HTTP: seconds to the first click's mask on a stored photo, and to the next one's."""

import statistics
import time

import httpx

from tests.benchmarks import ours
from tests.benchmarks.photos import SIZES, SMALL, jpegs_of
from tests.benchmarks.report import Report

_NEXT_CLICKS = 4


def main(report: Report) -> None:
    section = report.section(
        "Selection", "magic-select on a stored photo over HTTP, from a click to its mask"
    )
    with ours.serving() as server, server.client(server.customer) as client:
        _clicks(client, jpegs_of(SMALL)[0], SMALL, 1)  # loads the networks
        for name, size in report.cases(SIZES.items()):
            first, later = [], []
            for photo in report.cases(jpegs_of(size)):
                one, *others = _clicks(client, photo, size, report.times(_NEXT_CLICKS))
                first.append(one)
                later.extend(others)
            section.add(f"{name}, first click", "s", statistics.median(first))
            section.add(f"{name}, next click", "s", statistics.median(later))


def _clicks(client: httpx.Client, photo: bytes, size: tuple[int, int], next_clicks: int) -> list[float]:
    """Seconds from each click to its mask."""
    image_id = client.post("/api/images", files={"image": photo}).json()["data"]["imageId"]
    seconds = []
    for number in range(1 + next_clicks):
        x, y = size[0] * (4 + number) // 10, size[1] // 2
        began = time.perf_counter()
        answer = client.post(
            "/api/tools/magic-select", data={"image_id": image_id, "points": f"[[{x}, {y}, 1]]"}
        )
        seconds.append(time.perf_counter() - began)
        assert answer.status_code == 200, answer.text
    return seconds
