"""Checks of a call before its picture is decoded: sizes, limits and memory.

Every limit that depends only on the header is checked here, so that no work is done for a call that must
fail.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import psutil

from ml import catalogue
from ml.backend import Delivery, ToolCall
from ml.errors import NotEnoughMemory, PictureTooLarge
from ml.imaging import codecs, intermediates
from ml.params import Params

# Peak bytes per pixel of decoding and encoding, measured with pictures of 16 to 50 megapixels and rounded up.
# They include the pixel arrays themselves; tools work in rows or tiles.
_DECODING_BYTES = {
    "jpg": 10, "png": 13, "webp": 16, "avif": 20, "heic": 20, "bmp": 10, "gif": 14, "tiff": 20, "raw": 16
}  # fmt: skip
_ENCODING_BYTES = {"jpg": 8, "png": 12, "webp": 16, "avif": 40, "zip": 20, "raw": 16}
#: Free memory of the machine that is left to other processes.
_RESERVE_BYTES = 128 << 20


@dataclass(frozen=True)
class CallPlan:
    """Sizes are (width, height) in pixels, upright."""

    source_format: str
    source: tuple[int, int]
    #: The size at which the tool works: the source's, unless the delivery reduces it.
    reduced: tuple[int, int]
    #: Of the result; the source's if the result's size depends on the picture's content.
    answer: tuple[int, int]
    #: As requested; for auto, the source's, because the result's transparency is not known yet. `raw` for an
    #: intermediate.
    answer_format: str

    @property
    def source_megapixels(self) -> float:
        return self.reduced[0] * self.reduced[1] / 1e6

    @property
    def answer_megapixels(self) -> float:
        return self.answer[0] * self.answer[1] / 1e6

    @property
    def memory_bytes(self) -> int:
        """Minimum memory for decoding, and for encoding while the decoded picture is held."""
        decoding = _DECODING_BYTES[self.source_format] * self.source[0] * self.source[1]
        encoding = _ENCODING_BYTES[self.answer_format] * self.answer[0] * self.answer[1]
        return decoding + encoding


def plan(call: ToolCall) -> CallPlan:
    """The plan of `call`, whose picture is `files["image"]`.

    Raises what `codecs.probe` raises; `PictureTooLarge` and `BadParameter` for a result too large for this
    server or for the requested format, and for parameters that are impossible for the picture's size.
    """
    picture = call.files["image"]
    whole: tuple[int, int] | None = None
    if reads_intermediate(call):
        source_format = "raw"
        own_format, source = intermediates.describe(picture)
        whole = intermediates.whole_size(picture)
    else:
        source_format = own_format = codecs.sniff(picture[: codecs.SNIFF_BYTES])
        source = codecs.upright_size(picture)
    reduced, params = reduce(call, source, whole)
    tool = catalogue.get(call.tool)
    # For a tool outside the catalogue only the picture is checked.
    answer = reduced if tool is None else tool.answer_size(params, reduced)
    is_archive = call.delivery is not None and call.delivery.archive
    if answer is not None:
        codecs.check_output_size(*answer)
        codecs.check_format_holds("jpg" if is_archive else params.format, *answer)
    size = answer or reduced
    answer_format = (
        "zip"
        if is_archive
        else codecs.resolve_format(params.format, auto_format(own_format, call.delivery), False, False, size)
    )
    if call.chaining is not None and not call.chaining.is_last:
        answer_format = "raw"
    return CallPlan(source_format, source, reduced, size, answer_format)


def reads_intermediate(call: ToolCall) -> bool:
    """Whether the call's picture is the intermediate of the step before."""
    return call.chaining is not None and intermediates.is_intermediate(call.files["image"])


def reduce(
    call: ToolCall, source: tuple[int, int], whole: tuple[int, int] | None = None
) -> tuple[tuple[int, int], Params]:
    """The size at which the tool works on a source of this size, and its parameters for that size.

    `whole`: the size that the source would have if no step before had reduced it, which the parameters are
    meant for. Raises as the tool itself for parameters that are impossible for the whole picture.
    """
    whole = whole or source
    size = reduced_size(source, call.delivery)
    side = None if call.delivery is None else call.delivery.max_side
    if side is not None:
        size = _fit(call, whole, size, side)
    if size == whole:
        return size, call.params
    return size, call.params.for_reduced(whole, size)


def _fit(call: ToolCall, whole: tuple[int, int], size: tuple[int, int], side: int) -> tuple[int, int]:
    """`size` with no longer side than `side`, and smaller if the tool's result is the smaller for it."""
    fitted = fitting_size(size, side)
    answer = whole_answer(call, whole)
    if answer is None:
        return fitted

    def longest_answer(at: tuple[int, int]) -> int:
        tool = catalogue.find(call.tool)
        params = call.params if at == whole else call.params.for_reduced(whole, at)
        return max(tool.answer_size(params, at) or at)

    longest = longest_answer(fitted)
    if longest <= side:
        return fitted
    smaller = fitting_size(size, max(1, side * max(fitted) // longest))
    return smaller if longest_answer(smaller) < longest else fitted


def whole_answer(call: ToolCall, whole: tuple[int, int]) -> tuple[int, int] | None:
    """The size of the result for the whole picture; None if it depends on what the picture shows.

    Raises `BadParameter`, `PictureTooLarge`.
    """
    tool = catalogue.get(call.tool)
    answer = whole if tool is None else tool.answer_size(call.params, whole)
    if answer is not None:
        codecs.check_output_size(*answer)
    return answer


def fitting_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(width, height) with no longer side than `side`, in the same proportions."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def reduced_size(source: tuple[int, int], delivery: Delivery | None) -> tuple[int, int]:
    """The (width, height) at which a tool works on a source of this size."""
    if delivery is None or delivery.max_pixels is None or source[0] * source[1] <= delivery.max_pixels:
        return source
    scale = math.sqrt(delivery.max_pixels / (source[0] * source[1]))
    # Rounded down, so that the result never exceeds the limit.
    return max(1, math.floor(source[0] * scale)), max(1, math.floor(source[1] * scale))


def auto_format(source_format: str, delivery: Delivery | None) -> str:
    """The format of `format=auto` for a result without transparency."""
    return (delivery.opaque_format if delivery is not None else None) or source_format


def check_memory(plan: CallPlan, limit_bytes: int) -> None:
    """Raises `PictureTooLarge` beyond `limit_bytes`, `NotEnoughMemory` if the machine has too little now."""
    if plan.memory_bytes > limit_bytes:
        raise PictureTooLarge(
            f"The call would need about {plan.memory_bytes >> 20} MiB of memory for its images;"
            f" this server allows {limit_bytes >> 20} MiB."
        )
    if plan.memory_bytes > available_bytes() - _RESERVE_BYTES:
        raise NotEnoughMemory("The server has too little free memory for an image of this size now.")


def available_bytes() -> int:
    """Memory available now, considering the container's limit."""
    free = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        # The page cache counts as used, but is reclaimed when needed.
        cached = sum(
            int(line.split()[1])
            for line in (group / "memory.stat").read_text().splitlines()
            if line.startswith(("inactive_file ", "active_file "))
        )
    except (OSError, ValueError):  # no container, or no limit ("max")
        return free
    return min(free, limit - used + cached)
