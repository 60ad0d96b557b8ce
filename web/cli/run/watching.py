"""Watches folders for new pictures. Polls, which also works on network shares."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from web.cli.run import inputs
from web.cli.run.types import Source

POLL_SECONDS = 0.5
#: A file counts as written completely once it has not changed for so long.
SETTLED_SECONDS = 2.0


@dataclass(frozen=True)
class Version:
    """What changes when a file is written or replaced.

    The device number is not included: a share that is mounted again gets another number.
    """

    size_bytes: int
    modified_ns: int
    inode: int


class Settling:
    """Tells which files are ready. The time is passed in."""

    def __init__(self) -> None:
        self._seen: dict[Source, tuple[Version, float]] = {}  # since when each version has been there
        self._delivered: dict[Source, Version] = {}
        self._unread: set[Path] = set()

    def unread(self, path: Path) -> None:
        """A file that was delivered could not be read. It is ready again if it vanishes and returns."""
        self._unread.add(path)

    def ready(self, found: Mapping[Source, Version], now: float) -> list[Source]:
        """Files that have settled since the last time, each once for every version of it.

        What was delivered is kept for files that vanish: a share that is lost for a moment, or a folder that
        is moved and moved back, brings the same versions again, which may have been paid.
        """
        for gone in self._seen.keys() - found.keys():
            del self._seen[gone]
        for source in found.keys() - self._seen.keys():
            if source.path in self._unread:
                self._unread.remove(source.path)
                self._delivered.pop(source, None)
        ready = []
        for source, version in found.items():
            seen, since = self._seen.get(source, (None, now))
            if seen != version:
                self._seen[source] = version, now
            # An empty file is one that is about to be written.
            elif (
                version.size_bytes
                and now - since >= SETTLED_SECONDS
                and self._delivered.get(source) != version
            ):
                self._delivered[source] = version
                ready.append(source)
        return ready


async def settled(folders: Sequence[Path], output: Path, settling: Settling) -> AsyncIterator[list[Source]]:
    """The pictures that have been written completely since the last time, for ever."""
    while True:
        found = await asyncio.to_thread(_versions, folders, output)
        if ready := settling.ready(found, time.monotonic()):
            yield ready
        await asyncio.sleep(POLL_SECONDS)


def _versions(folders: Sequence[Path], output: Path) -> dict[Source, Version]:
    versions = {}
    for source in inputs.find(folders, output).sources:
        try:
            status = source.path.stat()
        except OSError:
            continue  # deleted meanwhile
        versions[source] = Version(status.st_size, status.st_mtime_ns, status.st_ino)
    return versions
