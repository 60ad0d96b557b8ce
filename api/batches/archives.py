"""Reading the images of a ZIP that a caller sent. Everything here blocks: run it in a thread.

The archive is a file on disk, and each of its files is unpacked when it is read. Sizes are checked before
that, and unpacking stops at the declared size. Names are kept, with their folders, but never used as paths.
What makes the archive as a whole doubtful refuses it; a file in it that is not a usable image only fails
itself.
"""

import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from api.batches import item_names
from api.errors import FileTooLarge, InvalidParameter
from api.images import service as images
from ml.errors import UnsupportedFormat
from ml.imaging import codecs

FIELD = "archive"
#: Of all files in one archive, unpacked. Images hardly shrink, so a small archive has no large ones.
UNPACKED_BYTES_MAX = 2 * 1024**3
_UNPACKED_BYTES_OF_ANY = 128 * 1024**2
_UNPACKED_RATIO_MAX = 10
#: Folders and files that are left out count too.
_ENTRIES_MAX = 20_000
_DIRECTORY_BYTES_MAX = 4 * 1024**2
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\x05\x06"
_END_64 = struct.Struct("<4sQ2H2L4Q")
_END_64_SIGNATURE = b"PK\x06\x06"
_LOCATOR = struct.Struct("<4sLQL")
_LOCATOR_SIGNATURE = b"PK\x06\x07"
_COMMENT_MAX = 65_535
_TAIL_BYTES = _COMMENT_MAX + _END.size + _LOCATOR.size + _END_64.size
#: What operating systems leave in archives.
_LITTER = re.compile(r"(?:^|/)(?:__MACOSX/|\.DS_Store$|\._|Thumbs\.db$|desktop\.ini$)", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:")
_SHOWN_LENGTH = 100


class ArchivedFile:
    """A file of an archive that is open. `error` says why it cannot be stored as an image."""

    def __init__(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
        self.name = item_names.of_archive(entry.filename)
        self.size_bytes = entry.file_size
        self.error: Exception | None = None
        self._archive = archive
        self._entry = entry
        try:
            images.check_size(self.size_bytes)
            images.sniff(self.read(codecs.SNIFF_BYTES))
        except (FileTooLarge, UnsupportedFormat) as error:
            self.error = error

    def read(self, size_bytes: int | None = None) -> bytes:
        """The content, or the beginning of it. Raises `InvalidParameter` for a damaged archive."""
        with _refusing_damage(), self._archive.open(self._entry) as file:
            return file.read(images.FILE_LIMIT_BYTES + 1 if size_bytes is None else size_bytes)


def opened(archive_file: IO[bytes], *, files_max: int) -> list[ArchivedFile]:
    """The files in the archive's order. Closing `archive_file` ends their use.

    Raises `InvalidParameter`, `FileTooLarge`, for what the list of files and their first bytes show.
    """
    packed_bytes = archive_file.seek(0, os.SEEK_END)
    _check_directory(archive_file, packed_bytes)
    with _refusing_damage():
        archive = zipfile.ZipFile(archive_file)
    entries = _entries(archive, files_max)
    _check_unpacked_size(sum(entry.file_size for entry in entries), packed_bytes)
    return [ArchivedFile(archive, entry) for entry in entries]


@contextmanager
def _refusing_damage() -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, UnicodeDecodeError, ValueError):
        raise _refusal("the ZIP is damaged") from None
    except (NotImplementedError, RuntimeError):  # Raised for patched data, strong encryption and the like.
        raise _refusal("this kind of ZIP is not supported") from None


def _check_unpacked_size(unpacked_bytes: int, packed_bytes: int) -> None:
    by_ratio = _UNPACKED_BYTES_OF_ANY + _UNPACKED_RATIO_MAX * packed_bytes
    limit_bytes = min(UNPACKED_BYTES_MAX, by_ratio)
    if unpacked_bytes > limit_bytes:
        error = FileTooLarge(f"The ZIP's files are larger than {limit_bytes // 1024**2} MiB together.")
        error.param = FIELD
        raise error


def _entries(archive: zipfile.ZipFile, files_max: int) -> list[zipfile.ZipInfo]:
    entries = []
    for entry in archive.infolist():
        _check_entry(entry)
        if not entry.is_dir() and _LITTER.search(entry.filename) is None:
            entries.append(entry)
    if len(entries) > files_max:
        raise _refusal(f"the ZIP has {len(entries):,} files; a batch has at most {files_max:,}")
    if not entries:
        raise _refusal("the ZIP has no files")
    return entries


def _check_entry(entry: zipfile.ZipInfo) -> None:
    # `ZipInfo` cuts a name off at a NUL and may change separators, so the sent name is checked.
    name = entry.orig_filename
    shown = repr(name[:_SHOWN_LENGTH])
    parts = name.replace("\\", "/").split("/")
    if all(part in ("", ".") for part in parts):
        raise _refusal("the ZIP has a file without a name")
    if name.startswith(("/", "\\")) or _DRIVE.match(name) or ".." in parts:
        raise _refusal(f"the name {shown} leads out of the ZIP")
    if item_names.has_control_characters(name):
        raise _refusal(f"the name {shown} has control characters")
    if len(name) > item_names.LENGTH_MAX:
        raise _refusal(f"the name {shown}… is longer than {item_names.LENGTH_MAX} characters")
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _refusal(f"{shown} is a link or a device, not a file")
    if entry.flag_bits & _ENCRYPTED:
        raise _refusal("the ZIP is encrypted")
    if entry.compress_type not in _METHODS:
        raise _refusal(f"{shown} is compressed by another method than Deflate")


def _check_directory(archive_file: IO[bytes], packed_bytes: int) -> None:
    """Refuse a list of files that would take long to read. `zipfile` reads all of it at once."""
    tail_at = max(0, packed_bytes - _TAIL_BYTES)
    archive_file.seek(tail_at)
    tail = archive_file.read(_TAIL_BYTES)
    at = len(tail) - _END.size
    if at < 0 or not (tail.startswith(_END_SIGNATURE, at) and tail.endswith(b"\0\0")):
        at = tail.rfind(_END_SIGNATURE)
    if at < 0 or at + _END.size > len(tail):
        raise _refusal("this is not a ZIP, or it was cut off")
    _, _, _, _, count, size_bytes, _, _ = _END.unpack_from(tail, at)
    locator_at = at - _LOCATOR.size
    if locator_at >= 0 and tail.startswith(_LOCATOR_SIGNATURE, locator_at):
        end_at = locator_at - _END_64.size
        if end_at < 0 or not tail.startswith(_END_64_SIGNATURE, end_at):
            raise _refusal("the ZIP is damaged")
        fields = _END_64.unpack_from(tail, end_at)
        count, size_bytes = fields[7], fields[8]
    if count > _ENTRIES_MAX or size_bytes > _DIRECTORY_BYTES_MAX:
        raise _refusal("the ZIP has too many files")


def _refusal(problem: str) -> InvalidParameter:
    return InvalidParameter(FIELD, f"{FIELD}: {problem}.")
