"""One call from bytes to bytes, inside a worker: decode, run the tool, encode."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ml import catalogue, codecs
from ml.backend import ToolAnswer, ToolCall
from ml.errors import MlError, OutOfMemory


@dataclass(frozen=True)
class _RunningCall:
    """The `ml.tool.Context` of one call."""

    files: Mapping[str, bytes]
    engines: Any
    step: Callable[[str, float], None]


def perform(call: ToolCall, engines: Any, on_step: Callable[[str, float], None]) -> ToolAnswer:
    """Run `call`. `on_step(stage, fraction 0..1)` may raise `Cancelled`.

    Raises only `MlError`s for what the picture, the parameters or the machine are to blame for; any other
    exception is a defect of ours.
    """
    began = time.perf_counter()
    tool = catalogue.TOOLS[call.tool]
    try:
        on_step("decoding", 0.0)
        source = codecs.decode(call.files["image"])
        outcome = tool.run(source, call.params, _RunningCall(call.files, engines, on_step))
        on_step("encoding", 0.9)
        pixels = outcome.pixels
        has_alpha = pixels.ndim == 3 and pixels.shape[2] == 4
        format = codecs.resolve_format(call.params.format, source.format, has_alpha, pixels.ndim == 2)
        content = codecs.encode(pixels, format, call.params.quality)
    except MlError:
        raise
    except MemoryError:
        raise OutOfMemory("The machine has no memory left for this call.") from None
    warnings = list(outcome.warnings)
    if has_alpha and format == "jpg":
        warnings.append("jpg holds no transparency: the picture was laid on white.")
    return ToolAnswer(
        content=content,
        format=format,
        width=int(pixels.shape[1]),
        height=int(pixels.shape[0]),
        model=outcome.model,
        device=outcome.device,
        source_width=source.width,
        source_height=source.height,
        fields=outcome.fields,
        warnings=tuple(warnings),
        processing_seconds=time.perf_counter() - began,
    )
