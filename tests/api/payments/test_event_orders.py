"""Events reordered, duplicated, lost, or interrupted by a crash yield the same ledger."""

import asyncio
import itertools
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event
from structlog.testing import capture_logs

from api.payments import customer_sync, sync
from billing.ledger.plans import PlanName
from billing.subscriptions.events import WANTED_TYPES
from billing.subscriptions.gateway import StripeGateway
from billing.subscriptions.types import CustomerFacts
from tests.fakes.stripe import lifecycle
from tests.fakes.stripe.delivery import Switches, signed
from tests.fakes.stripe.shapes import Json
from tests.fakes.stripe.world import SECRET_KEY
from tests.support.shop import Owner, Shop, open_shop

STANDARD, BUSINESS = PlanName.STANDARD, PlanName.BUSINESS


class History:
    """A shop in which much has happened that it has not heard of, and back to which it can be put."""

    def __init__(self, shop: Shop, directory: Path) -> None:
        self.shop = shop
        self.ada = shop.owner()
        self._path = directory / "bgeraser.db"
        self._saved = directory / "saved.db"
        self.events = self._live()
        self._save()
        shop.reconcile()
        self.expected_books = shop.books(self.ada)
        assert self.expected_books["account"]["plan"] == "business"
        assert {len(self.expected_books["invoices"]), len(self.expected_books["reversals"])} == {2}
        self.put_back()

    def _live(self) -> list[Json]:
        """Standard, Business in mid-month, a part of the first refunded, the second disputed."""
        shop, ada = self.shop, self.ada
        shop.buy(ada, STANDARD)
        shop.pass_days(10)
        subscription = shop.subscription(ada)
        price = next(each for each in shop.world.all("price") if each["lookup_key"].startswith("bgeraser_b"))
        lifecycle.change_price(shop.world, subscription, price["id"])
        shop.pass_days(1)
        first, second = shop.charges(ada)
        lifecycle.refund(shop.world, first, 300)
        lifecycle.open_dispute(shop.world, second)
        wanted = set(WANTED_TYPES)
        return [each for each in shop.world.take_outbox() if each["type"] in wanted]

    def some(self, *types: str) -> list[Json]:
        return [each for each in self.events if each["type"] in types]

    def put_back(self) -> None:
        """The database as it was before the first event came in."""
        for suffix in ("-wal", "-shm"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        self._path.unlink()
        shutil.copyfile(self._saved, self._path)

    def _save(self) -> None:
        with closing(sqlite3.connect(self._path)) as connection:
            connection.execute(f"vacuum into '{self._saved}'")

    def send(self, event: Json) -> None:
        assert self.shop.send(*signed(event, self.shop.world.now))


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with open_shop(tmp_path) as shop:
        yield History(shop, tmp_path)
        shop.check()


def deliver(history: History, events: list[Json], *, one_by_one: bool) -> None:
    for each in events:
        history.send(each)
        if one_by_one:
            history.shop.handle()
    history.shop.handle()


def test_every_order_of_key_events_yields_the_same_ledger(history: History) -> None:
    turning_points = [
        *history.some("customer.subscription.created"),
        *history.some("invoice.paid"),
        *history.some("charge.refunded"),
    ]
    assert len(turning_points) == 4
    for order in itertools.permutations(turning_points):
        history.put_back()
        deliver(history, [*order, *reversed(order)], one_by_one=True)
        assert history.shop.books(history.ada) == history.expected_books


@pytest.mark.parametrize("seed", range(8))
def test_shuffled_and_duplicated_events_yield_the_same_ledger(history: History, seed: int) -> None:
    chance = random.Random(seed)
    events = history.events * 2
    chance.shuffle(events)
    deliver(history, events, one_by_one=bool(seed % 2))
    assert history.shop.books(history.ada) == history.expected_books
    assert history.shop.waiting_events() == 0


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_order_of_six_events_yields_the_same_ledger(history: History) -> None:
    kinds = (
        "checkout.session.completed",
        "customer.subscription.created",
        "invoice.paid",
        "charge.refunded",
        "charge.dispute.created",
    )
    events = history.some(*kinds)[:6]
    for number, order in enumerate(itertools.permutations(events)):
        history.put_back()
        deliver(history, [*order, order[number % len(order)]], one_by_one=number % 5 == 0)
        assert history.shop.books(history.ada) == history.expected_books


@pytest.mark.parametrize("seed", range(3))
def test_concurrent_events_yield_the_same_ledger(history: History, seed: int) -> None:
    events = history.events * 3
    random.Random(seed).shuffle(events)

    async def several() -> None:
        await asyncio.gather(
            *(sync.handle_due(history.shop.api.services, history.shop.stripe) for _ in range(4))
        )

    with ThreadPoolExecutor(12) as pool:
        jobs: list[Any] = [pool.submit(history.send, each) for each in events]
        jobs += [pool.submit(history.shop.api.call, several) for _ in range(6)]
        for job in jobs:
            job.result()
    history.shop.pass_days(0.1)  # an event whose customer was busy waits a little
    history.shop.handle()
    assert history.shop.waiting_events() == 0
    assert history.shop.books(history.ada) == history.expected_books


def test_a_slow_sync_never_overwrites_a_later_one(tmp_path: Path) -> None:
    with open_shop(tmp_path) as shop:
        ada = shop.owner()
        shop.buy(ada, STANDARD)
        shop.settle()

        class SlowGateway(StripeGateway):
            """Fetches, and then takes longer than the look may; everything changes meanwhile."""

            is_first = True

            def customer_facts(
                self, customer_id: str, now: datetime, packs_since: datetime | None = None
            ) -> CustomerFacts:
                facts = super().customer_facts(customer_id, now, packs_since)
                if self.is_first:
                    self.is_first = False
                    lifecycle.cancel_now(shop.world, shop.subscription(ada))
                    shop.pass_days(0.01)
                    shop.settle()
                    assert shop.plan_and_credits(ada)[0] == "free"
                return facts

        shop.stripe.gateway = SlowGateway(SECRET_KEY, shop.world.address)
        look = customer_sync.sync_customer
        with pytest.raises(customer_sync.CustomerBusy):
            shop.api.call(look, shop.api.services, shop.stripe, shop.customer_id(ada))
        assert shop.plan_and_credits(ada)[0] == "free"
        shop.check()


class Crash(Exception):
    """The process died here; nothing that it would have written afterwards is."""


@contextmanager
def dying_at_write(shop: Shop, number: int) -> Iterator[list[str]]:
    """The `number`th statement that writes, and every one after it, fails; those that came to pass."""
    written: list[str] = []

    def look(_c: Any, _cur: Any, statement: str, *_rest: Any) -> None:
        if statement.lstrip().split(" ", 1)[0].upper() in ("INSERT", "UPDATE", "DELETE"):
            if len(written) + 1 >= number:
                raise Crash
            written.append(statement)

    engine = shop.api.services.database.engine
    sqlalchemy_event.listen(engine, "before_cursor_execute", look)
    try:
        yield written
    finally:
        sqlalchemy_event.remove(engine, "before_cursor_execute", look)


def test_redelivery_recovers_from_a_crash_at_each_write(history: History) -> None:
    """The last event of all, so that the one look has everything to do at once."""
    event = history.events[-1]
    writes = 0
    while True:
        writes += 1
        history.put_back()
        history.send(event)
        # The log of each crash in colours would take most of the time.
        with dying_at_write(history.shop, writes) as written, suppress(Crash), capture_logs():
            history.shop.handle()
        came_through = len(written) + 1 < writes
        history.shop.pass_days(0.02)  # the dead process's hold on the customer lapses
        history.send(event)
        history.shop.handle()
        assert history.shop.books(history.ada) == history.expected_books, f"after a crash at write {writes}"
        if came_through:
            break
    assert writes > 15


def test_a_crash_while_an_event_is_stored_is_not_2xx_so_that_stripe_retries(
    history: History,
) -> None:
    event = history.events[-1]
    with dying_at_write(history.shop, 1):
        assert not history.shop.send(*signed(event, history.shop.world.now))
    assert history.shop.waiting_events() == 0
    deliver(history, [event], one_by_one=True)
    assert history.shop.books(history.ada) == history.expected_books


def lead_a_life(shop: Shop, ada: Owner, hear: Callable[[], None]) -> None:
    """A long history, delivered as it happens."""
    shop.buy(ada, STANDARD)
    hear()
    shop.pass_days(9)
    price = next(each for each in shop.world.all("price") if each["lookup_key"].startswith("bgeraser_b"))
    lifecycle.change_price(shop.world, shop.subscription(ada), price["id"])
    hear()
    shop.pass_days(25)
    hear()
    lifecycle.refund(shop.world, shop.charges(ada)[-1], 1_000)
    hear()
    shop.world.declined_customers.add(shop.customer_id(ada))
    shop.pass_days(30)
    hear()
    shop.world.declined_customers.clear()
    shop.pass_days(6)
    hear()
    lifecycle.cancel_at_period_end(shop.world, shop.subscription(ada))
    shop.pass_days(1)
    hear()


def ends_with(shop: Shop, ada: Owner) -> Json:
    books = shop.books(ada)
    return {
        "plan": books["account"]["plan"],
        "available": shop.plan_and_credits(ada)[1],
        "invoices": [(each["plan"], each["credits"]) for each in books["invoices"]],
        "reversals": [each["credits"] for each in books["reversals"]],
        "subscription": books["subscriptions"][0]["status"],
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Json:
    with open_shop(tmp_path_factory.mktemp("undisturbed")) as shop:
        ada = shop.owner()
        lead_a_life(shop, ada, shop.settle)
        shop.check()
        return ends_with(shop, ada)


@pytest.mark.parametrize("seed", range(4))
def test_with_a_fifth_of_the_events_lost_reconciliation_restores_plan_and_credits(
    tmp_path: Path, seed: int, undisturbed: Json
) -> None:
    switches = Switches(dropped=0.2, duplicated=0.2, is_shuffled=True, delayed_seconds=3_600, seed=seed)
    with open_shop(tmp_path, switches) as shop:
        ada = shop.owner()
        lead_a_life(shop, ada, shop.settle)
        assert switches.dropped_ids
        shop.settle()
        shop.reconcile()
        assert ends_with(shop, ada) == undisturbed
        shop.check()


def test_with_every_event_lost_reconciliation_alone_restores_plan_and_credits(
    tmp_path: Path, undisturbed: Json
) -> None:
    with open_shop(tmp_path, Switches(dropped=1.0)) as shop:
        ada = shop.owner()
        lead_a_life(shop, ada, lambda: None)
        done = shop.reconcile()
        assert list(done.changes) == [shop.customer_id(ada)]
        assert ends_with(shop, ada) == undisturbed
        shop.check()


def test_a_subscription_yields_the_same_ledger_on_either_database(
    tmp_path: Path, database_url: str, undisturbed: Json
) -> None:
    switches = Switches(duplicated=0.5, is_shuffled=True, seed=5)
    with open_shop(tmp_path, switches, database_url=database_url) as shop:
        ada = shop.owner()
        lead_a_life(shop, ada, shop.settle)
        assert ends_with(shop, ada) == undisturbed
        shop.check()


def test_a_customer_missing_from_a_restored_database_is_found_again(tmp_path: Path) -> None:
    with open_shop(tmp_path) as shop:
        ada = shop.owner()
        shop.buy(ada, STANDARD)
        with shop.api.services.database.transaction() as session:
            session.connection().exec_driver_sql("delete from stripe_customer")
        shop.reconcile()
        assert shop.plan_and_credits(ada) == ("standard", 515)
        shop.check()
