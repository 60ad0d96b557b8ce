"""Watches folders for new pictures. Polls, which also works on network shares."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from web.cli.run import inputs
from web.cli.run.types import Source

POLL_SECONDS = 1.0


@dataclass(frozen=True)
class _Version:
    """What changes when a file is written. A file is settled when two polls see the same version."""

    size_bytes: int
    modified_ns: int
    identity: inputs.Identity


async def settled(
    folders: Sequence[Path], output: Path, poll_seconds: float = POLL_SECONDS
) -> AsyncIterator[list[Source]]:
    """The pictures that have been written completely since the last time, for ever. Changed ones come again."""
    delivered: dict[Source, _Version] = {}
    seen: dict[Source, _Version] = {}
    while True:
        found = await asyncio.to_thread(_versions, folders, output)
        # Files that were deleted are forgotten.
        delivered = {source: version for source, version in delivered.items() if source in found}
        ready = [
            source
            for source, version in found.items()
            # An empty file is one that is about to be written.
            if version.size_bytes and seen.get(source) == version and delivered.get(source) != version
        ]
        seen = found
        delivered.update((source, found[source]) for source in ready)
        if ready:
            yield ready
        await asyncio.sleep(poll_seconds)


def _versions(folders: Sequence[Path], output: Path) -> dict[Source, _Version]:
    versions = {}
    for source in inputs.find(folders, output).sources:
        try:
            status = source.path.stat()
        except OSError:
            continue  # deleted meanwhile
        identity = status.st_dev, status.st_ino
        versions[source] = _Version(status.st_size, status.st_mtime_ns, identity)
    return versions
