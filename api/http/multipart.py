"""Reading multipart/form-data part by part, within limits that apply while it arrives.

python-multipart parses. This module adds what Starlette's reader lacks: parts with only `filename*`, parts
that are files by their image type alone, a preamble, a check for UTF-8, and the difference between a
truncated body and one without an image. Parts are kept in memory, where `api.http.middleware.body_gate`
limits all bodies together; files go to a `Spool` if there is one.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from api.errors import FileTooLarge, InvalidParameter, InvalidRequest
from api.images.spooling import Spool, SpooledFile

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

PREAMBLE_BYTES_MAX = 64 * 1024
_SMALL_BYTES = 16 * 1024
# Also matches a string without its closing quote, so that the search stays linear.
_QUOTED = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_EXTENDED_FILE_NAME = re.compile(rb";\s*filename\*\d*\*?\s*=", re.IGNORECASE)
_EXTENDED_VALUE = re.compile(rb";\s*filename\*\s*=\s*utf-8'[^']*'([^;\s]*)", re.IGNORECASE)
_NAME_LENGTH_SHOWN = 100


@dataclass(frozen=True)
class Limits:
    files: int
    fields: int
    file_bytes: int
    text_bytes: int  # of all text fields together


@dataclass
class Part:
    """One part. `is_file`: it has a file name, or the type of an image or of arbitrary bytes."""

    name: str
    is_file: bool
    has_file_name: bool
    content: bytes = b""
    file_name: str = ""  # as sent, whatever it is
    spooled: SpooledFile | None = None  # a file's content, if there is a spool

    def text(self) -> str:
        """Raises `InvalidParameter` for bytes that are not UTF-8."""
        try:
            return self.content.decode()
        except UnicodeDecodeError:
            shown = self.name[:_NAME_LENGTH_SHOWN]
            raise InvalidParameter(shown, f"{shown} is not UTF-8 text.") from None


def part_of(name: bytes, *, content: bytes) -> Part:
    """A text field of another kind of form. Raises `InvalidRequest` for a name that is not UTF-8."""
    return Part(_decoded(name), is_file=False, has_file_name=False, content=content)


async def read_parts(
    body: AsyncIterator[bytes], boundary: bytes, limits: Limits, spool: Spool | None = None
) -> list[Part]:
    """All parts of a body. Raises `InvalidRequest`, `FileTooLarge`; with a spool `ServiceUnavailable`."""
    preamble = _Preamble(boundary)
    try:
        reader = _Reader(limits, spool)
        # Not the reader's own: in a cycle of references, the contents would stay until a collection.
        parser = MultipartParser(boundary, reader.callbacks())
        async for chunk in body:
            parser.write(preamble.strip(chunk))
            if spool is not None and spool.is_due:
                await asyncio.to_thread(spool.flush)
    except (FormParserError, ValueError):
        raise InvalidRequest("The form cannot be read: it is not well-formed multipart/form-data.") from None
    if not preamble.is_over:
        raise InvalidRequest("The form cannot be read: the boundary that Content-Type names is not in it.")
    if not reader.is_whole:
        raise InvalidRequest("The form was cut off: the body ends before its closing boundary.")
    await asyncio.to_thread(reader.join_contents)
    if spool is not None:
        await asyncio.to_thread(spool.flush)
    return reader.parts


class _Content:
    """Bytes as they arrive. They are joined once, in a thread, because copying an image takes time."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self._pieces: list[bytes] = []
        self._small = bytearray()

    def add(self, piece: bytes) -> None:
        self.size_bytes += len(piece)
        if len(piece) < _SMALL_BYTES:  # A client may send single bytes, each of which would be an object.
            self._small += piece
            if len(self._small) >= _SMALL_BYTES:
                self._close_small()
        else:
            self._close_small()
            self._pieces.append(piece)

    def joined(self) -> bytes:
        self._close_small()
        return b"".join(self._pieces)

    def _close_small(self) -> None:
        if self._small:
            self._pieces.append(bytes(self._small))
            self._small.clear()


