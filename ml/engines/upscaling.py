"""Super-resolution networks on OpenVINO: SPAN (quick, faithful) and RealESRGAN (slow, invents fine detail).

One `Upscaler` holds one checkpoint, compiled for the tile shape of its last picture. Tiles run side by side
with one thread each where there are enough: networks this narrow gain little from more threads on one tile.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml import tiling, transparency
from ml.engines import ncnn_graph
from ml.pixels import Mask, Pixels
from ml.tiling import TilingFacts

#: Tiles computed at the same time at most, since each needs memory of its own (RealESRGAN: 0.2 GB).
MOST_STREAMS = 4
#: How often the caller is asked whether to go on while a tile is computed, which may take seconds.
PATIENCE_MS = 250


@dataclass(frozen=True)
class UpscalerFacts:
    """What is to be known of a checkpoint without loading it."""

    checkpoint: str
    tiling: TilingFacts
    seconds_per_megapixel: float  # of its input, overlaps included; measured on 2 cores with AMX
    size_bytes: int  # of memory while it works with 2 streams


# SPAN's result depends on 14 source pixels around, of which its context covers 12 (the rest is 0.2 of 255
# levels). RealESRGAN looks much farther (1 to 4 levels at a distance of 16), so it gets a wider fade.
FACTS: dict[str, UpscalerFacts] = {
    facts.checkpoint: facts
    for facts in (
        UpscalerFacts("span-x2", TilingFacts(2, side=256, overlap=32, blend=8), 1.8, 160_000_000),
        UpscalerFacts("span-x4", TilingFacts(4, side=256, overlap=32, blend=8), 2.1, 180_000_000),
        UpscalerFacts("realesrgan-x4plus", TilingFacts(4, side=192, overlap=32, blend=16), 45, 600_000_000),
    )
}


class Upscaler:
    """Enlarges pictures with one checkpoint. Not for several threads at once."""

    def __init__(
        self, facts: UpscalerFacts, param: Path, weights: Path, threads: int, precision: str | None = None
    ) -> None:
        """`precision` None: the quickest of this processor (bf16 where it has that), else e.g. "f32"."""
        self.facts = facts
        self._files = (param, weights)
        self._threads = threads
        self._streams = max(1, min(threads, MOST_STREAMS))
        self._precision = precision
        self._networks: dict[str | None, _Network] = {}  # by precision, all of one tile shape

    def grid(self, source_shape: tuple[int, ...], result_shape: tuple[int, ...]) -> tiling.Grid:
        """How a picture would be cut; shapes start with height and width."""
        return tiling.plan(source_shape, result_shape, self.facts.tiling, self._streams)

    def enlarge(self, source: Pixels | Mask, result: Pixels | Mask, on_tile: Callable[[float], None]) -> None:
        """Fill `result` with `source`, made at most `factor` times larger on each side.

        Both are H x W x 3, or H x W for a grey plane; of a source with 4 channels the colours are taken,
        continued under its transparency. `on_tile` hears the share done, several times a second; what it
        raises ends the work at once.
        """
        grid = self.grid(source.shape, result.shape)
        mosaic = tiling.Mosaic(grid, result)
        done = 0

        def tell() -> None:
            on_tile(done / grid.count)

        tiles = (_as_colours(tiling.cut(source, grid, index)) for index in range(grid.count))
        for tile, enlarged in self._network(grid, self._precision).enlarge(tiles, tell):
            sound = enlarged if is_sound(tile, enlarged) else self._redo(grid, tile, tell)
            pixels = _as_bytes(sound)
            mosaic.place(done, pixels if result.ndim == 3 else pixels[:, :, 1])
            done += 1
            tell()

    def _network(self, grid: tiling.Grid, precision: str | None) -> "_Network":
        if any(network.tile_shape != grid.tile_shape for network in self._networks.values()):
            self._networks.clear()
        if precision not in self._networks:
            streams = self._streams if precision == self._precision else 1
            self._networks[precision] = _Network(self._files, grid, self._threads, streams, precision)
        return self._networks[precision]

    def _redo(self, grid: tiling.Grid, tile: Pixels, tell: Callable[[], None]) -> NDArray[np.float32]:
        """The tile once more in f32: low precision overflowed, or lost everything."""
        ((_, enlarged),) = self._network(grid, "f32").enlarge([tile], tell)
        if not np.isfinite(enlarged).all():
            raise RuntimeError(f"{self.facts.checkpoint} gives no finite pixels; is its file damaged?")
        return enlarged


def is_sound(tile: Pixels, enlarged: NDArray[np.float32]) -> bool:
    """Whether `enlarged` (0..1) can be `tile` (0..255): finite, and of about its average, so not black."""
    average = float(tile.mean()) / 255
    found = float(enlarged.mean(dtype=np.float64))  # NaN and infinity anywhere show up here
    return abs(found - average) <= max(0.02, average / 2)


class _Network:
    """A checkpoint compiled for one tile shape and precision. Tiles are uint8 RGB, H x W x 3."""

    def __init__(
        self, files: tuple[Path, Path], grid: tiling.Grid, threads: int, streams: int, precision: str | None
    ) -> None:
        import openvino
        from openvino.preprocess import PrePostProcessor

        self.tile_shape = grid.tile_shape
        self._factor = grid.factor
        steps = PrePostProcessor(ncnn_graph.read_network(*files, *grid.tile_shape))
        steps.input().tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
        steps.input().preprocess().convert_element_type(openvino.Type.f32).scale(255.0)
        steps.input().model().set_layout(openvino.Layout("NCHW"))
        steps.output().model().set_layout(openvino.Layout("NCHW"))
        steps.output().tensor().set_layout(openvino.Layout("NHWC"))
        settings: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
            # Several workers that pin their threads would all pin them to the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        if precision is not None:
            settings["INFERENCE_PRECISION_HINT"] = precision
        compiled = openvino.Core().compile_model(steps.build(), "CPU", settings)
        self._requests = [compiled.create_infer_request() for _ in range(streams)]

    def enlarge(
        self, tiles: Iterable[Pixels], on_wait: Callable[[], None]
    ) -> Iterator[tuple[Pixels, NDArray[np.float32]]]:
        """Each tile with its enlargement (0..1, not clipped), in order; as many at once as there are streams.

        A tile of one colour stays that colour and costs nothing. `on_wait` is called while waiting.
        """
        idle = list(self._requests)
        under_way: deque[tuple[Pixels, Any]] = deque()

        def finish() -> tuple[Pixels, NDArray[np.float32]]:
            tile, request = under_way[0]
            if request is None:
                height, width = (side * self._factor for side in self.tile_shape)
                enlarged = np.broadcast_to((tile[0, 0] / 255).astype(np.float32), (height, width, 3))
            else:
                while not request.wait_for(PATIENCE_MS):
                    on_wait()
                enlarged = request.get_output_tensor().data[0].copy()
                idle.append(request)
            under_way.popleft()
            return tile, enlarged

        try:
            for tile in tiles:
                finished = finish() if len(under_way) == len(self._requests) else None
                request = None
                if (tile != tile[0, 0]).any():
                    request = idle.pop()
                    request.start_async({0: tile[None]})
                under_way.append((tile, request))
                # Only now, so that every stream has work while the caller handles this tile.
                if finished is not None:
                    yield finished
            while under_way:
                yield finish()
        finally:
            _stop([request for _, request in under_way if request is not None])


def _stop(requests: list[Any]) -> None:
    """End running requests; they must not outlive the call whose pixels they read."""
    for request in requests:
        request.cancel()
    for request in requests:
        with contextlib.suppress(RuntimeError):  # which is how OpenVINO says that it was cancelled
            request.wait()


def _as_colours(tile: Pixels | Mask) -> Pixels:
    if tile.ndim == 2:
        return np.repeat(tile[:, :, None], 3, axis=2)
    return transparency.spread_colours(tile) if tile.shape[2] == 4 else tile


def _as_bytes(enlarged: NDArray[np.float32]) -> NDArray[np.uint8]:
    levels: NDArray[np.float32] = np.rint(enlarged * np.float32(255))
    np.clip(levels, 0, 255, out=levels)
    return levels.astype(np.uint8)
