"""Super-resolution networks on OpenVINO: SPAN (quick, faithful) and RealESRGAN (slow, invents fine detail).

One `Upscaler` holds one checkpoint, compiled for the tile shape of its last picture. Tiles run side by side
with one thread each where there are enough: networks this narrow gain little from more threads on one tile.
"""

import contextlib
import importlib.util
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.checkpoints import registry
from ml.engines import ncnn_graph
from ml.engines.network_facts import UPSCALING_FACTS, UpscalerFacts
from ml.errors import ModelUnavailable
from ml.imaging import tiling, transparency
from ml.pixels import Mask, Pixels

Tile = NDArray[np.float32]  # RGB, H x W x 3, 0..1

#: Tiles computed at the same time at most, since each needs memory of its own (RealESRGAN: 0.2 GB).
MAX_STREAMS = 4
#: A plane (an alpha channel) is shown to the network as `PLANE_DARKEST` + `PLANE_RANGE` x its 0..1. From the
#: full contrast of a cutout's edge, which no photo has, SPAN makes jags, ghost lines and at times noise.
PLANE_DARKEST, PLANE_RANGE = 0.25, 0.2
#: How often the caller is asked whether to go on while a tile is computed, which may take seconds.
PATIENCE_MS = 250


def load(models_dir: Path, checkpoint: str, threads: int) -> "Upscaler":
    """The upscaler of an installed checkpoint. Raises ModelUnavailable."""
    if importlib.util.find_spec("openvino") is None:
        raise ModelUnavailable("openvino", "pip install openvino")
    param, weights = (registry.path(models_dir, f"{checkpoint}.{kind}") for kind in ("param", "bin"))
    return Upscaler(UPSCALING_FACTS[checkpoint], param, weights, threads)


class Upscaler:
    """Enlarges pictures with one checkpoint. Not for several threads at once."""

    def __init__(
        self, facts: UpscalerFacts, param: Path, weights: Path, threads: int, precision: str | None = None
    ) -> None:
        """`precision` None: the quickest of this processor (bf16 where it has that), else e.g. "f32"."""
        self.facts = facts
        self._files = (param, weights)
        self._threads = threads
        self._streams = max(1, min(threads, MAX_STREAMS))
        self._precision = precision
        self._networks: dict[str | None, _Network] = {}  # by precision, all of one tile shape

    def grid(self, source_shape: tuple[int, ...], result_shape: tuple[int, ...]) -> tiling.Grid:
        """How a picture would be cut; shapes start with height and width."""
        return tiling.plan(source_shape, result_shape, self.facts.tiling, self._streams)

    def enlarge(self, source: Pixels | Mask, result: Pixels | Mask, on_tile: Callable[[float], None]) -> None:
        """Fill `result` with `source`, made at most `factor` times larger on each side.

        Both are H x W x 3, or H x W for a plane of alpha, whose result stays within what `source` has around
        each place. Of a source with 4 channels the colours are taken, continued under its transparency.
        `on_tile` hears the share done, several times a second; what it raises ends the work at once.
        """
        grid = self.grid(source.shape, result.shape)
        mosaic = tiling.Mosaic(grid, result)
        done = 0

        def tell() -> None:
            on_tile(done / grid.count)

        tiles = (_shown(tiling.cut_tile(source, grid, index)) for index in range(grid.count))
        for tile, enlarged in self._network(grid, self._precision).enlarge(tiles, tell):
            sound = enlarged if is_sound(tile, enlarged) else self._redo(grid, tile, tell)
            mosaic.place(done, _as_bytes(sound if result.ndim == 3 else _plane(sound)))
            done += 1
            tell()
        if result.ndim == 2:
            transparency.hold_alpha(source, result)

    def _network(self, grid: tiling.Grid, precision: str | None) -> "_Network":
        if any(network.tile_shape != grid.tile_shape for network in self._networks.values()):
            self._networks.clear()
        if precision not in self._networks:
            streams = self._streams if precision == self._precision else 1
            self._networks[precision] = _Network(self._files, grid, self._threads, streams, precision)
        return self._networks[precision]

    def _redo(self, grid: tiling.Grid, tile: Tile, tell: Callable[[], None]) -> Tile:
        """The tile once more in f32: low precision overflowed, or lost everything."""
        ((_, enlarged),) = self._network(grid, "f32").enlarge([tile], tell)
        if not np.isfinite(enlarged).all():
            raise RuntimeError(f"{self.facts.checkpoint} gives no finite pixels; is its file damaged?")
        return enlarged


def is_sound(tile: Tile, enlarged: Tile) -> bool:
    """Whether `enlarged` can have been made of `tile`: finite, and of about its average, so not black."""
    average = float(tile.mean(dtype=np.float64))
    found = float(enlarged.mean(dtype=np.float64))  # NaN and infinity anywhere show up here
    return abs(found - average) <= max(0.02, average / 2)


class _Network:
    """A checkpoint compiled for one tile shape and precision."""

    def __init__(
        self, files: tuple[Path, Path], grid: tiling.Grid, threads: int, streams: int, precision: str | None
    ) -> None:
        import openvino
        from openvino.preprocess import PrePostProcessor

        self.tile_shape = grid.tile_shape
        self._factor = grid.factor
        steps = PrePostProcessor(ncnn_graph.read_network(*files, *grid.tile_shape))
        steps.input().tensor().set_layout(openvino.Layout("NHWC"))
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

    def enlarge(self, tiles: Iterable[Tile], on_wait: Callable[[], None]) -> Iterator[tuple[Tile, Tile]]:
        """Each tile with its enlargement (not clipped), in order; as many at once as there are streams.

        A tile of one colour stays that colour and costs nothing. `on_wait` is called while waiting.
        """
        idle = list(self._requests)
        under_way: deque[tuple[Tile, Any]] = deque()

        def finish() -> tuple[Tile, Tile]:
            tile, request = under_way[0]
            if request is None:
                height, width = (side * self._factor for side in self.tile_shape)
                enlarged = np.broadcast_to(tile[0, 0], (height, width, 3))
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


def _shown(tile: Pixels | Mask) -> Tile:
    """What the network is given for a tile of a picture or a plane."""
    if tile.ndim == 3:
        colours = transparency.spread_colours(tile) if tile.shape[2] == 4 else tile
        return np.divide(colours, 255, dtype=np.float32)
    plane = tile * np.float32(PLANE_RANGE / 255) + np.float32(PLANE_DARKEST)
    return np.repeat(plane[:, :, None], 3, axis=2)


def _plane(enlarged: Tile) -> NDArray[np.float32]:
    """The plane, 0..1, from what the network made of it."""
    shades: NDArray[np.float32] = enlarged.mean(axis=2)
    return (shades - np.float32(PLANE_DARKEST)) / np.float32(PLANE_RANGE)


def _as_bytes(enlarged: NDArray[np.float32]) -> NDArray[np.uint8]:
    levels: NDArray[np.float32] = np.rint(enlarged * np.float32(255))
    np.clip(levels, 0, 255, out=levels)
    return levels.astype(np.uint8)
