"""Super-resolution networks on OpenVINO: SPAN (fast, faithful) and RealESRGAN (slow, generates fine detail).

An `Upscaler` has one checkpoint, compiled for the tile shape of its last picture. Tiles run in parallel with
one thread each if there are enough: such narrow networks gain little from more threads per tile.
"""

import contextlib
import functools
import importlib.util
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.checkpoints import registry
from ml.device import Precision
from ml.engines import ncnn_graph, openvino_runtime, quantisation
from ml.engines.network_facts import UPSCALING_FACTS, UpscalerFacts
from ml.errors import ModelUnavailable
from ml.imaging import enlargement_checks, text_areas, tiling, transparency
from ml.pixels import Mask, Pixels

Tile = NDArray[np.float32]  # RGB, H x W x 3, 0..1

#: Most tiles computed in parallel, because each needs memory (RealESRGAN: 0.2 GB).
MAX_STREAMS = 4
#: A plane (an alpha channel) is mapped from 0..1 to `PLANE_DARKEST` + `PLANE_RANGE` x value for the network.
#: At the full contrast of a cut-out's edge, which photos do not have, SPAN produces jagged edges and
#: ghosting.
PLANE_DARKEST, PLANE_RANGE = 0.25, 0.2
#: How often the caller can cancel while a tile is computed, which may take seconds.
POLL_MS = 250
#: Contrasts at which a tile is computed again where the network failed. At 0.7, hardly any block fails.
STEADIER_CONTRASTS = (0.7, 0.4)
#: Contrast at which tiles of text are computed. At full contrast, dots appear beside hard-edged strokes.
TEXT_CONTRAST = 0.7


def load(
    models_dir: Path, checkpoint: str, threads: int, precisions: Sequence[Precision] = ("bf16",)
) -> "Upscaler":
    """The upscaler of an installed checkpoint, in one of `precisions` or f32. Raises ModelUnavailable."""
    if importlib.util.find_spec("openvino") is None:
        raise ModelUnavailable("openvino", "pip install openvino")
    facts = UPSCALING_FACTS[checkpoint]
    param, weights = (registry.path(models_dir, name) for name in facts.files)

    def load_steadier() -> Upscaler | None:
        try:
            return None if facts.steadier is None else load(models_dir, facts.steadier, threads, precisions)
        except ModelUnavailable:
            return None

    import openvino

    precision = openvino_runtime.choose_precision(openvino.Core(), param, precisions)
    return Upscaler(facts, param, weights, threads, precision, load_steadier)


