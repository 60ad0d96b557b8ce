"""Finds the pictures that the command line names: files, and folders with everything below them."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from web.cli.run.parameters import reason
from web.cli.run.types import Source

#: Suffixes of the files of a folder that are read. A file that is named itself is read whatever its suffix.
SUFFIXES = frozenset(
    f".{name}" for name in ("jpg", "jpeg", "jpe", "jfif", "png", "webp", "avif", "heic", "heif", "bmp", "gif")
) | {".tif", ".tiff"}

Identity = tuple[int, int]  # device and inode


@dataclass
class Found:
    """`problems` are paths that cannot be read, and why."""

    sources: list[Source] = field(default_factory=list)
    problems: list[tuple[Path, str]] = field(default_factory=list)
    identities: set[Identity] = field(default_factory=set)


def find(paths: Iterable[Path], output: Path | None) -> Found:
    """The pictures in `paths`, each once, in the order of their names within a folder.

    Hidden files are left out, symbolic links to folders are not followed, and the folder `output` is not
    read, so that no run ever works on its own results.
    """
    found = Found()
    excluded = None if output is None else identity(output)
    seen: set[tuple[str, str]] = set()
    for path in paths:
        if not path.is_dir():
            _add(found, seen, Source(path))
            continue
        for source in _walk(path, PurePath(), excluded, found.problems):
            _add(found, seen, source)
    return found


def identity(path: Path) -> Identity | None:
    """What tells whether two paths lead to one file; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _add(found: Found, seen: set[tuple[str, str]], source: Source) -> None:
    # The folder is resolved, but not the file: a link to a picture is a picture with a name of its own.
    key = (os.path.realpath(source.path.parent), source.path.name)
    if key in seen:
        return
    seen.add(key)
    try:
        status = source.path.stat()
    except (OSError, ValueError) as error:
        found.problems.append((source.path, reason(error) if isinstance(error, OSError) else str(error)))
        return
    found.identities.add((status.st_dev, status.st_ino))
    found.sources.append(source)


def _walk(
    folder: Path, relative: PurePath, excluded: Identity | None, problems: list[tuple[Path, str]]
) -> Iterator[Source]:
    """Pictures of `folder` before those of its subfolders."""
    folders = []
    try:
        with os.scandir(folder) as entries:
            visible = sorted((one for one in entries if not one.name.startswith(".")), key=_by_name)
    except OSError as error:
        problems.append((folder, reason(error)))
        return
    for entry in visible:
        if entry.is_dir(follow_symlinks=False):
            status = entry.stat(follow_symlinks=False)
            if (status.st_dev, status.st_ino) != excluded:
                folders.append(entry.name)
        elif PurePath(entry.name).suffix.lower() in SUFFIXES and not _is_linked_folder(entry):
            yield Source(folder / entry.name, relative)
    for name in folders:
        yield from _walk(folder / name, relative / name, excluded, problems)


def _by_name(entry: "os.DirEntry[str]") -> bytes:
    return os.fsencode(entry.name)


def _is_linked_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
