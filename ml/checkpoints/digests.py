"""SHA-256 of files, and the memory of which file has been checked already.

Hashing a large checkpoint takes a good part of a second, too much for each start of each process. A check
that succeeded is therefore remembered in a stamp beside the file, with the file's size and time of change: a
file that changed since is checked again. Where the directory cannot be written, each process remembers for
itself.
"""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

# This process's own memory: the stamp a file had when it was last hashed, and whether it was intact. Damage
# is remembered here only, so that repeated looks are cheap and a new process looks again.
_seen: dict[Path, tuple[str, bool]] = {}


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_intact(path: Path, sha256: str) -> bool:
    """Whether `path` is a file with this SHA-256; hashed only if it changed since the last time."""
    try:
        stamp = _stamp(path, sha256)
    except FileNotFoundError:
        return False
    seen_stamp, was_intact = _seen.get(path, ("", False))
    if seen_stamp == stamp:
        return was_intact
    if _read(_stamp_path(path)) == stamp:
        _seen[path] = (stamp, True)
        return True
    return verify(path, sha256)


def verify(path: Path, sha256: str) -> bool:
    """Hash the file in any case, and remember the outcome."""
    # Taken before hashing: if the file changes meanwhile, this stamp does not fit it.
    stamp = _stamp(path, sha256)
    intact = sha256_of(path) == sha256
    forget(path)
    _seen[path] = (stamp, intact)
    if intact:
        _write_stamp(path, stamp)
    return intact


def remember(path: Path, sha256: str) -> None:
    """Record that the file, as it lies there now, is known to have this SHA-256."""
    stamp = _stamp(path, sha256)
    _seen[path] = (stamp, True)
    _write_stamp(path, stamp)


def forget(path: Path) -> None:
    """Drop what is remembered of a file, before it is replaced or because it is damaged."""
    _seen.pop(path, None)
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
    # A read-only models directory is fine: then only this process knows.
    with suppress(OSError):
        temporary.write_text(stamp)
        temporary.replace(_stamp_path(path))