class Upscaler:
    """Enlarges pictures with one checkpoint. Not thread-safe."""

    def __init__(
        self,
        facts: UpscalerFacts,
        param: Path,
        weights: Path,
        threads: int,
        precision: Precision = "f32",
        load_steadier: "Callable[[], Upscaler | None]" = lambda: None,
    ) -> None:
        """`load_steadier` loads, when first needed, the upscaler for tiles where this one fails."""
        self.facts = facts
        self._files = (param, weights)
        self._threads = threads
        self._streams = max(1, min(threads, MAX_STREAMS))
        self.precision = precision
        self._networks: dict[Precision, _Network] = {}  # by precision, all of one tile shape
        self._load_steadier = functools.cache(load_steadier)

    def grid(self, source_shape: tuple[int, ...], result_shape: tuple[int, ...]) -> tiling.Grid:
        """The tiles of a picture; shapes start with height and width."""
        return tiling.plan(source_shape, result_shape, self.facts.tiling, self._streams)

    def enlarge(
        self, source: Pixels | Mask, result: Pixels | Mask, on_tile: Callable[[float], None]
    ) -> float:
        """Enlarge `source` into `result`, at most `factor` times on each side.

        Both are H x W x 3, or H x W for an alpha plane; each is limited to the local range of `source`. For a
        source of 4 channels the colours are enlarged, extended under its transparency. `on_tile` is called
        with the fraction done several times a second; exceptions from it end the work.

        Returns the share of the picture, 0..1, where the network failed and a steadier method was used.
        """
        grid = self.grid(source.shape, result.shape)
        mosaic = tiling.Mosaic(grid, result)
        done = 0
        replaced_share = 0.0

        def report() -> None:
            on_tile(done / grid.count)

        for tile, enlarged, is_text in self._enlarged_tiles(source, grid, report):
            sound = enlarged if is_sound(tile, enlarged) else self._redo(grid, tile, report)
            if result.ndim == 2:
                finished = _as_bytes(_enlarged_plane(tile, sound))
            else:
                if self.facts.shifts_colours:
                    sound = enlargement_checks.back_project(tile, sound)
                steady, share = self._replace_failed_blocks(grid, tile, sound, is_text, report)
                replaced_share += share / grid.count
                finished = _as_bytes(steady)
                enlargement_checks.hold_colours(_as_bytes(tile), finished)
            mosaic.place(done, finished)
            done += 1
            report()
        if result.ndim == 2:
            transparency.hold_alpha(source, result)
        return replaced_share

    def _enlarged_tiles(
        self, source: Pixels | Mask, grid: tiling.Grid, report: Callable[[], None]
    ) -> Iterator[tuple[Tile, Tile, bool]]:
        """Each tile, its enlargement (not clipped) and whether it is of text, in order.

        Tiles of text are computed in less contrast, by the steadier network if there is one.
        """

        def tile(index: int) -> Tile:
            return _network_input(tiling.cut_tile(source, grid, index))

        def is_text(index: int) -> bool:
            report()
            return text_areas.is_text_tile(text_areas.find(tile(index)))

        finds_text = self.facts.squeezes_text and source.ndim == 3
        texts = [finds_text and is_text(index) for index in range(grid.count)]
        for_text = (self._load_steadier() or self) if any(texts) else self

        def enlarged(upscaler: Upscaler) -> Generator[tuple[Tile, Tile], None, None]:
            tiles = (
                _squeezed(tile(index), TEXT_CONTRAST if of_text else 1)
                for index, of_text in enumerate(texts)
                if (for_text if of_text else self) is upscaler
            )
            # Compiled only when the first tile is asked for.
            yield from upscaler._network(grid, upscaler.precision).enlarge(tiles, report)

        # Closed at once when the caller stops, because running requests read the tiles.
        with contextlib.ExitStack() as stack:
            others = stack.enter_context(contextlib.closing(enlarged(self)))
            by_text = others
            if for_text is not self:
                by_text = stack.enter_context(contextlib.closing(enlarged(for_text)))
            for index, of_text in enumerate(texts):
                original, result = next(by_text if of_text else others)
                if of_text:
                    original, result = tile(index), self._fit(grid, _stretched(result, TEXT_CONTRAST))
                yield original, result, of_text

    def _fit(self, grid: tiling.Grid, enlarged: Tile) -> Tile:
        """`enlarged`, reduced to this upscaler's factor if it came from one of a larger factor."""
        height, width = (side * self.facts.tiling.factor for side in grid.tile_shape)
        if enlarged.shape[:2] == (height, width):
            return enlarged
        reduced: Tile = cv2.resize(enlarged, (width, height), interpolation=cv2.INTER_AREA)
        return reduced

    def enlarge_tile(self, grid: tiling.Grid, tile: Tile, report: Callable[[], None]) -> Tile:
        """One tile of `grid`, `factor` times larger, by the network alone."""
        return self._network(grid, self.precision).enlarge_one(tile, report)

    def _replace_failed_blocks(
        self, grid: tiling.Grid, tile: Tile, enlarged: Tile, is_text: bool, report: Callable[[], None]
    ) -> tuple[Tile, float]:
        """`enlarged` with its failed blocks from steadier methods, and the share of such blocks."""
        shares = text_areas.find(tile)
        enlarged = text_areas.keep_ink(tile, enlarged, shares)
        failed = enlargement_checks.failed_blocks(tile, enlarged)
        share = float(failed.mean())
        contrasts = [contrast for contrast in STEADIER_CONTRASTS if not is_text or contrast < TEXT_CONTRAST]
        steadier = self._steadier_tiles(grid, tile, contrasts, report)
        while failed.any():
            replacement = next(steadier, None)
            if replacement is None:
                plain = enlargement_checks.resample(tile, self.facts.tiling.factor)
                plain = text_areas.keep_ink(tile, plain, shares)
                return enlargement_checks.replace_blocks(enlarged, plain, failed), share
            replacement = text_areas.keep_ink(tile, replacement, shares)
            still_failed = enlargement_checks.failed_blocks(tile, replacement)
            mended = failed & ~still_failed
            enlarged = enlargement_checks.replace_blocks(enlarged, np.clip(replacement, 0, 1), mended)
            failed &= still_failed
        return enlarged, share

    def _steadier_tiles(
        self, grid: tiling.Grid, tile: Tile, contrasts: list[float], report: Callable[[], None]
    ) -> Iterator[Tile]:
        """Other enlargements of a tile, the best first, each computed when it is asked for."""
        upscaler = self._load_steadier() or self
        for contrast in contrasts:
            enlarged = upscaler.enlarge_tile(grid, _squeezed(tile, contrast), report)
            yield self._fit(grid, _stretched(enlarged, contrast))

    def _network(self, grid: tiling.Grid, precision: Precision) -> "_Network":
        if any(network.tile_shape != grid.tile_shape for network in self._networks.values()):
            self._networks.clear()
        if precision not in self._networks:
            streams = self._streams if precision == self.precision else 1
            self._networks[precision] = _Network(
                self._files, grid.tile_shape, self.facts.tiling.factor, self._threads, streams, precision
            )
        return self._networks[precision]

    def _redo(self, grid: tiling.Grid, tile: Tile, report: Callable[[], None]) -> Tile:
        """Compute the tile again in f32, because low precision may have overflowed or underflowed."""
        enlarged = self._network(grid, "f32").enlarge_one(tile, report)
        if not np.isfinite(enlarged).all():
            raise RuntimeError(f"{self.facts.checkpoint} produces non-finite pixels; is its file damaged?")
        return enlarged


