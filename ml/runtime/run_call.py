"""Runs one call in a worker: decode, run the tool, encode."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from ml import catalogue
from ml.backend import ToolAnswer, ToolCall
from ml.errors import BadParameter, MlError, OutOfMemory
from ml.imaging import codecs, intermediates
from ml.params import Params
from ml.pixels import Picture, Pixels
from ml.runtime import planning
from ml.tool import Size, Tool, ToolResult

OnStep = Callable[[str, float], None]

#: The tool's own progress, 0..1, is mapped between these.
_DECODED, _RUN = 0.1, 0.9


@dataclass(frozen=True)
class _Context:
    """The `ml.tool.Context` of a running tool."""

    files: Mapping[str, bytes]
    engines: Any
    on_step: OnStep

    def step(self, stage: str, fraction: float) -> None:
        self.on_step(stage, _DECODED + (_RUN - _DECODED) * fraction)


def perform(call: ToolCall, engines: Any, on_step: OnStep) -> ToolAnswer:
    """Run `call` on its `files["image"]`.

    `on_step(stage, fraction 0..1)` receives `decoding`, the tool's own stages and `encoding`, and may raise
    `Cancelled`. Raises `MlError`s for problems with the picture, the parameters or the machine; any other
    exception is a defect.
    """
    began = time.perf_counter()
    tool = catalogue.find(call.tool)
    with _translate_memory_errors():
        on_step("reading the image", 0.0)
        planning.plan(call)
        decoded, whole = _source(call)
        decode_seconds = time.perf_counter() - began
        source, params = _reduced(decoded, whole, call)
        files = _reduced_files(call, tool, source, whole)
        outcome = tool.run(source, params, _Context(files, engines, on_step))
        on_step("writing the image", _RUN)
        encoding_began = time.perf_counter()
        pixels, result_whole = _delivered(outcome.pixels, source, whole, call)
        has_alpha = pixels.ndim == 3 and pixels.shape[2] == 4
        content, format, as_format = _encode(pixels, source, call, result_whole)
    ended = time.perf_counter()
    warnings = [*source.warnings, *outcome.warnings]
    if call.params.keep_metadata and not source.exif:
        warnings.append("The image has no metadata that keep_metadata could keep.")
    if has_alpha and as_format == "jpg":
        warnings.append("JPEG does not support transparency: the image was placed on a white background.")
    return ToolAnswer(
        content=content,
        format=format,
        width=int(pixels.shape[1]),
        height=int(pixels.shape[0]),
        model=outcome.model,
        device=outcome.device,
        source_width=decoded.width,
        source_height=decoded.height,
        fields={**outcome.fields, **_delivery_fields(decoded, source, call)},
        warnings=tuple(warnings),
        processing_seconds=ended - began,
        decode_seconds=decode_seconds,
        encode_seconds=ended - encoding_began,
        mask_mode=_mask_mode(outcome, pixels, as_format),
        precision=None if outcome.model is None else engines.precision(outcome.model),
        artefacts=outcome.artefacts,
    )


def _source(call: ToolCall) -> tuple[Picture, Size]:
    """The picture, and the size that it would have if no step before had reduced it."""
    content = call.files["image"]
    if planning.reads_intermediate(call):
        picture = intermediates.read(content)
        return picture, intermediates.whole_size(content) or (picture.width, picture.height)
    picture = codecs.decode(content)
    return picture, (picture.width, picture.height)


def _reduced(source: Picture, whole: Size, call: ToolCall) -> tuple[Picture, Params]:
    """The source and the parameters as the tool gets them."""
    size = (source.width, source.height)
    reduced, params = planning.reduce(call, size, whole)
    if reduced == size:
        return source, params
    from ml.imaging.resampling import resize

    return replace(source, pixels=resize(source.pixels, reduced), jpeg_tables=None), params


def _reduced_files(call: ToolCall, tool: Tool, source: Picture, whole: Size) -> Mapping[str, bytes]:
    """The files as the tool gets them: those that must be as large as the source are reduced with it."""
    size = (source.width, source.height)
    names = [each.name for each in tool.files if each.is_sized_as_source and each.name in call.files]
    if size == whole or not names:
        return call.files
    from ml.imaging.resampling import resize

    reduced = {}
    for name in names:
        # What is wrong with a file or its size is for the tool to say, about the file as it was sent.
        with suppress(MlError):
            picture = codecs.decode(call.files[name])
            if (picture.width, picture.height) == whole:
                reduced[name] = codecs.encode(resize(picture.pixels, size), "png")
    return {**call.files, **reduced}


def _delivered(pixels: Pixels, source: Picture, whole: Size, call: ToolCall) -> tuple[Pixels, Size | None]:
    """The result as it is delivered, and the size that the whole picture's would have, if that is another."""
    delivery = call.delivery
    if delivery is None or delivery.max_side is None:
        return pixels, None
    size = (int(pixels.shape[1]), int(pixels.shape[0]))
    scaled = (round(size[0] * whole[0] / source.width), round(size[1] * whole[1] / source.height))
    result_whole = planning.whole_answer(call, whole) or scaled
    fitted = planning.fitting_size(size, delivery.max_side)
    if fitted != size:
        from ml.imaging.resampling import resize

        pixels = resize(pixels, fitted)
    if _is_marked(call):
        from ml.imaging import watermark

        assert delivery.mark is not None
        pixels = watermark.cover(pixels, delivery.mark)
    return pixels, result_whole


