"""Checks from the header alone: result size, format limits, memory. Nothing is decoded."""

from typing import Any

import numpy as np
import pytest

from ml.backend import ToolCall
from ml.catalogue import TOOLS, UNLISTED_TOOLS
from ml.errors import BadParameter, NotEnoughMemory, PictureTooLarge
from ml.imaging import codecs
from ml.runtime import planning
from ml.runtime.run_call import perform
from ml.tool import Tool
from tests.support.ml import hostile, photos

MIB = 1 << 20


def call(tool: str, picture: bytes, **form: str) -> ToolCall:
    found: Tool = (TOOLS | UNLISTED_TOOLS)[tool]
    return ToolCall(tool, found.params.model_validate(form), {"image": picture})


def header(width: int, height: int) -> bytes:
    """A PNG whose pixels are garbage: had anything been decoded, the error would be another one."""
    return hostile.png(width, height, idat=b"not a zlib stream")


def planned(tool: str, width: int, height: int, /, **form: str) -> planning.CallPlan:
    return planning.plan(call(tool, header(width, height), **form))


class Nothing:
    """No engine may be asked for."""

    def __getattr__(self, name: str) -> Any:
        pytest.fail(f"{name} was asked for")


@pytest.mark.parametrize(
    ("tool", "form", "answer"),
    [
        ("crop", {}, (600, 400)),
        ("crop", {"width": "50%", "height": "100"}, (300, 100)),
        ("crop", {"aspect_ratio": "1:1", "rotate": "90"}, (400, 400)),
        ("crop", {"rotate": "90"}, (400, 600)),
        ("crop", {"resize": "100x100"}, (100, 67)),
        ("crop", {"resize": "100x100", "fit": "pad"}, (100, 100)),
        ("upscale", {"scale": "4"}, (2400, 1600)),
        ("generative-expand", {"left": "10%", "top": "5"}, (660, 405)),
        ("bg-removal", {"preset": "marketplace"}, (2000, 2000)),
        ("bg-removal", {"bg_color": "red"}, (600, 400)),
        ("rendition", {"width": "300"}, (300, 200)),
    ],
)
def test_the_result_size_is_computed_by_the_tool(
    tool: str, form: dict[str, str], answer: tuple[int, int]
) -> None:
    assert planned(tool, 600, 400, **form).answer == answer
    if tool in ("crop", "rendition"):
        made = perform(call(tool, photos.png_bytes(photos.photo("coffee")), **form), None, lambda *_: None)
        assert (made.width, made.height) == answer


def test_the_orientation_of_the_image_is_applied() -> None:
    content = photos.jpeg_bytes(photos.photo("coffee"), exif=b"Exif\0\0" + codecs_orientation(6))
    assert planning.plan(call("crop", content, width="100%", height="50%")).answer == (400, 300)


def codecs_orientation(number: int) -> bytes:
    from ml.imaging.formats import exif

    return exif.orientation_only(number)


@pytest.mark.parametrize(
    ("tool", "form"),
    [
        ("crop", {"resize": "9000x9000"}),
        ("crop", {"resize": "9000x9000", "fit": "cover", "mode": "trim"}),
        ("crop", {"resize": "70000x1", "fit": "pad"}),
        ("bg-removal", {"output_size": "9000x9000"}),
        ("upscale", {"target_width": "20000"}),
        ("generative-expand", {"left": "70000"}),
        ("generative-expand", {"aspect_ratio": "99999:1"}),
    ],
)
def test_a_result_over_the_limit_is_refused_before_any_work(tool: str, form: dict[str, str]) -> None:
    with pytest.raises(PictureTooLarge):
        perform(call(tool, header(4000, 4000), **form), Nothing(), _only_decoding)


@pytest.mark.parametrize(
    ("tool", "height", "form"),
    [
        ("crop", 6000, {"resize": "8000x8000", "format": "avif"}),
        ("crop", 6000, {"resize": "40000x10", "fit": "pad", "format": "avif"}),
        ("upscale", 100, {"scale": "4", "format": "webp"}),
        ("generative-expand", 100, {"left": "14000", "format": "webp"}),
        ("rendition", 6000, {"format": "avif"}),
        ("magic-select", 6000, {"auto": "true", "format": "avif"}),
    ],
)
def test_a_format_that_cannot_hold_the_result_is_named_before_any_work(
    tool: str, height: int, form: dict[str, str]
) -> None:
    with pytest.raises(BadParameter) as refused:
        perform(call(tool, header(6000, height), **form), Nothing(), _only_decoding)
    assert refused.value.name == "format"


def _only_decoding(stage: str, _fraction: float) -> None:
    if stage != "reading the image":
        pytest.fail("work was begun")


def test_auto_falls_back_to_png_where_the_source_s_format_is_too_small() -> None:
    webp = photos.file_bytes(np.zeros((2, 9000, 3), np.uint8), "WEBP", lossless=True)
    plan = planning.plan(call("generative-expand", webp, left="9000"))
    assert (plan.answer, plan.answer_format) == ((18_000, 2), "png")
    made = perform(call("crop", webp, resize="17000x4", fit="pad"), None, lambda *_: None)
    assert made.format == "png"
    assert codecs.resolve_format("auto", "avif", False, False, (8000, 8000)) == "png"
    assert codecs.resolve_format("auto", "avif", False, False, (5000, 5000)) == "avif"


@pytest.mark.parametrize("size", [(50_000_000, 1), (1, 50_000_000), (65_536, 1)])
def test_a_side_over_65_535_is_refused_from_the_header(size: tuple[int, int]) -> None:
    with pytest.raises(PictureTooLarge, match="65535 pixels a side"):
        planned("crop", *size)
    with pytest.raises(PictureTooLarge, match="65535 pixels a side"):
        codecs.decode(header(*size))


def test_a_size_just_above_the_limit_does_not_read_as_the_limit() -> None:
    with pytest.raises(PictureTooLarge, match=r"50\.01 megapixels"):
        planned("crop", 50_001, 1000)


def test_memory_is_checked_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned("crop", 7000, 7000)
    assert plan.memory_bytes > 49_000_000 * 3 * 2
    planning.check_memory(plan, 2048 * MIB)
    with pytest.raises(PictureTooLarge, match="MiB"):
        planning.check_memory(plan, 512 * MIB)
    monkeypatch.setattr(planning, "available_bytes", lambda: 600 * MIB)
    with pytest.raises(NotEnoughMemory):
        planning.check_memory(plan, 2048 * MIB)
    avif = planned("crop", 600, 400, resize="5000x5000", fit="pad", format="avif")
    png = planned("crop", 600, 400, resize="5000x5000", fit="pad", format="png")
    assert avif.memory_bytes > 2 * png.memory_bytes


def test_free_memory_is_bounded_by_the_container_limit() -> None:
    import psutil

    assert 0 < planning.available_bytes() <= psutil.virtual_memory().total


def test_excessive_margins_are_refused_from_the_header() -> None:
    with pytest.raises(PictureTooLarge):
        planned("bg-removal", 8, 8, crop="true", crop_margin="20000")
