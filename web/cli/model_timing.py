"""Seconds that installed checkpoints take on this machine, for `bgeraser models list --measure`."""

import io
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml.checkpoints.types import Checkpoint

_PHOTO = Path(__file__).parents[1] / "static" / "samples" / "astronaut.jpg"
_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class _Sample:
    """What is timed for the checkpoints of a tool: a photo of `side` x `side` pixels and form fields."""

    side: int
    fields: dict[str, str]
    has_mask: bool = False  # of a square in the middle, a fifth as wide as the photo


#: Upscaling is timed on a smaller photo, because its result is up to 16 times as large.
_SAMPLES = {
    "bg-removal": _Sample(1000, {}),
    "magic-select": _Sample(1000, {"points": "[[440, 400, 1]]"}),
    "upscale": _Sample(250, {}),
    "generative-fill": _Sample(1000, {}, has_mask=True),
}
#: Networks that fill without a prompt. The other checkpoints of generative-fill are parts of a pipeline.
_FILLING = ("migan", "lama")
_FIELDS = {
    "span-x2": {"mode": "fast", "scale": "2"},
    "span-x4": {"mode": "fast", "scale": "4"},
    "realesrgan-x4plus": {"mode": "quality", "scale": "4"},
}


class Timing:
    """Runs calls in this process, one at a time, with an engine cache of its own."""

    def __init__(self, models_dir: Path, device: str, memory_mb: int) -> None:
        from ml.engines.cache import EngineCache

        # Compiled models of an empty cache: what the server has compiled stays as it is.
        self._cache_dir = tempfile.TemporaryDirectory()
        self._engines = EngineCache(models_dir, Path(self._cache_dir.name), device, memory_mb * _MEBIBYTE)

    def __enter__(self) -> "Timing":
        return self

    def __exit__(self, *_: object) -> None:
        self._cache_dir.cleanup()

    def describe(self, checkpoint: Checkpoint) -> str:
        """The time of a second call with `checkpoint`, which must be installed, or why there is none."""
        from ml.errors import MlError

        sample = _SAMPLES.get(checkpoint.tool)
        is_part = checkpoint.tool == "generative-fill" and checkpoint.name not in _FILLING
        if sample is None or is_part:
            return "not timed: works only as a part of a pipeline"
        try:
            seconds = self._seconds(checkpoint, sample)
        except MlError as error:
            return f"not timed: {error}"
        return f"{seconds:.2f} s for {sample.side} x {sample.side} pixels on {self._engines.device}"

    def _seconds(self, checkpoint: Checkpoint, sample: _Sample) -> float:
        from ml import catalogue
        from ml.backend import ToolCall
        from ml.runtime import run_call

        fields: dict[str, Any] = sample.fields | _FIELDS.get(checkpoint.name, {"model": checkpoint.name})
        params = catalogue.find(checkpoint.tool).params.model_validate(fields)
        files = {"image": _photo(sample.side)}
        if sample.has_mask:
            files["mask"] = _mask(sample.side)
        call = ToolCall(checkpoint.tool, params, files)
        for _ in ("loads and compiles", "is timed"):
            began = time.perf_counter()
            run_call.perform(call, self._engines, lambda _stage, _fraction: None)
        return time.perf_counter() - began


def _photo(side: int) -> bytes:
    from PIL import Image

    content = io.BytesIO()
    with Image.open(_PHOTO) as photo:
        photo.convert("RGB").resize((side, side)).save(content, "PNG")
    return content.getvalue()


def _mask(side: int) -> bytes:
    from PIL import Image

    content = io.BytesIO()
    mask = Image.new("L", (side, side))
    mask.paste(255, (2 * side // 5, 2 * side // 5, 3 * side // 5, 3 * side // 5))
    mask.save(content, "PNG")
    return content.getvalue()
