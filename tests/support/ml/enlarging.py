"""Enlarging pixels with the upscale tool on real checkpoints."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ml.engines.cache import EngineCache
from ml.errors import Cancelled
from ml.pixels import Picture, Pixels
from ml.tool import ToolResult
from ml.tools import upscale
from ml.tools.upscale import UpscaleParams
from tests.support import checkpoints


@functools.cache
def engines() -> EngineCache:
    nowhere = Path("unused")  # nothing of this tool is kept on the disk
    return EngineCache(checkpoints.models_dir(), nowhere, "cpu", 2_000_000_000, threads=2)


@dataclass
class Run:
    """A running call: remembers its steps, and stops when `stop_at` of them have come."""

    stop_at: int | None = None
    steps: list[float] = field(default_factory=list)
    files: Mapping[str, bytes] = field(default_factory=dict)
    engines: EngineCache = field(default_factory=engines)

    def step(self, stage: str, fraction: float) -> None:
        assert stage == "upscaling"
        self.steps.append(fraction)
        if len(self.steps) == self.stop_at:
            raise Cancelled("stopped")


def enlarge(pixels: Pixels, run: Run | None = None, **params: Any) -> ToolResult:
    return upscale.run(Picture(pixels, "png"), UpscaleParams.model_validate(params), run or Run())


def by_lanczos(pixels: Pixels, factor: int) -> Pixels:
    size = pixels.shape[1] * factor, pixels.shape[0] * factor
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
