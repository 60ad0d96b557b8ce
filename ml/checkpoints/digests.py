"""SHA-256 digests of files, with a cache of verified files.

Hashing a large checkpoint takes a good part of a second, too much for every start of every process. A
successful check is therefore recorded in a stamp file next to it, with the file's size and modification time,
so that a changed file is verified again. If the directory is read-only, each process keeps its own record.
"""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

# This process's cache: the stamp of a file when it was last hashed, and whether it was intact. Damage is
# cached only here, so that a new process verifies the file again.
_verified: dict[Path, tuple[str, bool]] = {}


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_intact(path: Path, sha256: str) -> bool:
    """Whether `path` is a file with this SHA-256. Hashes it only if it changed since the last check."""
    try:
        stamp = _stamp(path, sha256)
    except FileNotFoundError:
        return False
    cached_stamp, was_intact = _verified.get(path, ("", False))
    if cached_stamp == stamp:
        return was_intact
    if _read(_stamp_path(path)) == stamp:
        _verified[path] = (stamp, True)
        return True
    return verify(path, sha256)


def verify(path: Path, sha256: str) -> bool:
    """Hash the file unconditionally and record the result."""
    # Taken before hashing: if the file changes meanwhile, this stamp does not match it.
    stamp = _stamp(path, sha256)
    intact = sha256_of(path) == sha256
    forget(path)
    _verified[path] = (stamp, intact)
    if intact:
        _write_stamp(path, stamp)
    return intact


def remember(path: Path, sha256: str) -> None:
    """Record that the file in its current state has this SHA-256."""
    stamp = _stamp(path, sha256)
    _verified[path] = (stamp, True)
    _write_stamp(path, stamp)


def forget(path: Path) -> None:
    """Drop the record of a file, because it is replaced or damaged."""
    _verified.pop(path, None)
    with suppress(OSError):
        _stamp_path(path).unlink()


def _stamp(path: Path, sha256: str) -> str:
    status = path.stat()
    return f"{sha256} {status.st_size} {status.st_mtime_ns}"


def _stamp_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.checked")


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return None


def _write_stamp(path: Path, stamp: str) -> None:
    temporary = path.with_name(f".{path.name}.checked.{os.getpid()}")
    # A read-only directory is fine: the record is kept in this process only.
    with suppress(OSError):
        temporary.write_text(stamp)
        temporary.replace(_stamp_path(path))
