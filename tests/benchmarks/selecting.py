"""Magic select over HTTP: seconds to the first click's mask on a stored photo, and to the next one's."""

import statistics
import tempfile
import time
from pathlib import Path

import httpx

from tests.benchmarks.bg_removal import SIZES, jpegs_of
from tests.support.server import running_server

_NEXT_CLICKS = 4


def _clicks(client: httpx.Client, image_id: str, size: tuple[int, int]) -> list[float]:
    """Seconds from each click to its mask."""
    seconds = []
    for number in range(1 + _NEXT_CLICKS):
        x, y = size[0] * (4 + number) // 10, size[1] // 2
        began = time.perf_counter()
        answer = client.post(
            "/api/tools/magic-select", data={"image_id": image_id, "points": f"[[{x}, {y}, 1]]"}
        )
        seconds.append(time.perf_counter() - began)
        assert answer.status_code == 200, answer.text
    return seconds


def main() -> None:
    print("magic-select: median seconds to the first click's mask and to the next one's, aims 0.6 and 0.15")
    with (
        tempfile.TemporaryDirectory() as data_dir,
        running_server(Path(data_dir), {}) as server,
        server.client(server.customer) as client,
    ):
        for name, size in {"warm": (600, 400), **SIZES}.items():
            first, later = [], []
            for photo in jpegs_of(size):
                stored = client.post("/api/images", files={"image": photo}).json()["data"]["imageId"]
                one, *others = _clicks(client, stored, size)
                first.append(one)
                later.extend(others)
            if name != "warm":
                middle = statistics.median(first), statistics.median(later)
                print(f"{name:6} first {middle[0]:6.2f}  next {middle[1]:6.2f}", flush=True)
