"""Damaged files, made from good ones by a fixed seed: the same file for the same number on every machine."""

import io
import random
import struct
import zlib
from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image

from tests.support.ml import photos
from tests.support.ml.hostile import PNG_MAGIC

_EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
_EXTREMES = (b"\0", b"\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\1")


@cache
def good_files() -> dict[str, bytes]:
    """Small files of every format and of the kinds within it that are decoded by different code."""
    rgb = photos.photo("coffee")[100:196, 200:328]
    rgba = np.dstack([rgb, np.linspace(0, 255, rgb[..., 0].size).reshape(rgb.shape[:2]).astype(np.uint8)])
    icc = _srgb_profile()
    frames = [Image.fromarray(rgba), Image.fromarray(np.ascontiguousarray(rgba[::-1]))]
    return {
        "jpg": photos.jpeg_bytes(rgb, exif=_EXIF, icc_profile=icc),
        "jpg progressive": photos.jpeg_bytes(rgb, progressive=True, subsampling="4:4:4"),
        "jpg grey": photos.jpeg_bytes(rgb[..., 0]),
        "jpg cmyk": _saved(Image.fromarray(rgb).convert("CMYK"), "JPEG"),
        "jpg mpo": _saved(frames[0].convert("RGB"), "MPO", append=[frames[1].convert("RGB")]),
        "png": photos.png_bytes(rgb, exif=_EXIF, icc_profile=icc),
        "png alpha": photos.png_bytes(rgba),
        "png palette": _saved(Image.fromarray(rgb).quantize(64), "PNG", transparency=3),
        "png grey": photos.png_bytes(rgb[..., 0]),
        "png 16 bits": _saved(Image.fromarray(rgb[..., 0].astype(np.uint16) * 257), "PNG"),
        "png animated": _saved(frames[0], "PNG", append=frames[1:]),
        "webp": photos.file_bytes(rgb, "WEBP", exif=_EXIF, icc_profile=icc),
        "webp lossless": photos.file_bytes(rgba, "WEBP", lossless=True),
        "webp alpha": photos.file_bytes(rgba, "WEBP"),
        "webp animated": _saved(frames[0], "WEBP", append=frames[1:]),
        "avif": photos.file_bytes(rgb, "AVIF", exif=_EXIF, icc_profile=icc),
        "avif alpha": photos.file_bytes(rgba, "AVIF", subsampling="4:4:4"),
        "avif sequence": _saved(frames[0], "AVIF", append=frames[1:]),
        "heic": photos.heic_bytes(rgb, exif=_EXIF, icc_profile=icc),
        "heic alpha": photos.heic_bytes(rgba),
        "heic tiles": photos.heic_bytes(rgb, tile_size=64),
        "bmp": photos.file_bytes(rgb, "BMP"),
        "bmp palette": _saved(Image.fromarray(rgb).quantize(64), "BMP"),
        "gif": _saved(Image.fromarray(rgb).quantize(64), "GIF", transparency=3),
        "gif animated": _saved(frames[0], "GIF", append=frames[1:]),
        "tiff": photos.file_bytes(rgb, "TIFF", icc_profile=icc),
        "tiff lzw": photos.tiff_bytes(rgba, compression="tiff_lzw", predictor=2),
        "tiff deflate": _saved(
            Image.fromarray(rgb[..., 0].astype(np.uint16) * 257), "TIFF", compression="tiff_deflate"
        ),
        "tiff tiles": photos.tiled_tiff_bytes(rgb),
        "tiff packbits": _saved(Image.fromarray(rgb).quantize(64), "TIFF", compression="packbits"),
    }


def damaged_file(number: int) -> tuple[str, bytes]:
    """File `number`: its description and its content."""
    chance = random.Random(number)
    kinds = list(good_files())
    kind = kinds[number % len(kinds)]
    content = bytearray(good_files()[kind])
    harms = chance.choices(_HARMS, k=chance.choice((1, 1, 1, 2, 3)))
    for harm in harms:
        if content:
            harm(content, chance)
    damaged = bytes(content)
    names = "+".join(harm.__name__.removeprefix("_") for harm in harms)
    if kind.startswith("png") and chance.random() < 0.5:
        damaged = _with_right_checksums(damaged)  # so that the damage gets past them
        names += "+checksums"
    return f"{number}: {kind} {names}", damaged


def _flip_bits(content: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 2, 8, 40))):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def _flip_bits_of_the_header(content: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 2, 4))):
        content[chance.randrange(min(600, len(content)))] ^= 1 << chance.randrange(8)


def _cut_short(content: bytearray, chance: random.Random) -> None:
    del content[chance.randrange(1, len(content)) :]


def _cut_out(content: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(content))
    del content[start : start + chance.choice((1, 2, 7, 64, 500))]


def _swap_pieces(content: bytearray, chance: random.Random) -> None:
    length = min(chance.choice((4, 16, 64, 256)), len(content) // 3 + 1)
    first, second = sorted(chance.randrange(len(content)) for _ in range(2))
    one, other = content[first : first + length], content[second : second + length]
    content[second : second + length] = one
    content[first : first + length] = other


def _repeat_a_piece(content: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(content))
    content[start:start] = content[start : start + chance.choice((4, 32, 256))] * chance.choice((1, 2, 20))


def _write_extremes(content: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(content))
    value = chance.choice(_EXTREMES)
    content[start : start + len(value)] = value


def _overwrite_with_noise(content: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(content))
    length = min(chance.choice((8, 64, 512)), len(content) - start)
    content[start : start + length] = chance.randbytes(length)


_HARMS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip_bits,
    _flip_bits_of_the_header,
    _cut_short,
    _cut_out,
    _swap_pieces,
    _repeat_a_piece,
    _write_extremes,
    _overwrite_with_noise,
)


def _with_right_checksums(content: bytes) -> bytes:
    if not content.startswith(PNG_MAGIC):
        return content
    repaired, position = bytearray(content), len(PNG_MAGIC)
    while position + 12 <= len(repaired):
        (length,) = struct.unpack_from(">I", repaired, position)
        end = position + 8 + length
        if end + 4 > len(repaired):
            break
        struct.pack_into(">I", repaired, end, zlib.crc32(repaired[position + 4 : end]))
        position = end + 4
    return bytes(repaired)


def _saved(
    image: Image.Image, format: str, append: list[Image.Image] | None = None, **options: object
) -> bytes:
    out = io.BytesIO()
    if append:
        options |= {"save_all": True, "append_images": append}
    image.save(out, format, **options)
    return out.getvalue()


def _srgb_profile() -> bytes:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
