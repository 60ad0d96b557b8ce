"""Files that a caller sends as base64 text, decoded piece by piece in a thread."""

import asyncio
import binascii
from collections.abc import Iterator
from typing import NoReturn

from api.errors import FileTooLarge, InvalidParameter
from api.http.long_texts import LongText
from api.images import service as images

_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_WHITESPACE = b" \t\r\n"
_DATA_URL = b"data:"
_DATA_URL_HEAD_BYTES_MAX = 256


async def decode(text: LongText, param: str) -> bytes:
    """The file in `text`, which the caller sent as the parameter `param`.

    Accepts data URLs, line breaks, the URL-safe alphabet and missing padding. Raises `InvalidParameter` for
    anything else, `FileTooLarge`.
    """
    return await asyncio.to_thread(_decode, text, param)


def _decode(text: LongText, param: str) -> bytes:
    try:
        content = b"".join(_decoded_blocks(_without_data_url(text.pieces(), param), param))
    except ValueError:  # binascii.Error is one
        _refuse(param)
    if not content:
        raise InvalidParameter(param, f"{param} is empty.")
    return content


def _without_data_url(pieces: Iterator[bytes], param: str) -> Iterator[bytes]:
    first = next(pieces, b"").lstrip(_WHITESPACE)
    if first[: len(_DATA_URL)].lower() == _DATA_URL:
        head, comma, first = first.partition(b",")
        if not comma or len(head) > _DATA_URL_HEAD_BYTES_MAX or not head.lower().endswith(b";base64"):
            raise InvalidParameter(param, f"{param} is a data URL, but not one of base64.")
    yield first
    yield from pieces


def _decoded_blocks(pieces: Iterator[bytes], param: str) -> Iterator[bytes]:
    size_bytes = 0
    rest = b""
    has_ended = False
    for piece in pieces:
        digits = rest + piece.translate(_URL_SAFE, _WHITESPACE)
        if has_ended and digits:
            _refuse(param)  # there is more after the padding
        whole = len(digits) - len(digits) % 4
        rest = digits[whole:]
        block = binascii.a2b_base64(digits[:whole], strict_mode=True)
        has_ended = digits[:whole].endswith(b"=")
        size_bytes += len(block)
        if size_bytes > images.FILE_LIMIT_BYTES:
            error = FileTooLarge(f"The file is too large: at most {images.FILE_LIMIT_BYTES // 1024**2} MiB.")
            error.param = param
            raise error
        yield block
    if has_ended and rest:
        _refuse(param)
    yield binascii.a2b_base64(rest + b"=" * (-len(rest) % 4), strict_mode=True)


def _refuse(param: str) -> NoReturn:
    raise InvalidParameter(param, f"{param} is not valid base64.") from None
