"""The ZIP and the manifest of a batch."""

import asyncio
import csv
import io
import zipfile
from pathlib import Path

import pytest

from api.batches import results
from api.batches.models import Batch, BatchItem, ItemStatus
from api.batches.results import ResultRow
from api.db.database import Database
from api.images.local_storage import LocalStorage
from billing.ledger.plans import PlanName
from tests.support.batch_rows import make_batch, make_image
from tests.support.load import NOON, account_with


def rows_of(database: Database, names: list[str]) -> list[ResultRow]:
    """All of them succeeded."""
    with database.transaction() as session:
        account = account_with(session, credits=1, plan=PlanName.FREE)
        batch = make_batch(session, account.id, NOON, names)
        for row in results.rows(session, batch, NOON):
            row.item.status = ItemStatus.SUCCEEDED
            row.item.image_id = make_image(session, account.id, NOON, "result").id
            row.item.finished_at = NOON
        session.flush()
        return results.rows(session, batch, NOON)


async def packed(storage: LocalStorage, rows: list[ResultRow]) -> bytes:
    return b"".join([piece async for piece in results.archive(storage, rows)])


def test_names_are_kept_with_the_results_format_and_made_unique(database: Database) -> None:
    names = ["a.jpg", "a.png", "A.gif", "a (2).webp", "b/a.jpg", ".hidden", "no end", "a.b.tiff"]
    assert [row.file for row in rows_of(database, names)] == [
        "a.png",
        "a (2).png",
        "A (3).png",
        "a (2) (2).png",
        "b/a.png",
        ".hidden.png",
        "no end.png",
        "a.b.png",
    ]


def files_of(names: list[str]) -> list[str]:
    files = results._FileNames(names)
    return [files.take(name, "png") for name in names]


def test_names_that_a_file_system_takes_for_the_same_differ() -> None:
    sent = ["\u00fc.png", "u\u0308.jpg", "..png"]
    assert files_of(sent) == ["\u00fc.png", "u\u0308 (2).png", "..png"]


def test_no_result_is_named_as_a_folder_of_another(database: Database) -> None:
    names = ["a.jpg", "A.png/b.jpg", "a", "b/\u00fc.jpg", "b/u\u0308.png/c/d.jpg", "c.png/e.jpg", "c.gif"]
    assert [row.file for row in rows_of(database, names)] == [
        "a (2).png",
        "A.png/b.png",
        "a (3).png",
        "b/\u00fc (2).png",
        "b/u\u0308.png/c/d.png",
        "c.png/e.png",
        "c (2).png",
    ]


def test_only_folders_of_results_are_avoided(database: Database) -> None:
    rows = rows_of(database, ["a.jpg", "a.png/b.jpg"])
    with database.transaction() as session:
        session.merge(rows[1].item).status = ItemStatus.FAILED
        batch = session.get_one(Batch, rows[0].item.batch_id)
        assert [row.file for row in results.rows(session, batch, NOON)] == ["a.png", None]


def test_no_part_of_a_path_is_longer_than_a_file_system_allows() -> None:
    sent = [
        "日" * 84,
        "日" * 84 + ".jpg",
        "日" * 85 + ".jpg",
        "é" * 150 + "/a.jpg",
        "x" + "日" * 85 + "/b.png",
    ]
    files = files_of(sent)
    assert files == [
        "日" * 83 + ".png",
        "日" * 81 + " (2).png",
        "日" * 81 + " (3).png",
        "é" * 127 + "/a.png",
        "x" + "日" * 84 + "/b.png",
    ]
    assert all(len(part.encode()) <= 255 for file in files for part in file.split("/"))


def test_a_folder_that_was_shortened_is_not_taken_by_a_file() -> None:
    assert (
        files_of(["x" * 251 + ".png" + "y" * 40 + "/a.png", "x" * 251 + ".gif"])[1] == "x" * 243 + " (2).png"
    )


def test_long_names_that_are_shortened_to_the_same_take_no_time_that_grows_with_their_square() -> None:
    names = [f"{'n' * 245}{number:06}.jpg" for number in range(2_500) for _ in range(2)]
    assert len({file.casefold() for file in files_of(names)}) == 5_000


def test_the_archive_can_be_extracted(database: Database, tmp_path: Path) -> None:
    rows = rows_of(database, ["a.jpg", "a.png/b.jpg", "a", "日" * 84, "日" * 84 + ".png"])
    storage = LocalStorage(tmp_path / "storage")
    for row in rows:
        assert row.image is not None
        storage.write(row.image.id, row.item.name.encode())
    content = asyncio.run(packed(storage, rows))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(tmp_path / "extracted")
    listed = csv.DictReader(io.StringIO(results.manifest(rows).decode()))
    contents = {row["name"]: (tmp_path / "extracted" / row["file"]).read_bytes() for row in listed}
    assert contents == {row.item.name: row.item.name.encode() for row in rows}


def test_thousands_of_equal_names_take_no_time_that_grows_with_their_square(database: Database) -> None:
    files = files_of(["photo.jpg"] * 5_000)
    assert len({file.casefold() for file in files}) == 5_000
    assert files[-1] == "photo (5000).png"


@pytest.mark.parametrize("limit", [zipfile.ZIP64_LIMIT, 100])
def test_the_archive_is_valid_beyond_the_limits_of_32_bits_too(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    rows = rows_of(database, ["a.png", "b.png", "gone.png"])
    storage = LocalStorage(tmp_path)
    contents = {"a.png": bytes(range(256)) * 4, "b.png": b"b" * 300}
    for row in rows[:2]:
        assert row.image is not None
        assert row.file is not None
        storage.write(row.image.id, contents[row.file])
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
    content = asyncio.run(packed(storage, rows))
    assert (b"PK\x06\x06" in content) == (limit == 100)
    monkeypatch.undo()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == contents


def test_no_cell_of_the_manifest_is_a_formula(database: Database) -> None:
    rows = rows_of(database, ["=cmd|' /C calc'!A0.png", "-1.png", "plain.png"])
    failed = BatchItem(
        id="item_1",
        batch_id="batch_1",
        position=3,
        name="d.png",
        status=ItemStatus.FAILED,
        error='{"code":"UNREADABLE_IMAGE","message":"@damaged"}',
    )
    content = results.manifest([*rows, ResultRow(failed, None, None)])
    listed = list(csv.DictReader(io.StringIO(content.decode())))
    assert [row["name"] for row in listed] == ["'=cmd|' /C calc'!A0.png", "'-1.png", "plain.png", "d.png"]
    assert listed[2]["file"] == "plain.png"
    assert listed[2]["sha256"] == "0" * 64
    assert (listed[3]["error_code"], listed[3]["error_message"]) == ("UNREADABLE_IMAGE", "'@damaged")


def test_names_that_differ_have_different_cells(database: Database) -> None:
    content = results.manifest(rows_of(database, ["=1.png", "'=1.png", "''=1.png", "it's.png"]))
    listed = list(csv.DictReader(io.StringIO(content.decode())))
    cells = ["'=1.png", "''=1.png", "'''=1.png", "it's.png"]
    assert [row["name"] for row in listed] == cells
    assert [row["file"] for row in listed] == cells
