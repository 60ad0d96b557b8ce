"""ZIPs from callers: what is doubtful is refused before it is unpacked, with the reason."""

import io
import stat
import struct
import zipfile
from collections.abc import Callable

import pytest

from api.batches import archives
from api.errors import FileTooLarge, InvalidParameter
from ml.errors import UnsupportedFormat
from tests.support.batch_calls import zip_of
from tests.support.calling import small_picture

PICTURE = small_picture()


def read(content: bytes, files_max: int = 5) -> list[tuple[str, bytes | Exception]]:
    listed = archives.opened(io.BytesIO(content), files_max=files_max)
    return [(each.name, each.error or each.read()) for each in listed]


def with_entry(change: Callable[[zipfile.ZipInfo], None], content: bytes = PICTURE) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        entry = zipfile.ZipInfo("a.png")
        change(entry)
        archive.writestr(entry, content)
    return packed.getvalue()


def named(name: str) -> bytes:
    """`zipfile` would change some names, so they are put in afterwards."""
    placeholder = "N" * len(name.encode())
    return zip_of([(placeholder, PICTURE)]).replace(placeholder.encode(), name.encode())


def encrypted() -> bytes:
    content = bytearray(zip_of([("a.png", PICTURE)]))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    return bytes(content)


def is_link(entry: zipfile.ZipInfo) -> None:
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16


def is_lzma(entry: zipfile.ZipInfo) -> None:
    entry.compress_type = zipfile.ZIP_LZMA


def damaged() -> bytes:
    content = bytearray(zip_of([("a.png", PICTURE)]))
    at = len(content) // 3
    content[at : at + 20] = bytes(20)
    return bytes(content)


def with_count(count: int, size_bytes: int) -> bytes:
    """One whose last record promises more files than it has."""
    content = zip_of([("a.png", PICTURE)])
    end = bytearray(content[-22:])
    struct.pack_into("<HHL", end, 8, count, count, size_bytes)
    return content[:-22] + bytes(end)


def test_folders_are_kept_and_what_systems_leave_behind_is_not() -> None:
    content = zip_of(
        [
            ("shoes/", b""),
            ("shoes/red/1.png", PICTURE),
            ("__MACOSX/shoes/._1.png", b"x"),
            ("shoes/.DS_Store", b"x"),
            ("Thumbs.db", b"x"),
            ("näïve\u202f2.png", PICTURE),
        ]
    )
    assert read(content) == [("shoes/red/1.png", PICTURE), ("näïve\u202f2.png", PICTURE)]


def test_a_file_that_is_no_image_or_too_large_fails_alone() -> None:
    large = PICTURE + bytes(26 * 1024**2)
    inner = zip_of([("b.png", PICTURE)])
    found = dict(read(zip_of([("a.png", PICTURE), ("inner.zip", inner), ("large.png", large)])))
    assert found["a.png"] == PICTURE
    assert isinstance(found["inner.zip"], UnsupportedFormat)
    assert isinstance(found["large.png"], FileTooLarge)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a ZIP"),
        (PICTURE, "not a ZIP"),
        (zip_of([("a.png", PICTURE)])[:-30], "not a ZIP"),
        (damaged(), "damaged"),
        (zip_of([]), "no files"),
        (zip_of([("folder/", b"")]), "no files"),
        (zip_of([(f"{number}.png", b"x") for number in range(6)]), "6 files"),
        (encrypted(), "encrypted"),
        (with_entry(is_link), "link"),
        (with_entry(is_lzma), "Deflate"),
        (named("../../etc/passwd"), "leads out"),
        (named("/etc/passwd"), "leads out"),
        (named("C:\\windows\\a.png"), "leads out"),
        (named("a\\..\\..\\b.png"), "leads out"),
        (named("a\0b.png"), "control characters"),
        (zip_of([("a\u202egnp.exe", PICTURE)]), "control characters"),
        (zip_of([("n" * 201, PICTURE)]), "longer than 200"),
        (with_count(20_001, 55), "too many files"),
        (with_count(1, 5 * 1024**2), "too many files"),
    ],
)
def test_a_doubtful_archive_is_refused_with_the_reason(content: bytes, reason: str) -> None:
    with pytest.raises(InvalidParameter, match=reason) as refused:
        read(content)
    assert refused.value.param == "archive"


@pytest.mark.parametrize("name", ["", ".", "./."])
def test_a_file_without_a_name_is_refused(name: str) -> None:
    entry = zipfile.ZipInfo("a.png")
    entry.filename = entry.orig_filename = name
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(entry, PICTURE)
    with pytest.raises(InvalidParameter, match="without a name"):
        read(packed.getvalue())


def test_a_bomb_is_refused_by_its_declared_size_and_a_liar_by_its_own() -> None:
    bomb = zip_of([(f"{number}.png", PICTURE + bytes(24 * 1024**2)) for number in range(6)])
    assert len(bomb) < 1024**2
    with pytest.raises(FileTooLarge, match=r"larger than 12[89] MiB together"):
        archives.opened(io.BytesIO(bomb), files_max=10)
    # One that declares little is cut off there, and its checksum is another one.
    content = bytearray(zip_of([("a.png", PICTURE + bytes(24 * 1024**2))]))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<L", content, content.index(signature) + offset, 100)
    with pytest.raises(InvalidParameter, match="damaged"):
        read(bytes(content))