def _is_marked(call: ToolCall) -> bool:
    """Whether the result shows the delivery's mark, which only the last of several steps draws."""
    is_last = call.chaining is None or call.chaining.is_last
    return is_last and call.delivery is not None and call.delivery.mark is not None


def _encode(
    pixels: Pixels, source: Picture, call: ToolCall, whole: Size | None = None
) -> tuple[bytes, str, str]:
    """The content of the answer, its format, and the one that its pixels are for."""
    if call.delivery is not None and call.delivery.archive:
        if pixels.ndim == 2:
            raise BadParameter("format", "a mask has no colours, so it cannot be delivered as a ZIP")
        from ml.imaging import archives

        return archives.color_and_alpha(pixels, call.params.quality), "zip", "zip"
    has_alpha = pixels.ndim == 3 and pixels.shape[2] == 4
    size = (int(pixels.shape[1]), int(pixels.shape[0]))
    own = planning.auto_format(source.format, call.delivery)
    format = codecs.resolve_format(call.params.format, own, has_alpha, pixels.ndim == 2, size)
    density = source.dpi if call.params.dpi is None else (float(call.params.dpi), float(call.params.dpi))
    block = _exif_block(source, call.params, format, density)
    if call.chaining is not None and not call.chaining.is_last:
        raw_bytes_max = call.chaining.raw_bytes_max
        content = intermediates.write(
            pixels, format, density, block, raw_bytes_max=raw_bytes_max, whole=whole
        )
        return content, "raw", format
    return codecs.encode(pixels, format, call.params.quality, density, block), format, format


def _exif_block(
    source: Picture, params: Params, format: str, density: tuple[float, float] | None
) -> bytes | None:
    """What the result keeps of the source's EXIF, and a density that its format cannot state otherwise."""
    from ml.imaging.formats import camera_metadata

    tags = camera_metadata.read(source.exif) if params.keep_metadata else ()
    if density is not None and format in ("webp", "avif"):
        tags += camera_metadata.density_tags(density)
    return camera_metadata.block(tags) if tags else None


def _delivery_fields(decoded: Picture, source: Picture, call: ToolCall) -> dict[str, Any]:
    """For a call with a delivery: the source's size, and the scale at which the tool worked on it."""
    if call.delivery is None:
        return {}
    scale = source.width / decoded.width
    return {"source": {"width": decoded.width, "height": decoded.height, "scale": scale}}


def _mask_mode(result: ToolResult, pixels: Pixels, format: str) -> str | None:
    if not result.is_mask:
        return None
    if pixels.ndim == 2:
        return "luminance"
    has_alpha = pixels.shape[2] == 4 and format != "jpg"
    return "alpha" if has_alpha else None


@contextmanager
def _translate_memory_errors() -> Iterator[None]:
    """Raise `OutOfMemory` for the errors of Python and OpenCV when memory runs out."""
    try:
        yield
    except Exception as error:
        opencv_code_for_no_memory = -4
        is_opencv = type(error).__module__ == "cv2"
        if isinstance(error, MemoryError) or (
            is_opencv and getattr(error, "code", None) == opencv_code_for_no_memory
        ):
            raise OutOfMemory("There is not enough memory for this call at the moment.") from error
        raise
