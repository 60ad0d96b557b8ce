"""The ZIP and the manifest of a batch."""

import asyncio
import csv
import io
import zipfile
from pathlib import Path

import pytest

from api.batches import results
from api.batches.models import BatchItem, ItemStatus
from api.batches.results import ResultRow
from api.db.database import Database
from api.images.storage import Storage
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


async def packed(storage: Storage, rows: list[ResultRow]) -> bytes:
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


def test_names_that_a_file_system_takes_for_the_same_differ() -> None:
    names = results._FileNames()
    sent = ["\u00fc.png", "u\u0308.jpg", "..png"]
    assert [names.take(name, "png") for name in sent] == ["\u00fc.png", "u\u0308 (2).png", "..png"]


def test_thousands_of_equal_names_take_no_time_that_grows_with_their_square(database: Database) -> None:
    names = results._FileNames()
    files = [names.take("photo.jpg", "png") for _ in range(5_000)]
    assert len({file.casefold() for file in files}) == 5_000
    assert files[-1] == "photo (5000).png"


@pytest.mark.parametrize("limit", [zipfile.ZIP64_LIMIT, 100])
def test_the_archive_is_valid_beyond_the_limits_of_32_bits_too(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    rows = rows_of(database, ["a.png", "b.png", "gone.png"])
    storage = Storage(tmp_path)
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