@dataclass
class _Open:
    """The part that is being read."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    part: Part | None = None
    content: _Content = field(default_factory=_Content)


class _Reader:
    def __init__(self, limits: Limits, spool: Spool | None) -> None:
        self._spool = spool
        self.parts: list[Part] = []
        self._contents: list[_Content] = []
        self.is_whole = False
        self._limits = limits
        self._open = _Open()
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._files = 0
        self._text_bytes = 0

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._on_part_begin,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_end": self._on_end,
        }

    def join_contents(self) -> None:
        """Set the content of every part. For a thread."""
        for part, content in zip(self.parts, self._contents, strict=True):
            part.content = content.joined()
        self._contents.clear()

    def _on_part_begin(self) -> None:
        self._open = _Open()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._open.headers[bytes(self._header_name).lower()] = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _on_headers_finished(self) -> None:
        disposition = self._open.headers.get(b"content-disposition", b"")
        _, options = parse_options_header(disposition)
        if b"name" not in options:
            raise InvalidRequest("The form cannot be read: a part has no name in its Content-Disposition.")
        name = _decoded(options[b"name"])
        is_extended = _EXTENDED_FILE_NAME.search(_QUOTED.sub(b'""', disposition)) is not None
        media_type, _ = parse_options_header(self._open.headers.get(b"content-type", b""))
        is_file = b"filename" in options or is_extended or _is_file_type(media_type)
        self._open.part = Part(name, is_file, bool(options.get(b"filename")) or is_extended)
        extended = _EXTENDED_VALUE.search(disposition) if is_extended else None
        sent = options.get(b"filename", b"") if extended is None else unquote_to_bytes(extended[1])
        self._open.part.file_name = sent.decode(errors="replace")
        self._files += is_file
        if self._files > self._limits.files:
            raise InvalidRequest(f"The form has too many files: at most {self._limits.files}.")
        if len(self.parts) + 1 - self._files > self._limits.fields:
            raise InvalidRequest(f"The form has too many fields: at most {self._limits.fields}.")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        part, content = self._open.part, self._open.content
        assert part is not None
        size_bytes = end - start
        spool = self._spool if part.is_file else None
        if part.is_file:
            former_bytes = content.size_bytes if spool is None else spool.size_bytes
            if former_bytes + size_bytes > self._limits.file_bytes:
                limit_mib = self._limits.file_bytes // 1024**2
                error = FileTooLarge(f"The file is too large: at most {limit_mib} MiB.")
                error.param = part.name[:_NAME_LENGTH_SHOWN]
                raise error
        else:
            self._text_bytes += size_bytes
            if self._text_bytes > self._limits.text_bytes:
                limit_mib = self._limits.text_bytes // 1024**2
                raise InvalidRequest(f"The form has too much text: at most {limit_mib} MiB in all fields.")
        if spool is None:
            content.add(data[start:end])
        else:
            spool.add(data[start:end])

    def _on_part_end(self) -> None:
        part = self._open.part
        assert part is not None
        if part.is_file and self._spool is not None:
            part.spooled = self._spool.end_file()
        self.parts.append(part)
        self._contents.append(self._open.content)
        self._open = _Open()

    def _on_end(self) -> None:
        self.is_whole = True


class _Preamble:
    """The text before the first boundary and the white space after it, which RFC 2046 says to ignore.

    python-multipart skips the white space after the other boundaries itself.
    """

    def __init__(self, boundary: bytes) -> None:
        self.is_over = False
        self._is_padding_over = False
        self._delimiter = b"--" + boundary
        self._held = bytearray()

    def strip(self, chunk: bytes) -> bytes:
        """The bytes, held back or in `chunk`, that belong to the form; empty until the boundary is found."""
        if self.is_over:
            return self._without_padding(chunk)
        searched_from = max(0, len(self._held) - len(self._delimiter) - 2)
        self._held += chunk
        if len(self._held) >= len(self._delimiter) and self._held.startswith(self._delimiter):
            return self._begin(0)
        at = self._held.find(b"\n" + self._delimiter, searched_from)
        if 0 <= at <= PREAMBLE_BYTES_MAX:
            return self._begin(at + 1)
        if len(self._held) > PREAMBLE_BYTES_MAX + len(self._delimiter):
            raise InvalidRequest(
                "The form cannot be read: the boundary that Content-Type names is not in its first 64 KiB."
            )
        return b""

    def _begin(self, at: int) -> bytes:
        """What is held of the form, whose first boundary is at `at`."""
        self.is_over = True
        end = at + len(self._delimiter)
        return self._delimiter + self._without_padding(bytes(self._held[end:]))

    def _without_padding(self, chunk: bytes) -> bytes:
        if not self._is_padding_over:
            chunk = chunk.lstrip(b" \t")
            self._is_padding_over = bool(chunk)
        return chunk


def _decoded(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise InvalidRequest("Send the names of form fields as UTF-8.") from None


def _is_file_type(media_type: bytes) -> bool:
    return media_type == b"application/octet-stream" or media_type.startswith(b"image/")