def is_sound(tile: Tile, enlarged: Tile) -> bool:
    """Whether `enlarged` is plausible for `tile`: finite, and with about the same mean."""
    average = float(tile.mean(dtype=np.float64))
    found = float(enlarged.mean(dtype=np.float64))  # not finite if any value is not
    return abs(found - average) <= max(0.02, average / 2)


class _Network:
    """A checkpoint compiled for one tile shape and precision."""

    def __init__(
        self,
        files: tuple[Path, Path],
        tile_shape: tuple[int, int],
        factor: int,
        threads: int,
        streams: int,
        precision: Precision,
    ) -> None:
        import openvino
        from openvino.preprocess import PrePostProcessor

        self.tile_shape = tile_shape
        self._factor = factor
        graph = ncnn_graph.read_network(*files, *tile_shape)
        if precision == "int8":
            quantisation.quantise(graph, quantisation.RANGES[files[0].stem])
        steps = PrePostProcessor(graph)
        steps.input().tensor().set_layout(openvino.Layout("NHWC"))
        steps.input().model().set_layout(openvino.Layout("NCHW"))
        steps.output().model().set_layout(openvino.Layout("NCHW"))
        steps.output().tensor().set_layout(openvino.Layout("NHWC"))
        settings: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
            # Workers that pin threads would all use the same cores.
            "ENABLE_CPU_PINNING": False,
            **openvino_runtime.precision_properties(precision),
        }
        compiled = openvino.Core().compile_model(steps.build(), "CPU", settings)
        self._requests = [compiled.create_infer_request() for _ in range(streams)]
        self._spare_request = functools.cache(compiled.create_infer_request)

    def enlarge_one(self, tile: Tile, on_wait: Callable[[], None]) -> Tile:
        """One tile (not clipped), also while the requests of `enlarge` are busy with others."""
        request = self._spare_request()
        request.start_async({0: tile[None]})
        try:
            while not request.wait_for(POLL_MS):
                on_wait()
        except BaseException:
            _cancel_requests([request])
            raise
        enlarged: Tile = request.get_output_tensor().data[0].copy()
        return enlarged

    def enlarge(
        self, tiles: Iterable[Tile], on_wait: Callable[[], None]
    ) -> Generator[tuple[Tile, Tile], None, None]:
        """Each tile with its enlargement (not clipped), in order; one per stream in parallel.

        Tiles of one colour are not computed. `on_wait` is called while waiting.
        """
        idle = list(self._requests)
        pending: deque[tuple[Tile, Any]] = deque()

        def finish() -> tuple[Tile, Tile]:
            tile, request = pending[0]
            if request is None:
                height, width = (side * self._factor for side in self.tile_shape)
                enlarged = np.broadcast_to(tile[0, 0], (height, width, 3))
            else:
                while not request.wait_for(POLL_MS):
                    on_wait()
                enlarged = request.get_output_tensor().data[0].copy()
                idle.append(request)
            pending.popleft()
            return tile, enlarged

        try:
            for tile in tiles:
                finished = finish() if len(pending) == len(self._requests) else None
                request = None
                if (tile != tile[0, 0]).any():
                    request = idle.pop()
                    request.start_async({0: tile[None]})
                pending.append((tile, request))
                # Yield only now, so that every stream is busy while the caller handles this tile.
                if finished is not None:
                    yield finished
            while pending:
                yield finish()
        finally:
            _cancel_requests([request for _, request in pending if request is not None])


