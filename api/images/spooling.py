"""Files of a request on disk, for bodies that are too large for memory. Everything but `Spool.add` blocks."""

import io
import os
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO

from api.errors import ServiceUnavailable
from api.outage_log import OutageLog

#: What is collected in memory before it is written.
WRITE_BYTES = 1024**2


class Spool:
    """The files of one request, one after the other in a file without a name, which cannot be left behind.

    `add` collects pieces of the current file, `end_file` ends it. Call `flush` whenever `is_due`.
    """

    def __init__(self, directory: Path) -> None:
        self._outage_log = OutageLog("image storage")
        try:
            self._file: IO[bytes] = TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115 - closed by `close`
        except OSError as error:
            raise self._unavailable(error) from error
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._size_bytes = 0
        self._file_began_at = 0

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_due(self) -> bool:
        """Whether enough was added to be written."""
        return self._pending_bytes >= WRITE_BYTES

    @property
    def size_bytes(self) -> int:
        """Of the current file so far."""
        return self._size_bytes - self._file_began_at

    def add(self, piece: bytes) -> None:
        self._pending.append(piece)
        self._pending_bytes += len(piece)
        self._size_bytes += len(piece)

    def end_file(self) -> "SpooledFile":
        """What was added since the last file ended. It can be read once it was flushed."""
        ended = SpooledFile(self, self._file_began_at, self._size_bytes - self._file_began_at)
        self._file_began_at = self._size_bytes
        return ended

    def flush(self) -> None:
        """Raises `ServiceUnavailable` if the disk is full."""
        content = memoryview(b"".join(self._pending))
        self._pending.clear()
        self._pending_bytes = 0
        try:
            while content:
                content = content[self._file.write(content) :]
        except OSError as error:
            raise self._unavailable(error) from error

    def read(self, offset: int, size_bytes: int) -> bytes:
        """At most `size_bytes`. Raises `ServiceUnavailable`."""
        pieces = []
        try:
            while size_bytes > 0 and (piece := os.pread(self._file.fileno(), size_bytes, offset)):
                pieces.append(piece)
                offset += len(piece)
                size_bytes -= len(piece)
        except OSError as error:
            raise self._unavailable(error) from error
        return b"".join(pieces)

    def close(self) -> None:
        """Its files are gone."""
        self._file.close()

    def _unavailable(self, error: OSError) -> ServiceUnavailable:
        self._outage_log.report(error)
        return ServiceUnavailable("Images cannot be stored at the moment.")


class SpooledFile:
    """One file of a `Spool`, which must be open when it is read."""

    def __init__(self, spool: Spool, offset: int, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._spool = spool
        self._offset = offset

    def read(self, size_bytes: int | None = None) -> bytes:
        """The content, or the beginning of it."""
        wanted = self.size_bytes if size_bytes is None else min(size_bytes, self.size_bytes)
        return self._spool.read(self._offset, wanted)

    def opened(self) -> IO[bytes]:
        """It as a file that can seek."""
        return io.BufferedReader(_Region(self._spool, self._offset, self.size_bytes))


class _Region(io.RawIOBase):
    def __init__(self, spool: Spool, offset: int, size_bytes: int) -> None:
        self._spool = spool
        self._offset = offset
        self._size_bytes = size_bytes
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size_bytes}[whence]
        if base + offset < 0:
            raise ValueError("a position before the beginning")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]  # typeshed's buffer is wider
        wanted = max(0, min(len(buffer), self._size_bytes - self._at))
        content = self._spool.read(self._offset + self._at, wanted)
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)
