"""What of EXIF is kept on request, and that nothing else is."""

import io
import random
import struct

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from ml.backend import ToolAnswer, ToolCall
from ml.imaging import codecs
from ml.imaging.formats import camera_metadata
from ml.runtime import run_call
from ml.tools.crop import CropParams

_DETAILS, _GPS = 0x8769, 0x8825
_MAKE, _SERIAL, _TAKEN, _EXPOSURE = 0x010F, 0xA431, 0x9003, 0x829A
_TEXTS_OF_THE_FIRST = {0x010E, _MAKE, 0x0110, 0x0132, 0x013B, 0x8298}


def crop(content: bytes, **form: str) -> ToolAnswer:
    params = CropParams.model_validate({"width": "20", **form})
    return run_call.perform(
        ToolCall("crop", params, {"image": content}), None, lambda _stage, _fraction: None
    )


def photo(format: str = "JPEG") -> bytes:
    """With make, date, exposure, serial number, position, orientation and a maker's note."""
    exif = Image.Exif()
    exif[_MAKE] = "ACME"
    exif[0x0112] = 6
    details = exif.get_ifd(_DETAILS)
    details[_TAKEN] = "2024:01:02 03:04:05"
    details[_EXPOSURE] = IFDRational(1, 250)
    details[_SERIAL] = "SERIAL-12345"
    details[0x927C] = b"maker's note"
    position = exif.get_ifd(_GPS)
    position[1], position[2] = "N", (52.0, 31.0, 12.0)
    content = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 255, (30, 40, 3), np.uint8)
    Image.fromarray(pixels).save(content, format, exif=exif, dpi=(150, 150))
    return content.getvalue()


@pytest.mark.parametrize("source_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("format", ["jpg", "png", "webp", "avif"])
def test_the_making_is_kept_and_position_serial_number_and_orientation_are_not(
    source_format: str, format: str
) -> None:
    source = photo(source_format)
    assert b"SERIAL" in source
    answer = crop(source, keep_metadata="true", format=format)
    with Image.open(io.BytesIO(answer.content)) as image:
        exif = image.getexif()
    assert exif[_MAKE] == "ACME"
    details = exif.get_ifd(_DETAILS)
    assert details[_TAKEN] == "2024:01:02 03:04:05"
    assert details[_EXPOSURE] == pytest.approx(1 / 250)
    assert exif.get_ifd(_GPS) == {}
    assert exif.get(0x0112, 1) == 1
    assert b"SERIAL" not in answer.content
    assert b"maker" not in answer.content
    assert answer.warnings == ()


def test_nothing_is_kept_unless_asked_for() -> None:
    answer = crop(photo(), format="jpg")
    with Image.open(io.BytesIO(answer.content)) as image:
        assert dict(image.getexif()) == {}


def test_a_picture_without_metadata_gets_a_warning() -> None:
    content = io.BytesIO()
    Image.new("RGB", (40, 30)).save(content, "PNG")
    answer = crop(content.getvalue(), keep_metadata="true")
    assert any("metadata" in warning for warning in answer.warnings)


@pytest.mark.parametrize("format", ["jpg", "png", "webp", "avif"])
def test_the_density_asked_for_is_stated_in_every_format(format: str) -> None:
    answer = crop(photo(), dpi="300", format=format)
    with Image.open(io.BytesIO(answer.content)) as image:
        density = image.info.get("dpi") or tuple(image.getexif()[tag] for tag in (0x011A, 0x011B))
    assert [float(value) for value in density] == pytest.approx([300, 300], abs=0.01)


@pytest.mark.parametrize("order", ["<", ">"])
def test_texts_are_limited_and_lose_control_characters(order: str) -> None:
    def stored(text: bytes) -> bytes:
        entry = struct.pack(order + "HHII", _MAKE, 2, len(text), 26)
        head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
        return head + struct.pack(order + "H", 1) + entry + bytes(4) + text

    (entry,) = camera_metadata.read(stored(b"AC\x1b[0mME\x07\0hidden\0"))
    assert entry.value == b"AC[0mME\0"
    assert camera_metadata.read(stored(b"x" * 1_001)) == ()
    assert camera_metadata.read(stored(bytes(6))) == ()


def test_damaged_blocks_raise_nothing_and_keep_no_other_tags() -> None:
    whole = codecs.decode(photo()).exif
    assert whole is not None
    start = len(b"Exif\0\0") if whole.startswith(b"Exif") else 0
    chance = random.Random(7)
    kept = 0
    for _ in range(2_000):
        damaged = bytearray(whole[start:])
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(4, len(damaged))] = chance.randrange(256)
        entries = camera_metadata.read(bytes(damaged[: chance.randint(len(damaged) // 2, len(damaged))]))
        assert all(entry.is_detail or entry.tag in _TEXTS_OF_THE_FIRST for entry in entries)
        assert len(camera_metadata.block(entries)) < 60_000
        kept += len(entries)
    assert kept > 500


def test_a_directory_that_contains_itself_is_read_once() -> None:
    pointer = struct.pack(">HHII", _DETAILS, 4, 1, 8)
    assert camera_metadata.read(b"MM\0*" + struct.pack(">IH", 8, 1) + pointer + bytes(4)) == ()


@pytest.mark.parametrize("format", ["jpg", "png", "webp", "avif"])
def test_a_density_that_only_exif_states_is_kept(format: str) -> None:
    exif = Image.Exif()
    exif[0x011A], exif[0x011B], exif[0x0128] = IFDRational(240), IFDRational(240), 2
    content = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 90, 10)).save(content, "JPEG", exif=exif)
    answer = crop(content.getvalue(), format=format)
    with Image.open(io.BytesIO(answer.content)) as image:
        density = image.info.get("dpi") or tuple(image.getexif()[tag] for tag in (0x011A, 0x011B))
    assert [float(value) for value in density] == pytest.approx([240, 240], abs=0.01)


def test_fractions_by_zero_and_texts_that_are_not_utf_8_are_dropped() -> None:
    def entry(tag: int, kind: int, count: int, offset: int) -> bytes:
        return struct.pack(">HHII", tag, kind, count, offset)

    first = struct.pack(">H", 2) + entry(0x013B, 2, 6, 80) + entry(_DETAILS, 4, 1, 40) + bytes(4)
    details = struct.pack(">H", 1) + entry(_EXPOSURE, 5, 1, 90) + bytes(4)
    block = (b"MM\0*" + struct.pack(">I", 8) + first).ljust(40, b"\0") + details
    block = block.ljust(80, b"\0") + b"\xff\xfe\xfdabc".ljust(10, b"\0")
    assert camera_metadata.read(block + struct.pack(">II", 1, 0)) == ()
    (exposure,) = camera_metadata.read(block + struct.pack(">II", 1, 8))
    assert exposure.tag == _EXPOSURE
