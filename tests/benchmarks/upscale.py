"""Upscaling beside ncnn on the same weights, in one run: seconds a picture, and ours over theirs.

ncnn gets tiles of 256 without overlap, since a whole picture of a megapixel takes it 5 GB; ours is the whole
engine, with overlaps and blending. Both use two threads. `first` includes compiling for the picture's shape.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from ml.engines import upscaling
from ml.engines.network_facts import UPSCALING_FACTS
from ml.pixels import Pixels
from tests.support import checkpoints
from tests.support.ml.ncnn_reference import Reference
from tests.support.ml.photos import photo

THREADS = 2
TILE = 256
#: Checkpoint, what it stands for, size of the picture, and how often it is measured.
CASES = (
    ("span-x2", "fast x2, 1 MP", (1280, 768), 3),
    ("span-x4", "fast x4, 1 MP", (1280, 768), 3),
    ("realesrgan-x4plus", "quality x4, 0.06 MP", (256, 256), 1),
)


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _ours(checkpoint: str, picture: Pixels) -> Callable[[], None]:
    engine = upscaling.load(checkpoints.models_dir(), checkpoint, THREADS)
    factor = engine.facts.tiling.factor
    result = np.empty((picture.shape[0] * factor, picture.shape[1] * factor, 3), np.uint8)

    def work() -> None:
        engine.enlarge(picture, result, lambda share: None)

    return work


def _theirs(checkpoint: str, picture: Pixels) -> Callable[[], None]:
    folder = checkpoints.models_dir()
    files = tuple(folder / name for name in UPSCALING_FACTS[checkpoint].files)
    reference = Reference(*files, exact=False, threads=THREADS)
    channels_first = picture.transpose(2, 0, 1).astype(np.float32) / np.float32(255)

    def work() -> None:
        for top in range(0, picture.shape[0], TILE):
            for left in range(0, picture.shape[1], TILE):
                reference.run(channels_first[:, top : top + TILE, left : left + TILE])

    return work


def main() -> None:
    print("upscale: seconds a picture, same weights, two threads")
    print(f"{'':22}{'first':>8}{'ours':>8}{'ncnn':>8}{'ratio':>8}")
    for checkpoint, title, size, times in CASES:
        picture = np.asarray(Image.fromarray(photo("coffee")).resize(size, Image.Resampling.LANCZOS))
        ours, theirs = _ours(checkpoint, picture), _theirs(checkpoint, picture)
        first = _seconds(ours)
        # Taken in turns, so that whatever else the machine does weighs on both.
        pairs = [(_seconds(ours), _seconds(theirs)) for _ in range(times)]
        mine, peer = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"{title:22}{first:8.2f}{mine:8.2f}{peer:8.2f}{peer / mine:8.1f}", flush=True)


if __name__ == "__main__":
    main()
