"""Servers are killed while they run a batch: it ends with every result, and each is charged once."""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, func, select

from api.jobs.models import Job
from billing.ledger.models import Entry, EntryKind
from billing.ledger.plans import PlanName
from tests.support.batch_calls import batch_in, batch_of, read_batch, results_of, send_batch
from tests.support.calling import crop, small_picture
from tests.support.killing import kill, lapse_leases
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.server import Customer, RunningServer, StartServer
from tests.support.waiting import wait_until

#: Takes a worker a few tenths of a second, so that a kill finds jobs at work.
SLOW: dict[str, Any] = {"format": "avif", "quality": "90", "width": "100%", "height": "100%"}
QUICK: dict[str, Any] = {"width": "10", "height": "10"}
#: Crops need none, and a server starts sooner without.
NO_MODELS = {"BGERASER_MODELS_DIR": "/nonexistent"}


def succeeded(server: RunningServer, customer: Customer, batch_id: str) -> int:
    count: int = read_batch(server, customer, batch_id)["counts"]["succeeded"]
    return count


def captures(server: RunningServer, customer: Customer) -> list[int]:
    """How often each hold of the account was captured."""
    with server.database.transaction() as session:
        of_account = (col(Entry.account_id) == customer.account_id, col(Entry.kind) == EntryKind.CAPTURE)
        return list(session.exec(select(func.count()).where(*of_account).group_by(col(Entry.hold_id))))


def assert_each_done_and_charged_once(
    server: RunningServer,
    customer: Customer,
    batch_id: str,
    pictures: Sequence[tuple[str, bytes]],
    params: dict[str, Any],
) -> None:
    batch = batch_in(server, customer, batch_id)
    assert (batch["status"], batch["creditsCharged"]) == ("completed", len(pictures))
    assert batch["counts"]["succeeded"] == len(pictures)
    assert captures(server, customer) == [1] * len(pictures)
    assert server.balance(customer) == (5000 - len(pictures), 0)
    # Each result is that of a direct call on its picture.
    digests = {name: digest(content) for name, content in results_of(server, customer, batch_id).items()}
    other = server.new_customer(PlanName.BUSINESS)
    expected = {}
    with server.client(other) as client:
        for name, content in pictures:
            answer = crop(server, other, content, **params).json()["data"]
            expected[f"{Path(name).stem}.{answer['format']}"] = digest(client.get(answer["imageUrl"]).content)
    assert digests == expected
    with server.client(customer) as client:
        rows = csv.DictReader(io.StringIO(client.get(f"/api/batches/{batch_id}/manifest.csv").text))
        assert {row["file"]: row["sha256"] for row in rows} == digests
    with server.database.transaction() as session:
        assert session.exec(select(func.count()).select_from(Job)).one() == 0
    assert server.drifts() == []


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_the_batch_of_a_killed_server_is_done_by_the_next_one(
    migrated_database_url: str, start_server: StartServer, tmp_path: Path
) -> None:
    def start() -> RunningServer:
        settings = {"BGERASER_DATABASE_URL": migrated_database_url, "BGERASER_WORKERS": "1"}
        return start_server(tmp_path / "data", **settings, **NO_MODELS)

    server = start()
    customer = server.new_customer(PlanName.BUSINESS)
    pixels = photo("motorcycle_left")
    pictures = [(f"{number}.jpg", jpeg_bytes(pixels[:, number:])) for number in range(12)]
    batch_id = batch_of(send_batch(server, customer, pictures, tool="crop", **SLOW))
    wait_until(lambda: succeeded(server, customer, batch_id) > 0)
    kill(server)
    with server.database.transaction() as session:
        ended = Counter(finished is not None for finished in session.exec(select(Job.finished_at)))
    assert ended[False] > 0
    lapse_leases(server)
    server = start()
    assert_each_done_and_charged_once(server, customer, batch_id, pictures, SLOW)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_batch_of_five_hundred_survives_two_kills(
    migrated_database_url: str, start_server: StartServer, tmp_path: Path
) -> None:
    """Nothing shortens the leases: the dead server's jobs go on within a minute."""
    count = 500

    def start() -> RunningServer:
        return start_server(tmp_path / "data", BGERASER_DATABASE_URL=migrated_database_url, **NO_MODELS)

    server = start()
    customer = server.new_customer(PlanName.BUSINESS)
    pictures = [(f"{number}.png", small_picture()) for number in range(count)]
    batch_id = batch_of(send_batch(server, customer, pictures, tool="crop", **QUICK))
    for done in (count // 5, count // 2):
        wait_until(lambda: succeeded(server, customer, batch_id) >= done)  # noqa: B023
        kill(server)
        server = start()
    assert succeeded(server, customer, batch_id) < count
    assert_each_done_and_charged_once(server, customer, batch_id, pictures, QUICK)
