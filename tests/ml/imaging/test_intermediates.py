"""What a step hands on is what the next one would have decoded, without the losses of its format."""

import json

import numpy as np
import pytest

from ml.errors import BadParameter, PictureTooLarge, UnreadablePicture, UnsupportedFormat
from ml.imaging import codecs, intermediates
from ml.pixels import Pixels
from tests.support.ml import photos

MIB = 1 << 20
PHOTO = photos.photo("coffee")[:150, :200]
CUTOUT = np.dstack([PHOTO, np.tile(np.arange(200, dtype=np.uint8), (150, 1))])
OPAQUE = np.dstack([PHOTO, np.full(PHOTO.shape[:2], 255, np.uint8)])


@pytest.mark.parametrize("raw_bytes_max", [MIB, 0])
@pytest.mark.parametrize("pixels", [PHOTO, CUTOUT, OPAQUE, PHOTO[..., 0], CUTOUT[::-1, ::-1]])
def test_it_reads_as_a_png_of_the_same_pixels_would(pixels: Pixels, raw_bytes_max: int) -> None:
    content = intermediates.write(pixels, "png", (300.0, 150.0), b"MM\0*exif", raw_bytes_max=raw_bytes_max)
    assert intermediates.is_intermediate(content)
    assert intermediates.describe(content) == ("png", (200, 150))
    picture, decoded = intermediates.read(content), codecs.decode(codecs.encode(pixels, "png"))
    assert np.array_equal(picture.pixels, decoded.pixels)
    assert (picture.format, picture.dpi, picture.exif) == ("png", (300.0, 150.0), b"MM\0*exif")
    assert picture.pixels.flags.writeable


def test_only_pixels_within_the_limit_are_handed_on_as_they_are() -> None:
    raw = intermediates.write(CUTOUT, "webp", raw_bytes_max=CUTOUT.nbytes)
    packed = intermediates.write(CUTOUT, "webp", raw_bytes_max=CUTOUT.nbytes - 1)
    assert len(raw) > CUTOUT.nbytes > len(packed)
    assert np.array_equal(intermediates.read(raw).pixels, intermediates.read(packed).pixels)


def test_transparency_that_the_format_cannot_hold_is_on_white_and_nothing_else_is_lost() -> None:
    picture = intermediates.read(intermediates.write(CUTOUT, "jpg", raw_bytes_max=MIB))
    assert picture.format == "jpg"
    assert np.array_equal(picture.pixels, codecs.on_white(CUTOUT))
    hidden = CUTOUT[..., 3] == 0
    kept = intermediates.read(intermediates.write(CUTOUT, "webp", raw_bytes_max=MIB)).pixels
    assert not kept[hidden].any()
    assert np.array_equal(kept[~hidden], CUTOUT[~hidden])


def test_what_the_format_cannot_hold_is_refused() -> None:
    with pytest.raises(BadParameter):
        intermediates.write(np.zeros((1, 20_000, 3), np.uint8), "webp", raw_bytes_max=MIB)
    with pytest.raises(PictureTooLarge):
        intermediates.write(np.zeros((1, 70_000, 3), np.uint8), "png", raw_bytes_max=MIB)


def test_it_is_no_file_that_could_be_uploaded() -> None:
    content = intermediates.write(PHOTO, "png", raw_bytes_max=MIB)
    with pytest.raises(UnsupportedFormat):
        codecs.sniff(content[: codecs.SNIFF_BYTES])


@pytest.mark.parametrize(
    "change",
    [
        {"width": 201},
        {"width": 0},
        {"height": -150},
        {"width": True},
        {"channels": 1},
        {"exif": 10**9},
        {"packed": True},
        {"width": "200"},
        {"width": 60_000, "height": 60_000},
    ],
)
def test_a_damaged_one_is_unreadable(change: dict[str, object]) -> None:
    content = intermediates.write(PHOTO, "png", raw_bytes_max=MIB)
    length = int.from_bytes(content[8:12], "big")
    header = json.dumps({**json.loads(content[12 : 12 + length]), **change}).encode()
    changed = content[:8] + len(header).to_bytes(4, "big") + header + content[12 + length :]
    with pytest.raises((UnreadablePicture, PictureTooLarge)):
        intermediates.read(changed)


def test_every_cut_is_unreadable() -> None:
    content = intermediates.write(PHOTO[:2, :2], "png", raw_bytes_max=MIB)
    for length in range(len(content)):
        with pytest.raises(UnreadablePicture):
            intermediates.read(content[:length])
