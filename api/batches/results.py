"""The results of a batch as a ZIP that is made while it is sent, and its manifest as CSV."""

import asyncio
import csv
import io
import json
import unicodedata
import zipfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from sqlmodel import Session, col, select

from api.batches.models import Batch, BatchItem, ItemStatus
from api.errors import NotFound
from api.images.models import Image
from api.images.storage import Storage

_COLUMNS = (
    "position",
    "name",
    "status",
    "file",
    "image_id",
    "width",
    "height",
    "bytes",
    "sha256",
    "credits",
    "error_code",
    "error_message",
)
#: Spreadsheets run cells that begin with these. The apostrophe, which prevents it, is marked by another one,
#: so that different texts have different cells.
_MARKED_STARTS = ("=", "+", "-", "@", "\t", "\r", "'")
_EARLIEST_YEAR = 1980  # of a ZIP's timestamps
#: Of a file's or a folder's name, in UTF-8, on most file systems.
_PART_BYTES_MAX = 255
_NUMBER_BYTES_MAX = len(" (99999)")


@dataclass(frozen=True)
class ResultRow:
    """An item, its result and the result's name in the ZIP."""

    item: BatchItem
    image: Image | None
    file: str | None


def rows(session: Session, batch: Batch, now: datetime) -> list[ResultRow]:
    """All items in order. `file` and `image` are None unless the item's result can be read."""
    found = session.exec(
        select(BatchItem, Image)
        .join(Image, col(Image.id) == col(BatchItem.image_id), isouter=True)
        .where(BatchItem.batch_id == batch.id)
        .order_by(col(BatchItem.position))
    ).all()
    read = [(item, _readable(item, image, now)) for item, image in found]
    names = _FileNames([item.name for item, image in read if image is not None])
    return [
        ResultRow(item, image, None if image is None else names.take(item.name, image.format))
        for item, image in read
    ]


def _readable(item: BatchItem, image: Image | None, now: datetime) -> Image | None:
    """The item's result, if there is one that has not expired."""
    if item.status != ItemStatus.SUCCEEDED or image is None or image.expires_at <= now:
        return None
    return image


async def archive(storage: Storage, listed: list[ResultRow]) -> AsyncIterator[bytes]:
    """A ZIP of the results, one image in memory at a time. Those deleted meanwhile are left out.

    Raises `ServiceUnavailable` if an image cannot be read, which cuts the answer off.
    """
    sink = _Sink()
    # Images do not shrink. Without `seek` each entry's sizes follow it, and large archives become ZIP64.
    packed = zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, allowZip64=True)
    for row in listed:
        if row.image is None or row.file is None:
            continue
        try:
            content = await asyncio.to_thread(storage.read, row.image.id)
        except NotFound:
            continue
        entry = zipfile.ZipInfo(row.file, _zip_time(row.item.finished_at))
        entry.external_attr = 0o644 << 16
        await asyncio.to_thread(packed.writestr, entry, content)
        for piece in sink.taken():
            yield piece
    await asyncio.to_thread(packed.close)
    for piece in sink.taken():
        yield piece


def manifest(listed: list[ResultRow]) -> bytes:
    """The CSV of all items (RFC 4180). For a thread."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for row in listed:
        item, image = row.item, row.image
        error = {} if item.error is None else json.loads(item.error)
        about_image = ("",) * 5
        if image is not None:
            about_image = (  # type: ignore[assignment]
                image.id,
                image.width or "",
                image.height or "",
                image.size_bytes,
                image.sha256,
            )
        writer.writerow(
            (
                item.position + 1,
                _as_text(item.name),
                item.status,
                _as_text(row.file or ""),
                *about_image,
                item.credits,
                error.get("code", ""),
                _as_text(error.get("message", "")),
            )
        )
    return text.getvalue().encode()


class _FileNames:
    """Unique names, also where neither case nor the composition of accents counts: `a.png`, `a (2).png`.

    No file is named as a folder of any of `sources`, and no part of a path is longer than file systems allow.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        folders = {folder for source in sources for folder in PurePosixPath(source).parents}
        self._taken = {_folded(_with_short_parts(str(folder))) for folder in folders}
        self._latest: dict[str, int] = {}

    def take(self, name: str, format: str) -> str:
        folder, slash, last = name.rpartition("/")
        folder = _with_short_parts(folder) + slash
        ending = f".{format}"
        # Not `with_suffix`, which refuses names such as `..png` in some versions of Python.
        stem = last.removesuffix(PurePosixPath(last).suffix)
        file = f"{folder}{_shortened(stem, _PART_BYTES_MAX - len(ending))}{ending}"
        # Long names that become the same with a number share it.
        numbered = folder + _shortened(stem, _PART_BYTES_MAX - _NUMBER_BYTES_MAX - len(ending))
        counted = _folded(numbered + ending)
        if _folded(file) in self._taken:
            number = self._latest.get(counted, 1)
            while _folded(file) in self._taken:
                number += 1
                file = f"{numbered} ({number}){ending}"
            # The next one of this name does not try the numbers again.
            self._latest[counted] = number
        self._taken.add(_folded(file))
        return file


def _with_short_parts(path: str) -> str:
    return "/".join(_shortened(part, _PART_BYTES_MAX) for part in path.split("/"))


def _shortened(text: str, bytes_max: int) -> str:
    """The beginning of `text` that has at most so many bytes in UTF-8, without half a character."""
    return text.encode()[:bytes_max].decode(errors="ignore")


def _folded(name: str) -> str:
    """Equal for names that some file systems take for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


class _Sink:
    """A file that cannot seek, from which what was written is taken."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def taken(self) -> Iterator[bytes]:
        pieces, self._pieces = self._pieces, []
        yield from pieces


def _zip_time(moment: datetime | None) -> tuple[int, int, int, int, int, int]:
    if moment is None or moment.year < _EARLIEST_YEAR:
        return (_EARLIEST_YEAR, 1, 1, 0, 0, 0)
    return (moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second)


def _as_text(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(_MARKED_STARTS) else cell
