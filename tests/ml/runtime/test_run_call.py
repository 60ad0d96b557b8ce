"""One call from uploaded to returned bytes."""

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ml import catalogue
from ml.backend import ToolAnswer, ToolCall
from ml.errors import (
    BadParameter,
    Cancelled,
    OutOfMemory,
    PictureTooLarge,
    UnreadablePicture,
    UnsupportedFormat,
)
from ml.pixels import Pixels
from ml.runtime import run_call
from ml.tool import Context, Tool, ToolResult
from ml.tools.crop import CropParams
from tests.support.ml import photos

PHOTO = photos.photo("coffee")[:150, :200]
CUTOUT = np.dstack([PHOTO, np.tile(np.arange(200, dtype=np.uint8), (150, 1))])


def perform(content: bytes, **form: str) -> ToolAnswer:
    return perform_watched(content, lambda _stage, _fraction: None, form)


def perform_watched(
    content: bytes, on_step: Callable[[str, float], None], form: Mapping[str, str]
) -> ToolAnswer:
    return run_call.perform(
        ToolCall("crop", CropParams.model_validate(form), {"image": content}), None, on_step
    )


def test_the_result_describes_itself() -> None:
    answer = perform(photos.png_bytes(PHOTO), x="20", y="10", width="50%")
    assert np.array_equal(photos.open_bytes(answer.content), PHOTO[10:, 20:120])
    assert (answer.format, answer.width, answer.height) == ("png", 100, 140)
    assert (answer.source_width, answer.source_height) == (200, 150)
    assert (answer.model, answer.device) == (None, "cpu")
    assert answer.fields == {"bbox": [20, 10, 120, 150]}
    assert answer.warnings == ()
    assert answer.processing_seconds > 0


def test_lengths_are_those_of_the_upright_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its left side
    stored = np.ascontiguousarray(np.rot90(PHOTO))
    answer = perform(photos.png_bytes(stored, exif=exif), x="150", height="30")
    assert (answer.source_width, answer.source_height) == (200, 150)
    assert np.array_equal(photos.open_bytes(answer.content), PHOTO[:30, 150:])


@pytest.mark.parametrize(
    ("source", "form", "format"),
    [
        (photos.jpeg_bytes(PHOTO), {}, "jpg"),
        (photos.png_bytes(PHOTO), {}, "png"),
        (photos.file_bytes(PHOTO, "WEBP"), {}, "webp"),
        (photos.file_bytes(PHOTO, "AVIF"), {}, "avif"),
        (photos.heic_bytes(PHOTO), {}, "jpg"),
        (photos.file_bytes(CUTOUT, "WEBP"), {}, "png"),
        (photos.jpeg_bytes(PHOTO), {"rotate": "10"}, "png"),
        (photos.jpeg_bytes(PHOTO), {"format": "webp"}, "webp"),
        (photos.png_bytes(CUTOUT), {"format": "avif"}, "avif"),
    ],
)
def test_the_content_type_matches_the_bytes(source: bytes, form: dict[str, str], format: str) -> None:
    answer = perform(source, **form)
    assert answer.format == format
    with Image.open(io.BytesIO(answer.content)) as opened:
        assert opened.format == {"jpg": "JPEG"}.get(format, format.upper())
        assert opened.size == (answer.width, answer.height)


def test_quality_reaches_the_encoder() -> None:
    source = photos.png_bytes(PHOTO)
    low, high = (perform(source, format="jpg", quality=quality) for quality in ("30", "95"))
    assert len(high.content) > 2 * len(low.content)


def test_a_cutout_as_jpg_is_on_white_with_a_warning() -> None:
    answer = perform(photos.png_bytes(CUTOUT), format="jpg")
    assert len(answer.warnings) == 1
    assert "white" in answer.warnings[0]
    assert photos.open_bytes(answer.content)[:, 0].min() >= 250


def test_progress_covers_decoding_the_tool_and_encoding() -> None:
    steps: list[tuple[str, float]] = []
    form = {"resize": "50x50"}
    perform_watched(photos.png_bytes(PHOTO), lambda *step: steps.append(step), form)
    assert [stage for stage, _ in steps] == ["reading the image", "cropping", "resizing", "writing the image"]
    fractions = [fraction for _, fraction in steps]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] < 1


@pytest.mark.parametrize("at", ["reading the image", "cropping", "writing the image"])
def test_a_call_stops_at_the_step_where_it_is_cancelled(at: str) -> None:
    reached: list[str] = []

    def stop(stage: str, _fraction: float) -> None:
        reached.append(stage)
        if stage == at:
            raise Cancelled("The caller went away.")

    with pytest.raises(Cancelled):
        perform_watched(photos.png_bytes(PHOTO), stop, {})
    assert reached[-1] == at


