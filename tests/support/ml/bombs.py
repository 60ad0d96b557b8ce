"""The generated set of hostile files: what each is, how it is made, and what has to become of it."""

import struct
import zlib
from collections.abc import Callable
from functools import partial

import numpy as np

from ml.imaging.formats import tiff_directory
from tests.support.ml import hostile, photos
from tests.support.ml.hostile import box, png, png_chunk, riff, segment

DECODED, TOO_LARGE, UNREADABLE, UNSUPPORTED = (
    "decoded",
    "PictureTooLarge",
    "UnreadablePicture",
    "UnsupportedFormat",
)

_SMALL = photos.photo("coffee")[:64, :64]
_MANY_TAGS_BYTES = 20 << 20

Bomb = tuple[Callable[[], bytes], str]


def _jpeg() -> bytes:
    return photos.jpeg_bytes(_SMALL)


def _jpeg_starting_with(start: bytes) -> bytes:
    return b"\xff\xd8" + start + _jpeg()[2:]


def _jpeg_of_two_frames() -> bytes:
    content = _jpeg()
    at = content.index(b"\xff\xc0")
    frame = content[at : at + 19]
    huge = frame.replace(struct.pack(">HH", 64, 64), struct.pack(">HH", 60_000, 60_000))
    return content[:at] + frame + huge + content[at + 19 :]


def _flat(side: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.full((side, side, 3), 90, np.uint8)


def _webp_frame() -> tuple[bytes, bytes]:
    still = photos.file_bytes(_flat(2), "WEBP", lossless=True)[12:]
    return b"ANMF", b"\0" * 6 + (1).to_bytes(3, "little") * 2 + b"\1\0\0\0" + still


def _webp_with_exif() -> bytes:
    still = photos.file_bytes(_flat(2), "WEBP", lossless=True)
    exif = hostile.exif_with_many_large_tags(_MANY_TAGS_BYTES)
    return riff(hostile.webp_canvas(2, 2, 0x08), (still[12:16], still[20:]), (b"EXIF", exif))


def _avif_with_exif() -> bytes:
    """Pillow would follow the tags when it writes them, so they replace a harmless block of their size."""
    harmless = b"MM\0*\0\0\0\x08\0\0" + b"\0" * (_MANY_TAGS_BYTES - 10)
    content = photos.file_bytes(_SMALL, "AVIF", exif=b"Exif\0\0" + harmless)
    assert content.count(harmless) == 1
    return content.replace(harmless, hostile.exif_with_many_large_tags(_MANY_TAGS_BYTES))


def _nested_boxes(start: bytes) -> bytes:
    nested = b""
    for _ in range(20_000):
        nested = box(b"meta", b"\0\0\0\0" + nested)
    return start[: int.from_bytes(start[:4], "big")] + nested


def _flat_avif() -> bytes:
    return photos.file_bytes(_flat(3000), "AVIF", speed=10)


def _flat_heic() -> bytes:
    return photos.heic_bytes(_flat(1500), quality=30)


def _avif() -> bytes:
    return photos.file_bytes(_SMALL, "AVIF")


def _heic() -> bytes:
    return photos.heic_bytes(_SMALL)


def _bmp(width: int, height: int, depth: int = 24, compression: int = 0, rows: bytes = b"") -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, depth, compression, 0, 0, 0, 0, 0)
    palette = b"\0\0\0\0\xff\xff\xff\0" if depth == 1 else b""
    return struct.pack("<2sIHHI", b"BM", 0, 0, 0, 54 + len(palette)) + header + palette + rows


