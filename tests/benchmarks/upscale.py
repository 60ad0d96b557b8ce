"""Upscaling beside ncnn on the same weights, in turns: seconds a picture.

ncnn gets tiles of 256 without overlap, since a whole picture of a megapixel takes it 5 GB; ours is the whole
engine, with overlaps and blending. Both use two threads. The first call includes compiling for the picture's
shape. Both results must be nearly the same picture. The floor is the network alone in the engine's
arithmetic, for as many pixels as the picture has: without overlaps, blending and checks.
"""

import statistics
from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image

from ml.engines.cache import EngineCache
from ml.engines.network_facts import UPSCALING_FACTS
from ml.imaging import tiling
from ml.pixels import Pixels
from tests.benchmarks import load
from tests.benchmarks.report import DIRECTORY, Report
from tests.support import checkpoints
from tests.support.ml.ncnn_reference import Reference
from tests.support.ml.photos import photo

THREADS = 2
TILE = 256
_ENGINE_BYTES = 4 << 30
#: Checkpoint, what it stands for, size of the picture, and how often it is measured.
CASES = (
    ("span-x2", "fast x2, 1 MP", (1280, 768), 3),
    ("span-x4", "fast x4, 1 MP", (1280, 768), 3),
    ("realesrgan-x4plus", "quality x4, 0.06 MP", (256, 256), 1),
)
#: The mean difference, in levels of 255, up to which two results count as the same picture. `quality`
#: corrects the network's colours, which changes them by 4 levels.
SAME_LEVELS = 6.0


def main(report: Report) -> None:
    section = report.section(
        "Upscale", f"the engines alone, same weights, {THREADS} threads, a picture", "ncnn"
    )
    engines = EngineCache(checkpoints.models_dir(), DIRECTORY / "cache", "cpu", _ENGINE_BYTES, THREADS)
    for checkpoint, title, size, times in report.cases(CASES):
        picture = np.asarray(Image.fromarray(photo("coffee")).resize(size, Image.Resampling.LANCZOS))
        ours, theirs = _ours(engines, checkpoint, picture), _theirs(checkpoint, picture)
        first = load.timed(ours)
        difference = float(np.abs(ours().astype(np.int16) - theirs()).mean())
        precision = engines.precision(checkpoint)
        section.note(f"{title}: in {precision}; both results differ by {difference:.2f} levels on average.")
        if difference > SAME_LEVELS:
            raise RuntimeError(f"{title}: ours and ncnn's result are not the same picture")
        least, share = _least(engines, checkpoint, picture)
        works = {
            "ours": partial(load.timed, ours),
            "peer": partial(load.timed, theirs),
            "floor": partial(load.timed, least),
        }
        seconds = load.in_turns(works, report.times(times))
        mine, peer, floor = (statistics.median(seconds[name]) for name in ("ours", "peer", "floor"))
        section.add(title, "s", mine, peer=peer, floor=floor * share)
        section.add(f"{title}, first call", "s", first)


def _ours(engines: EngineCache, checkpoint: str, picture: Pixels) -> Callable[[], Pixels]:
    engine = engines.upscaler(checkpoint)
    factor = engine.facts.tiling.factor
    result = np.empty((picture.shape[0] * factor, picture.shape[1] * factor, 3), np.uint8)

    def work() -> Pixels:
        engine.enlarge(picture, result, lambda share: None)
        return result

    return work


def _least(engines: EngineCache, checkpoint: str, picture: Pixels) -> tuple[Callable[[], None], float]:
    """The network on every tile of the picture, and the picture's share of all their pixels."""
    engine = engines.upscaler(checkpoint)
    factor = engine.facts.tiling.factor
    grid = engine.grid(picture.shape, (picture.shape[0] * factor, picture.shape[1] * factor, 3))
    tiles = [
        np.divide(tiling.cut_tile(picture, grid, index), 255, dtype=np.float32) for index in range(grid.count)
    ]
    height, width = grid.tile_shape

    def work() -> None:
        network = engine._network(grid, engine.precision)
        for _ in network.enlarge(tiles, lambda: None):
            pass

    return work, picture.shape[0] * picture.shape[1] / (grid.count * height * width)


def _theirs(checkpoint: str, picture: Pixels) -> Callable[[], Pixels]:
    folder = checkpoints.models_dir()
    files = tuple(folder / name for name in UPSCALING_FACTS[checkpoint].files)
    reference = Reference(*files, exact=False, threads=THREADS)
    channels_first = picture.transpose(2, 0, 1).astype(np.float32) / np.float32(255)

    def work() -> Pixels:
        rows = [
            np.concatenate(
                [
                    reference.run(channels_first[:, top : top + TILE, left : left + TILE])
                    for left in range(0, picture.shape[1], TILE)
                ],
                axis=2,
            )
            for top in range(0, picture.shape[0], TILE)
        ]
        whole = np.concatenate(rows, axis=1).transpose(1, 2, 0)
        answer: Pixels = np.clip(whole * 255 + 0.5, 0, 255).astype(np.uint8)
        return answer

    return work
