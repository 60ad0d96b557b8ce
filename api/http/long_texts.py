"""Text values of a request that are too long to be decoded at once.

Decoding tens of mebibytes in one step holds the interpreter lock, and with it the event loop, for a tenth of
a second and more. A `LongText` is a range of the body that is decoded piece by piece, in a thread.
"""

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pydantic_core import from_json

PIECE_BYTES = 64 * 1024
#: The escapes of each notation: what they begin with, and their greatest length.
_ESCAPES = {"json": (b"\\", 6), "urlencoded": (b"%", 3)}
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True)
class LongText:
    """`content[start:end]`, written in this notation. Plus signs of urlencoded text stay plus signs."""

    content: bytes | bytearray
    start: int
    end: int
    notation: Literal["plain", "json", "urlencoded"] = "plain"

    @classmethod
    def of(cls, text: str) -> "LongText":
        """A text that was decoded already."""
        content = text.encode()
        return cls(content, 0, len(content))

    def text(self) -> str:
        """The whole text, of a value that is known to be short. Raises ValueError."""
        content = bytes(self.content[self.start : self.end])
        if self.notation == "urlencoded":
            content = content.replace(b"+", b" ")
        return self._decoded(content).decode()

    def __len__(self) -> int:
        """The length in bytes as it is written."""
        return self.end - self.start

    def pieces(self) -> Iterator[bytes]:
        """The decoded text. Raises ValueError for an invalid escape. For a thread."""
        at = self.start
        while at < self.end:
            stop = self._end_of_piece(at)
            yield self._decoded(bytes(self.content[at:stop]))
            at = stop

    def _end_of_piece(self, at: int) -> int:
        stop = min(at + PIECE_BYTES, self.end)
        if stop == self.end or self.notation == "plain":
            return stop
        mark, length = _ESCAPES[self.notation]
        cut = self.content.find(mark, stop - length + 1, stop)  # Never cut an escape in two.
        return stop if cut < 0 else cut

    def _decoded(self, piece: bytes) -> bytes:
        if self.notation == "json":
            text: str = from_json(b'"%b"' % piece, cache_strings="none")
            return text.encode()
        if self.notation == "urlencoded":
            if _BAD_ESCAPE.search(piece) is not None:
                raise ValueError("an incomplete percent escape")
            return binascii.a2b_qp(piece.replace(b"=", b"=3D").replace(b"%", b"="))
        return piece