def _gif(width: int, height: int, *blocks: bytes, frame: bytes = b"") -> bytes:
    """A GIF of two colours; without `frame` its one pixel is at the top left."""
    screen = struct.pack("<6sHHBBB", b"GIF89a", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    dot = struct.pack("<BHHHHB", 0x2C, 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    return screen + b"".join(blocks) + (frame or dot) + b";"


def _flat_gif(side: int) -> bytes:
    return photos.file_bytes(_flat(side)[..., 0], "GIF")


def _tiff(width: int, height: int, rows: list[bytes], **tags: int) -> bytes:
    """A TIFF of one sample of 8 bits; `tags` replace values by the directory's names."""
    values = {"WIDTH": width, "HEIGHT": height, "BITS": 8, "COMPRESSION": 1, "PHOTOMETRIC": 1, "SAMPLES": 1}
    values |= {"ROWS_PER_STRIP": height} | tags
    tagged = {getattr(tiff_directory, name): (value,) for name, value in values.items()}
    return tiff_directory.write("<", tagged, None, rows)


def _tiff_of_one_strip_named_often() -> bytes:
    content = bytearray(_tiff(800, 60_000, [b"x" * 800] * 60_000, ROWS_PER_STRIP=1)[: 8 << 20])
    at = content.index(struct.pack("<HHI", tiff_directory.STRIP_OFFSETS, 4, 60_000))
    (offsets,) = struct.unpack_from("<I", content, at + 8)
    content[offsets : offsets + 240_000] = struct.pack("<I", 500_000) * 60_000
    return bytes(content)


def _deflated_tiff(side: int, samples: int, bits: int) -> bytes:
    """Zeros of 50 megapixels and more, each of many bytes."""
    strips = 64
    rows = side // strips
    strip = zlib.compress(bytes(side * samples * bits // 8 * rows), 9)
    values = {"COMPRESSION": 8, "ROWS_PER_STRIP": rows, "SAMPLES": samples, "PHOTOMETRIC": 2}
    content = _tiff(side, rows * strips, [strip] * strips, **values)
    at = content.index(struct.pack("<HHI", tiff_directory.BITS, 3, 1)) + 8
    return content[:at] + struct.pack("<H", bits) + content[at + 2 :]


def _deflated(name: bytes, prefix: bytes, size_bytes: int) -> bytes:
    return png(8, 8, png_chunk(name, prefix + hostile.zeros_deflated(size_bytes)))


_GB = 1 << 30

BOMBS: dict[str, Bomb] = {
    # Sizes that lie or are too large
    "png of 60,000 x 60,000": (partial(png, 60_000, 60_000, idat=b"x"), TOO_LARGE),
    "png of 50,000,000 x 1": (partial(png, 50_000_000, 1, idat=b"x"), TOO_LARGE),
    "png of 1 x 50,000,000": (partial(png, 1, 50_000_000, idat=b"x"), TOO_LARGE),
    "png of 65,536 x 1": (partial(png, 65_536, 1), TOO_LARGE),
    "png of 2 billion squared": (partial(png, 2**31 - 1, 2**31 - 1, idat=b"x"), TOO_LARGE),
    "png of nothing": (partial(png, 0, 5, idat=b"x"), UNREADABLE),
    "jpg of 65,500 x 65,500": (
        lambda: _jpeg().replace(struct.pack(">HH", 64, 64), struct.pack(">HH", 65_500, 65_500)),
        TOO_LARGE,
    ),
    "jpg with a second, huge frame": (_jpeg_of_two_frames, UNREADABLE),
    "webp canvas of 16,777,216 x 255": (
        lambda: riff(hostile.webp_canvas(1 << 24, 255), (b"VP8L", b"/" + b"\0" * 20)),
        TOO_LARGE,
    ),
    "webp lossless of 16,384 x 16,384": (
        lambda: riff((b"VP8L", b"/\xff\xff\xff\x0f" + b"\0" * 20)),
        TOO_LARGE,
    ),
    "webp lossy of 16,383 x 16,383": (
        lambda: riff((b"VP8 ", b"\x10\x02\x00\x9d\x01*\xff\x3f\xff\x3f" + b"\0" * 20)),
        TOO_LARGE,
    ),
    "webp of 49 megapixels in 90 bytes": (
        lambda: riff(hostile.webp_canvas(7000, 7000, 0x12), (b"ANIM", b"\0" * 6), _webp_frame()),
        DECODED,
    ),
    "avif claiming 16,000 x 16,000": (lambda: hostile.claim_size(_flat_avif(), 16_000, 16_000), TOO_LARGE),
    "avif of 49 megapixels in a kilobyte": (
        lambda: photos.file_bytes(_flat(7000), "AVIF", speed=10, subsampling="4:2:0"),
        DECODED,
    ),
    "avif claiming 60,000 x 60,000": (lambda: hostile.claim_size(_flat_avif(), 60_000, 60_000), UNREADABLE),
    "avif claiming too few pixels": (lambda: hostile.claim_size(_flat_avif(), 64, 64), DECODED),
    "heic claiming 16,000 x 16,000": (lambda: hostile.claim_size(_flat_heic(), 16_000, 16_000), TOO_LARGE),
    "heic claiming 60,000 x 60,000": (lambda: hostile.claim_size(_flat_heic(), 60_000, 60_000), TOO_LARGE),
    "heic claiming too few pixels": (lambda: hostile.claim_size(_flat_heic(), 64, 64), UNREADABLE),
    # Compressed data that grows: what is not pixel data is never inflated, and pixels only as far as needed
    "png profile of 1 GB": (partial(_deflated, b"iCCP", b"a\0\0", _GB), DECODED),
    "png text of 1 GB": (partial(_deflated, b"zTXt", b"a\0\0", _GB), DECODED),
    "png international text of 1 GB": (partial(_deflated, b"iTXt", b"a\0\1\0\0\0", _GB), DECODED),
    "png of 5,000 texts of 1 MB": (
        lambda: png(8, 8, png_chunk(b"zTXt", b"a\0\0" + hostile.zeros_deflated(1 << 20)) * 5000),
        DECODED,
    ),
    "png with 20 GB behind its last row": (lambda: png(8, 8, idat=hostile.zeros_deflated(20 * _GB)), DECODED),
    "png with 24 MB of text": (lambda: png(8, 8, png_chunk(b"tEXt", b"a\0" + b"x" * (24 << 20))), DECODED),
    # Work without end
    "png of 2 million chunks": (lambda: png(8, 8, png_chunk(b"abCd", b"") * 2_000_000), UNREADABLE),
    "png of 2 million empty pieces": (lambda: png(8, 8, png_chunk(b"IDAT", b"") * 2_000_000), UNREADABLE),
    "png of 90,000 empty pieces": (lambda: png(8, 8, png_chunk(b"IDAT", b"") * 90_000), DECODED),
    "jpg of 7,000 scans": (partial(hostile.progressive_jpeg, 7000, 7000), UNREADABLE),
    "jpg of 100 scans": (partial(hostile.progressive_jpeg, 7000, 100), DECODED),
    "jpg of 6 million comments": (lambda: _jpeg_starting_with(segment(0xFE, b"") * 6_000_000), UNREADABLE),
    "jpg after 24 MB of fill": (lambda: _jpeg_starting_with(b"\xff" * (24 << 20)), DECODED),
    "jpg after 12 million false marks": (lambda: _jpeg_starting_with(b"\xff\0" * (12 << 20)), UNREADABLE),
    "jpg of one endless scan": (lambda: _jpeg()[:-2] + b"\xff\0" * (12 << 20), DECODED),
    "webp of 400,000 frames": (
        lambda: riff(hostile.webp_canvas(2, 2, 2), (b"ANIM", b"\0" * 6), *[_webp_frame()] * 400_000),
        DECODED,
    ),
    "jpg profile of endless steps": (
        lambda: photos.jpeg_bytes(_SMALL, icc_profile=hostile.profile_with_long_chain()),
        DECODED,
    ),
    # EXIF whose 65,535 entries are each the whole block
    "jpg of many large tags": (
        lambda: _jpeg_starting_with(segment(0xE1, b"Exif\0\0" + hostile.exif_with_many_large_tags(65_000))),
        DECODED,
    ),
    "png of many large tags": (
        lambda: png(8, 8, png_chunk(b"eXIf", hostile.exif_with_many_large_tags(_MANY_TAGS_BYTES))),
        DECODED,
    ),
    "webp of many large tags": (_webp_with_exif, DECODED),
    "avif of many large tags": (_avif_with_exif, DECODED),
    # Containers
    "avif of 20 GB in extents": (
        lambda: hostile.with_many_extents(_avif(), 1000, b"\0" * (20 << 20)),
        UNREADABLE,
    ),
    "heic of 20 GB in extents": (
        lambda: hostile.with_many_extents(_heic(), 1000, b"\0" * (20 << 20)),
        UNREADABLE,
    ),
    "heic of 200 MB in extents": (
        lambda: hostile.with_many_extents(_heic(), 10, b"\0" * (20 << 20)),
        UNREADABLE,
    ),
    "avif of boxes in boxes": (lambda: _nested_boxes(_avif()), UNREADABLE),
    "heic of boxes in boxes": (lambda: _nested_boxes(_heic()), UNREADABLE),
    # Beginnings and nothing else
    "nothing": (lambda: b"", UNSUPPORTED),
    "a jpg's first bytes": (lambda: b"\xff\xd8\xff", UNREADABLE),
    "a png's first bytes": (lambda: hostile.PNG_MAGIC, UNREADABLE),
    "a png's empty chunks": (lambda: hostile.PNG_MAGIC + png_chunk(b"IHDR", b"") * 3, UNREADABLE),
    "a webp's first bytes": (lambda: b"RIFF\x04\0\0\0WEBP", UNREADABLE),
    "an avif's first bytes": (lambda: b"\0\0\0\x14ftypavif\0\0\0\0avif", UNREADABLE),
    "a heic's first bytes": (lambda: b"\0\0\0\x14ftypheic\0\0\0\0heic", UNREADABLE),
    "a png chunk of 4 GB": (lambda: png(8, 8)[:33] + b"\xff\xff\xff\xffIDAT" + b"\0" * 99, UNREADABLE),
    "a png of no compressed pixels": (lambda: png(8, 8, idat=zlib.compress(b"")), UNREADABLE),
    # BMP, GIF and TIFF
    "bmp of 60,000 x 60,000": (lambda: _bmp(60_000, 60_000), TOO_LARGE),
    "bmp of 60,000 x -60,000": (lambda: _bmp(60_000, -60_000), TOO_LARGE),
    "bmp of -2 billion": (lambda: _bmp(-(2**31), -(2**31)), UNREADABLE),
    "bmp of 49 megapixels without rows": (lambda: _bmp(7000, 7000, 32), UNREADABLE),
    "bmp of 49 megapixels in 6 MB": (
        lambda: _bmp(7000, 7000, 1, rows=bytes(7000 * 876)),
        DECODED,
    ),
    "bmp of run lengths": (lambda: _bmp(7000, 7000, 8, 1, b"\1\0" * (12 << 20)), UNREADABLE),
    "bmp with a PNG inside": (lambda: _bmp(8, 8, 0, 5, png(8, 8)), UNREADABLE),
    "a bmp's first bytes": (lambda: b"BM" + bytes(12) + b"\x28\0\0\0", UNREADABLE),
    "gif canvas of 65,535 x 65,535": (lambda: _gif(65_535, 65_535), TOO_LARGE),
    "gif frame of 65,535 x 65,535": (
        lambda: _gif(1, 1, frame=struct.pack("<BHHHHB", 0x2C, 0, 0, 65_535, 65_535, 0) + b"\2\0"),
        TOO_LARGE,
    ),
    "gif frame beyond every canvas": (
        lambda: _gif(1, 1, frame=struct.pack("<BHHHHB", 0x2C, 65_535, 65_535, 9, 9, 0) + b"\2\0"),
        TOO_LARGE,
    ),
    "gif of 49 megapixels in a dot": (lambda: _gif(7000, 7000), DECODED),
    "gif of 49 megapixels": (lambda: _flat_gif(7000), DECODED),
    "gif of 8 million extensions": (lambda: _gif(1, 1, b"!\xfe\0" * 8_000_000), UNREADABLE),
    "gif of 12 million pieces": (lambda: _gif(1, 1, b"!\xfe" + b"\1x" * 12_000_000 + b"\0"), UNREADABLE),
    "gif of 12 million pieces behind": (lambda: _gif(1, 1) + b"!\xfe" + b"\1x" * 12_000_000, DECODED),
    "gif of a million frames": (lambda: _gif(1, 1)[:-1] + _gif(1, 1)[19:-1] * 1_000_000, DECODED),
    "a gif's first bytes": (lambda: b"GIF89a", UNREADABLE),
    "tiff of 60,000 x 60,000": (lambda: _tiff(60_000, 60_000, [b"x"]), TOO_LARGE),
    "tiff of 4 billion squared": (lambda: _tiff(2**32 - 1, 2**32 - 1, [b"x"]), TOO_LARGE),
    "tiff of nothing": (lambda: _tiff(0, 0, [b"x"]), UNREADABLE),
    "tiff of one strip named often": (_tiff_of_one_strip_named_often, UNREADABLE),
    "tiff of 49 megapixels of 10 bytes": (lambda: _deflated_tiff(7000, 5, 16), DECODED),
    "tiff of one strip of 20 GB": (
        lambda: _tiff(7000, 7000, [hostile.zeros_deflated(20 * _GB)], COMPRESSION=8),
        DECODED,
    ),
    "tiff of 10,000 strips of 1 GB": (
        lambda: _tiff(
            100, 10_000, [hostile.zeros_deflated(2 << 20)] * 10_000, COMPRESSION=8, ROWS_PER_STRIP=1
        ),
        DECODED,
    ),
    "tiff of one tile of 4 GB": (
        lambda: _tiff(8, 8, [b"x" * 99], COMPRESSION=8, TILE_WIDTH=65_520, TILE_HEIGHT=65_520),
        UNREADABLE,
    ),
    "tiff of 200,000 tiles": (
        lambda: _tiff(
            7104, 7024, [b"\x81\0" * 3] * 194_916, COMPRESSION=32773, TILE_WIDTH=16, TILE_HEIGHT=16
        ),
        DECODED,
    ),
    "tiff whose directory is itself": (
        lambda: b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 330, 4, 1, 8) + b"\x08\0\0\0",
        UNREADABLE,
    ),
    "tiff of 65,535 tags": (
        lambda: b"MM\0*\0\0\0\x08\xff\xff" + struct.pack(">HHII", 270, 2, 1 << 24, 8) * 65_535 + bytes(99),
        UNREADABLE,
    ),
    "a tiff's first bytes": (lambda: b"II*\0", UNREADABLE),
}
