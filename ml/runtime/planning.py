"""What is known of a call before its picture is decoded: sizes, and with them limits and memory.

Every limit that the header can answer is checked here, so that no work is done for an answer that cannot be
given.
"""

from dataclasses import dataclass
from pathlib import Path

import psutil

from ml import catalogue
from ml.backend import ToolCall
from ml.errors import NotEnoughMemory, PictureTooLarge
from ml.imaging import codecs

# Bytes a pixel at the peak of decoding and of encoding, measured with pictures of 16 to 50 megapixels and
# rounded up; they include the arrays of pixels themselves. Tools work in rows or tiles beside them.
_DECODING_BYTES = {"jpg": 10, "png": 13, "webp": 16, "avif": 20, "heic": 20}
_ENCODING_BYTES = {"jpg": 8, "png": 12, "webp": 16, "avif": 40}
#: Of the machine's free memory, what is left to everything else.
_RESERVE_BYTES = 128 << 20


@dataclass(frozen=True)
class CallPlan:
    """Sizes are (width, height) in pixels, upright."""

    source_format: str
    source: tuple[int, int]
    #: Of the answer; the source's where it depends on what the picture shows.
    answer: tuple[int, int]
    #: As asked for, or the source's own for auto: whether the answer has transparency is not known yet.
    answer_format: str

    @property
    def source_megapixels(self) -> float:
        return self.source[0] * self.source[1] / 1e6

    @property
    def answer_megapixels(self) -> float:
        return self.answer[0] * self.answer[1] / 1e6

    @property
    def memory_bytes(self) -> int:
        """Memory that decoding, and encoding beside the decoded picture, take at least."""
        decoding = _DECODING_BYTES[self.source_format] * self.source[0] * self.source[1]
        encoding = _ENCODING_BYTES[self.answer_format] * self.answer[0] * self.answer[1]
        return decoding + encoding


def plan(call: ToolCall) -> CallPlan:
    """The plan of `call`, whose picture is `files["image"]`.

    Raises what `codecs.probe` raises; `PictureTooLarge` and `BadParameter` for an answer too large for this
    server or for the format asked for, and for parameters that the picture's size makes impossible.
    """
    picture = call.files["image"]
    source_format = codecs.sniff(picture[: codecs.SNIFF_BYTES])
    source = codecs.upright_size(picture)
    tool = catalogue.get(call.tool)
    # Of a tool outside the catalogue only the picture is known.
    answer = source if tool is None else tool.answer_size(call.params, source)
    if answer is not None:
        codecs.check_output_size(*answer)
        codecs.check_format_holds(call.params.format, *answer)
    size = answer or source
    answer_format = codecs.resolve_format(call.params.format, source_format, False, False, size)
    return CallPlan(source_format, source, size, answer_format)


def check_memory(plan: CallPlan, limit_bytes: int) -> None:
    """Raises `PictureTooLarge` beyond `limit_bytes`, `NotEnoughMemory` if the machine has too little now."""
    if plan.memory_bytes > limit_bytes:
        raise PictureTooLarge(
            f"The call would need about {plan.memory_bytes >> 20} MiB of memory for its pictures;"
            f" this server allows {limit_bytes >> 20} MiB."
        )
    if plan.memory_bytes > available_bytes() - _RESERVE_BYTES:
        raise NotEnoughMemory("The server has too little free memory for a picture of this size now.")


def available_bytes() -> int:
    """Memory that can be taken now: of the machine, and of the container where that has a limit."""
    free = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        # Files that the kernel caches for the container count as used, and are given back at need.
        cached = sum(
            int(line.split()[1])
            for line in (group / "memory.stat").read_text().splitlines()
            if line.startswith(("inactive_file ", "active_file "))
        )
    except (OSError, ValueError):  # no container, or one without a limit, whose file says "max"
        return free
    return min(free, limit - used + cached)
