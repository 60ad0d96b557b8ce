"""Batches of several accounts that run at once."""

import pytest
from sqlmodel import col, func, select

from billing.ledger.models import Entry, EntryKind
from billing.ledger.plans import PlanName
from tests.support.batch_calls import batch_in, batch_of, control, read_batch, send_batch
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.server import Customer, RunningServer
from tests.support.waiting import wait_until

#: Jobs begin several at a time, so that at any moment one account may be ahead by as many.
_PICTURES = 140
_COMPARED = 160


@pytest.mark.long
def test_the_batches_of_two_accounts_share_the_workers(server: RunningServer) -> None:
    """Within a fifth, although the first one's jobs wait already when the other one comes."""
    pixels = photo("motorcycle_left")
    pictures = [(f"{number}.jpg", jpeg_bytes(pixels[:, number:])) for number in range(_PICTURES)]
    customers = [server.new_customer(PlanName.BUSINESS) for _ in range(2)]

    def begin(customer: Customer) -> str:
        batch_id = batch_of(send_batch(server, customer, pictures, tool="crop", format="png", flip="h"))
        wait_until(lambda: captured(server, customers)[customers.index(customer)] > 0)
        return batch_id

    batch_ids = [begin(customer) for customer in customers]
    before = captured(server, customers)
    wait_until(lambda: sum(captured(server, customers)) >= sum(before) + _COMPARED)
    after = captured(server, customers)
    for customer, batch_id in zip(customers, batch_ids, strict=True):
        assert read_batch(server, customer, batch_id)["status"] == "running", "one had no work left"
    shares = [now - then for now, then in zip(after, before, strict=True)]
    assert min(shares) >= 0.8 * max(shares)
    for customer, batch_id in zip(customers, batch_ids, strict=True):
        control(server, customer, batch_id, "cancel")
        batch_in(server, customer, batch_id)


def captured(server: RunningServer, customers: list[Customer]) -> list[int]:
    """The credits that each of them has paid so far, in one look."""
    statement = (
        select(Entry.account_id, func.count())
        .where(
            col(Entry.account_id).in_([customer.account_id for customer in customers]),
            col(Entry.kind) == EntryKind.CAPTURE,
        )
        .group_by(col(Entry.account_id))
    )
    with server.database.transaction() as session:
        found = dict(session.exec(statement).all())
    return [found.get(customer.account_id, 0) for customer in customers]
