"""Background removal beside `rembg s`: the same checkpoint, photos and machine, in one run.

Both servers get JPEGs over HTTP and answer PNG bytes. Each of our calls has a fresh `Idempotency-Key`, since
identical calls without one are replayed.
"""

import io
import tempfile
import uuid
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from tests.benchmarks import load, peer
from tests.support import checkpoints
from tests.support.ml import photos
from tests.support.server import running_server

SIZES = {"1 MP": (1224, 816), "9 MP": (3672, 2448)}
CALLS = {"1 MP": 12, "9 MP": 8}
NAMES = ("coffee", "chelsea", "astronaut", "motorcycle_left")


def jpegs_of(size: tuple[int, int]) -> list[bytes]:
    answer = []
    for name in NAMES:
        picture = Image.fromarray(np.asarray(photos.photo(name)))
        buffer = io.BytesIO()
        picture.resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=92)
        answer.append(buffer.getvalue())
    return answer


def main() -> None:
    print("bg-removal: images a second and p95, both servers warm, ISNet on the same weights")
    bench_directory = Path("data/bench")
    checkpoint = checkpoints.models_dir() / "isnet-general-use.onnx"
    with (
        peer.serving(bench_directory, checkpoint) as peer_address,
        tempfile.TemporaryDirectory() as data_dir,
        running_server(Path(data_dir), {}) as ours,
        httpx.Client(timeout=300, limits=httpx.Limits(max_connections=8)) as client,
    ):

        def call_peer(photo: bytes) -> bool:
            answer = client.post(
                f"{peer_address}/api/remove",
                data={"model": "isnet-general-use"},
                files={"file": ("photo.jpg", photo, "image/jpeg")},
            )
            return answer.status_code == 200 and answer.content.startswith(b"\x89PNG")

        def call_ours(photo: bytes) -> bool:
            answer = client.post(
                f"{ours.address}/api/tools/bg-removal",
                headers={
                    "Authorization": f"Bearer {ours.key}",
                    "Accept": "image/png",
                    "Idempotency-Key": uuid.uuid4().hex,
                },
                data={"model": "quality"},
                files={"image": ("photo.jpg", photo, "image/jpeg")},
            )
            return answer.status_code == 200 and answer.content.startswith(b"\x89PNG")

        warm = jpegs_of((600, 400))
        for photo in warm:
            assert call_peer(photo)
            assert call_ours(photo)
        print(f"{'size':6}{'callers':>8}{'ours /s':>10}{'p95 s':>8}{'rembg /s':>11}{'p95 s':>8}{'ratio':>8}")
        for size, pixels in SIZES.items():
            jpegs = jpegs_of(pixels)
            for callers in (1, 4):
                mine = load.run(lambda i: call_ours(jpegs[i % 4]), callers=callers, calls=CALLS[size])  # noqa: B023
                theirs = load.run(lambda i: call_peer(jpegs[i % 4]), callers=callers, calls=CALLS[size])  # noqa: B023
                failed = (
                    f"  failures: {mine.failures}/{theirs.failures}"
                    if mine.failures + theirs.failures
                    else ""
                )
                print(
                    f"{size:6}{callers:8}{mine.per_second:10.2f}{mine.p95_seconds:8.2f}"
                    f"{theirs.per_second:11.2f}{theirs.p95_seconds:8.2f}"
                    f"{mine.per_second / theirs.per_second:8.1f}{failed}",
                    flush=True,
                )
