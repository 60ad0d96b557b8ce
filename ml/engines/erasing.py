"""Networks that fill holes without words: MI-GAN and LaMa.

The checkpoints are inpainting generators exported to ONNX. They differ in the type and range of their inputs
and in the polarity of the mask, which `ml.engines.network_facts.ErasingFacts` states.
"""

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.device import Device
from ml.engines.network import Graph, Runtime
from ml.engines.network_facts import ErasingFacts
from ml.errors import ModelUnavailable
from ml.imaging.pyramid import Region
from ml.pixels import Pixels

_log = logging.getLogger(__name__)


class UnstableOutput(Exception):
    """The network's output contains values that are not numbers."""


class Eraser:
    """One loaded checkpoint."""

    def __init__(self, facts: ErasingFacts, graph: Graph) -> None:
        self._facts = facts
        self._graph = graph

    @property
    def checkpoint(self) -> str:
        """The name in `ml.checkpoints`."""
        return self._facts.checkpoint

    @property
    def device(self) -> Device:
        """The device it runs on."""
        return self._graph.device

    @property
    def side_pixels(self) -> int:
        """The side of the square that it takes."""
        return self._facts.side_pixels

    def fill(self, colors: Pixels, hole: Region) -> Pixels:
        """`colors` (side x side x 3) with `hole` filled; other pixels are unchanged.

        What is in the hole has no influence. Raises UnstableOutput.
        """
        facts = self._facts
        if colors.shape != (facts.side_pixels, facts.side_pixels, 3):
            raise ValueError(f"{facts.checkpoint} takes a square of {facts.side_pixels}, not {colors.shape}")
        known = np.where(hole[..., None], np.uint8(0), colors)
        image: NDArray[np.generic] = known.transpose(2, 0, 1)[None]
        white = np.uint8(255 if facts.as_bytes else 1)
        mask: NDArray[np.generic] = np.where(hole == facts.hole_is_white, white, np.uint8(0))[None, None]
        if not facts.as_bytes:
            image, mask = image.astype(np.float32) / np.float32(255), mask.astype(np.float32)
        output = self._graph({facts.image_input: image, facts.mask_input: mask})[0]
        if output.shape != (1, 3, facts.side_pixels, facts.side_pixels):
            raise ValueError(f"{facts.checkpoint} answers {output.shape}")
        if not np.isfinite(output).all():
            raise UnstableOutput(facts.checkpoint)
        filled = np.clip(np.rint(output[0].transpose(1, 2, 0)), 0, 255).astype(np.uint8)
        return np.where(hole[..., None], filled, colors)


def load(facts: ErasingFacts, file: Path, runtimes: Iterable[Runtime]) -> Eraser:
    """The checkpoint in `file` on the first of `runtimes` that can run it. Raises ModelUnavailable."""
    side = facts.side_pixels
    shapes = {facts.image_input: (1, 3, side, side), facts.mask_input: (1, 1, side, side)}
    for runtime in runtimes:
        try:
            return Eraser(facts, runtime.load_graph(file, (), shapes))
        except Exception as error:  # each library raises its own for graphs it cannot run
            _log.warning(
                "%s cannot be loaded by %s: %s", facts.checkpoint, type(runtime).__name__, str(error)[:500]
            )
    raise ModelUnavailable(
        facts.checkpoint, "pip install onnxruntime", "cannot be run by the installed inference library"
    )