def _cancel_requests(requests: list[Any]) -> None:
    """Cancel running requests, which must not outlive the pixels they read."""
    for request in requests:
        request.cancel()
    for request in requests:
        with contextlib.suppress(RuntimeError):  # raised by OpenVINO after cancellation
            request.wait()


def _network_input(tile: Pixels | Mask) -> Tile:
    """The network's input for a tile of a picture or plane."""
    if tile.ndim == 3:
        colours = transparency.spread_colours(tile) if tile.shape[2] == 4 else tile
        return np.divide(colours, 255, dtype=np.float32)
    plane = tile * np.float32(PLANE_RANGE / 255) + np.float32(PLANE_DARKEST)
    return np.repeat(plane[:, :, None], 3, axis=2)


def _squeezed(tile: Tile, contrast: float) -> Tile:
    """`tile` with this share of its contrast, around a medium grey."""
    return tile if contrast == 1 else np.asarray(tile * contrast + (1 - contrast) / 2, np.float32)


def _stretched(enlarged: Tile, contrast: float) -> Tile:
    """The reverse of `_squeezed`."""
    return np.asarray((enlarged - (1 - contrast) / 2) / contrast, np.float32)


def _enlarged_plane(tile: Tile, enlarged: Tile) -> NDArray[np.float32]:
    """The plane, 0..1, from the network's input and output. Letters and thin lines keep their opacity."""
    plane, larger = (
        (each - np.float32(PLANE_DARKEST)) / np.float32(PLANE_RANGE) for each in (tile, enlarged)
    )
    kept: NDArray[np.float32] = text_areas.keep_ink(plane, larger, text_areas.find(plane)).mean(axis=2)
    return kept


def _as_bytes(enlarged: NDArray[np.float32]) -> NDArray[np.uint8]:
    levels: NDArray[np.float32] = np.rint(enlarged * np.float32(255))
    np.clip(levels, 0, 255, out=levels)
    return levels.astype(np.uint8)
