"""Results of steps that only the next step reads: pixels that are neither encoded nor lossy.

    8 bytes   magic
    4         length of the header, big-endian
    header    JSON: width, height, channels, format, dpi, exif (its length), packed, and whole: the width and
              height that the picture would have if no step had reduced it, null if none has
    exif      the block, as a file of `format` would have stored it
    pixels    rows of RGB or RGBA; a PNG of them if `packed`

Only workers write and read them: `codecs.sniff` does not know them, so none can be uploaded.
"""

import json
import struct
from dataclasses import replace
from typing import Any

import numpy as np

from ml.errors import UnreadablePicture, UnsupportedFormat
from ml.imaging import codecs, transparency
from ml.pixels import Mask, Picture, Pixels

_MAGIC = b"\x93BGESTEP"
_LENGTH = struct.Struct(">I")
_HEADER_BYTES_MAX = 4096


def is_intermediate(data: bytes) -> bool:
    return data.startswith(_MAGIC)


def write(
    pixels: Pixels | Mask,
    format: str,
    dpi: tuple[float, float] | None = None,
    exif_block: bytes | None = None,
    *,
    raw_bytes_max: int,
    whole: tuple[int, int] | None = None,
) -> bytes:
    """`pixels` (H x W x 3|4, or H x W for a mask) as the next step gets them.

    That is what decoding a file of `format` would give, but without the format's losses. More than
    `raw_bytes_max` bytes of pixels are packed without loss. Raises as `codecs.encode` does.
    """
    height, width = pixels.shape[:2]
    codecs.check_output_size(width, height)
    codecs.check_format_holds(format, width, height)
    shown = np.ascontiguousarray(_as_decoded(pixels, format))
    packed = shown.nbytes > raw_bytes_max
    block = exif_block or b""
    header = {
        "width": width,
        "height": height,
        "channels": shown.shape[2],
        "format": format,
        "dpi": dpi,
        "exif": len(block),
        "packed": packed,
        "whole": whole,
    }
    text = json.dumps(header).encode()
    content = codecs.encode(shown, "png") if packed else shown.data
    return b"".join((_MAGIC, _LENGTH.pack(len(text)), text, block, content))


def describe(data: bytes) -> tuple[str, tuple[int, int]]:
    """The `Picture.format` of what `read` returns, and its (width, height) in pixels. Raises as it does."""
    header, _ = _header(data)
    return header["format"], (header["width"], header["height"])


def whole_size(data: bytes) -> tuple[int, int] | None:
    """The (width, height) that the picture would have if no step had reduced it, which is what parameters in
    pixels are meant for; None if none has. Raises as `read` does.
    """
    whole = _header(data)[0].get("whole")
    return None if whole is None else (int(whole[0]), int(whole[1]))


def read(data: bytes) -> Picture:
    """The picture that `write` was given. Raises `UnreadablePicture`, `PictureTooLarge`."""
    header, begin = _header(data)
    width, height, channels = header["width"], header["height"], header["channels"]
    dpi = None if header["dpi"] is None else (float(header["dpi"][0]), float(header["dpi"][1]))
    exif_block = data[begin : begin + header["exif"]] or None
    content = memoryview(data)[begin + header["exif"] :]
    if header["packed"]:
        try:
            picture = codecs.decode(bytes(content))
        except UnsupportedFormat:
            raise _damaged() from None
        if (picture.width, picture.height) != (width, height):
            raise _damaged()
        return replace(picture, format=header["format"], dpi=dpi, exif=exif_block)
    if len(content) != height * width * channels:
        raise _damaged()
    # A copy, because tools may change the pixels of their source.
    pixels = np.frombuffer(content, np.uint8).reshape(height, width, channels).copy()
    return Picture(pixels, header["format"], dpi=dpi, exif=exif_block)


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    """The checked header, and where the rest begins. A bad file may have taken over the worker before."""
    from ml.imaging.formats.opened import check_size

    try:
        (length,) = _LENGTH.unpack_from(data, len(_MAGIC))
        begin = len(_MAGIC) + _LENGTH.size
        if not is_intermediate(data) or length > _HEADER_BYTES_MAX:
            raise _damaged()
        header: dict[str, Any] = json.loads(data[begin : begin + length])
        whole = (header["width"], header["height"], header["channels"], header["exif"])
        if not all(type(each) is int and each >= 0 for each in whole) or header["channels"] not in (3, 4):
            raise _damaged()
        whole_sides = header.get("whole") or (1, 1)
        if len(whole_sides) != 2 or not all(type(each) is int and each > 0 for each in whole_sides):
            raise _damaged()
    except (ValueError, LookupError, TypeError, struct.error):
        raise _damaged() from None
    check_size(header["width"], header["height"], codecs.MAX_INPUT_PIXELS)
    return header, begin + length


def _as_decoded(pixels: Pixels | Mask, format: str) -> Pixels:
    """What remains of the pixels in a file of this format."""
    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, None], 3, axis=2)
    if pixels.shape[2] == 3:
        return pixels
    if format == "jpg":
        return codecs.on_white(pixels)
    if pixels[:, :, 3].min() == 255:
        return pixels[:, :, :3]
    return transparency.without_hidden_colors(pixels)


def _damaged() -> UnreadablePicture:
    return UnreadablePicture("The result of the step before cannot be read.")
