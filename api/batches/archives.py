"""Reading the images of a ZIP that a caller sent. Everything here blocks: run it in a thread.

Sizes are checked before anything is unpacked, and unpacking stops at the declared size. Names are kept, with
their folders, but never used as paths. What makes the archive as a whole doubtful refuses it; a file in it
that is not a usable image only fails itself.
"""

import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from api.batches import item_names
from api.errors import FileTooLarge, InvalidParameter
from api.images import service as images
from ml.errors import UnsupportedFormat

FIELD = "archive"
#: Of all files in one archive, unpacked.
UNPACKED_BYTES_MAX = 128 * 1024**2
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
#: What operating systems leave in archives.
_LITTER = re.compile(r"(?:^|/)(?:__MACOSX/|\.DS_Store$|\._|Thumbs\.db$|desktop\.ini$)", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:")
_SHOWN_LENGTH = 100


def unpacked_bytes(content: bytes, *, files_max: int) -> int:
    """The size of all files together. Raises as `read`, for what the list of files shows."""
    with _opened(content) as archive:
        return sum(entry.file_size for entry in _entries(archive, files_max))


def read(content: bytes, *, files_max: int) -> Iterator[tuple[str, bytes | Exception]]:
    """The name of each file, in the archive's order, and its content or why it is no image.

    Raises `InvalidParameter`, `FileTooLarge`.
    """
    with _opened(content) as archive:
        for entry in _entries(archive, files_max):
            yield item_names.of_archive(entry.filename), _unpacked(archive, entry)


@contextmanager
def _opened(content: bytes) -> Iterator[zipfile.ZipFile]:
    _check_directory(content)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, UnicodeDecodeError):
        raise _refusal("the ZIP is damaged") from None
    except (NotImplementedError, RuntimeError):  # Raised for patched data, strong encryption and the like.
        raise _refusal("this kind of ZIP is not supported") from None


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
    if sum(entry.file_size for entry in entries) > UNPACKED_BYTES_MAX:
        error = FileTooLarge(f"The ZIP's files are larger than {UNPACKED_BYTES_MAX // 1024**2} MiB together.")
        error.param = FIELD
        raise error
    return entries


def _check_entry(entry: zipfile.ZipInfo) -> None:
    # `ZipInfo` cuts a name off at a NUL and may change separators, so the sent name is checked.
    name = entry.orig_filename
    shown = repr(name[:_SHOWN_LENGTH])
    parts = name.replace("\\", "/").split("/")
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


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes | Exception:
    try:
        images.check_size(entry.file_size)
    except FileTooLarge as error:
        return error
    with archive.open(entry) as file:
        content = file.read(images.FILE_LIMIT_BYTES + 1)
    try:
        images.check_size(len(content))
        images.sniff(content)
    except (FileTooLarge, UnsupportedFormat) as error:
        return error
    return content


def _check_directory(content: bytes) -> None:
    """Refuse a list of files that would take long to read. `zipfile` reads all of it at once."""
    at = len(content) - _END.size
    if at < 0 or not (content.startswith(_END_SIGNATURE, at) and content.endswith(b"\0\0")):
        at = content.rfind(_END_SIGNATURE, max(0, at - _COMMENT_MAX))
    if at < 0 or at + _END.size > len(content):
        raise _refusal("this is not a ZIP, or it was cut off")
    _, _, _, _, count, size_bytes, _, _ = _END.unpack_from(content, at)
    locator_at = at - _LOCATOR.size
    if locator_at >= 0 and content.startswith(_LOCATOR_SIGNATURE, locator_at):
        end_at = locator_at - _END_64.size
        if end_at < 0 or not content.startswith(_END_64_SIGNATURE, end_at):
            raise _refusal("the ZIP is damaged")
        fields = _END_64.unpack_from(content, end_at)
        count, size_bytes = fields[7], fields[8]
    if count > _ENTRIES_MAX or size_bytes > _DIRECTORY_BYTES_MAX:
        raise _refusal("the ZIP has too many files")


def _refusal(problem: str) -> InvalidParameter:
    return InvalidParameter(FIELD, f"{FIELD}: {problem}.")