class TestPrivacy:
    """Every kind of metadata of a file, each containing `SECRET`."""

    SECRET = "53.5511N-SECRET-9.9937E"

    def exif(self) -> Image.Exif:
        exif = Image.Exif()
        exif[0x010E] = self.SECRET  # description
        exif[0x0110] = "Camera " + self.SECRET
        exif.get_ifd(0x8825).update(
            {1: "N", 2: (53.0, 33.0, 4.0), 3: "E", 4: (9.0, 59.0, 37.0), 29: self.SECRET}
        )
        exif.get_ifd(0x8769)[0x9286] = self.SECRET.encode()  # user comment
        return exif

    def sources(self) -> dict[str, bytes]:
        from PIL.PngImagePlugin import PngInfo

        xmp = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'>{self.SECRET}</x:xmpmeta>".encode()
        text = PngInfo()
        text.add_text("Comment", self.SECRET)
        text.add_itxt("XML:com.adobe.xmp", xmp.decode())
        exif = self.exif()
        return {
            "jpg": photos.jpeg_bytes(PHOTO, exif=exif, xmp=xmp, comment=self.SECRET),
            "png": photos.png_bytes(PHOTO, exif=exif, pnginfo=text),
            "webp": photos.file_bytes(PHOTO, "WEBP", exif=exif, xmp=xmp),
            "avif": photos.file_bytes(PHOTO, "AVIF", exif=exif, xmp=xmp),
            "heic": photos.heic_bytes(PHOTO, exif=exif.tobytes(), xmp=xmp),
        }

    @pytest.mark.parametrize("format", ["png", "jpg", "webp", "avif"])
    @pytest.mark.parametrize("source", ["jpg", "png", "webp", "avif", "heic"])
    def test_gps_exif_xmp_and_comments_are_removed(self, source: str, format: str) -> None:
        content = self.sources()[source]
        assert self.SECRET.encode() in content
        answer = perform(content, format=format)
        assert self.SECRET.encode() not in answer.content
        for mark in (b"Exif", b"xmpmeta", b"iCCP", b"tEXt", b"eXIf", b"XMP "):
            assert mark not in answer.content
        # A JPEG has no shorter way to state that its colours are sRGB than our own profile.
        assert (b"ICC_PROFILE" in answer.content) == (format == "jpg")
        with Image.open(io.BytesIO(answer.content)) as opened:
            assert not opened.getexif()
            assert not opened.getexif().get_ifd(0x8825)


class TestErrors:
    def test_a_file_that_is_not_an_image(self) -> None:
        with pytest.raises(UnsupportedFormat):
            perform(b"this is a text named photo.jpg")

    def test_a_damaged_image(self) -> None:
        with pytest.raises(UnreadablePicture):
            perform(photos.jpeg_bytes(PHOTO)[:2000])

    def test_an_impossible_box(self) -> None:
        with pytest.raises(BadParameter, match="width"):
            perform(photos.png_bytes(PHOTO), x="190", width="20")

    def test_a_result_its_format_cannot_hold(self) -> None:
        with pytest.raises(BadParameter) as refusal:
            perform(photos.png_bytes(PHOTO[:1]), resize="16384x82", format="webp")
        assert refusal.value.name == "format"

    def test_a_result_of_too_many_pixels(self) -> None:
        with pytest.raises(PictureTooLarge):
            self.perform_with(lambda: np.broadcast_to(np.uint8(0), (9000, 9000, 3)))

    def test_too_little_memory_for_numpy_and_for_opencv(self) -> None:
        def too_much_for_opencv() -> Pixels:
            import cv2

            enormous = np.broadcast_to(np.uint8(0), (1 << 15, 1 << 15))
            answer: Pixels = cv2.resize(enormous[:2, :2].copy(), (1 << 24, 1 << 22))
            return answer

        for make in (lambda: np.empty((1 << 24, 1 << 24, 3), np.uint8), too_much_for_opencv):
            with pytest.raises(OutOfMemory):
                self.perform_with(make)

    def test_an_internal_error_is_not_reported_as_a_client_error(self) -> None:
        def defective() -> Pixels:
            raise KeyError("a name that should be there")

        with pytest.raises(KeyError):
            self.perform_with(defective)

    def perform_with(self, make: Callable[[], Pixels]) -> None:
        """A call to a tool that answers what `make` makes."""

        def run(_source: object, _params: Any, _context: Context) -> ToolResult:
            return ToolResult(make())

        tool: Tool = replace(catalogue.TOOLS["crop"], name="made", run=run)
        catalogue.TOOLS["made"] = tool
        try:
            content = photos.png_bytes(PHOTO)
            run_call.perform(ToolCall("made", CropParams(), {"image": content}), None, lambda _s, _f: None)
        finally:
            del catalogue.TOOLS["made"]
