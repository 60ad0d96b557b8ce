"""A shop for tests: our API in this process, the Stripe simulator on a port, the real SDK between them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr
from sqlmodel import col, select

from api.auth import api_keys
from api.payments import checkout, packs, plans, sync
from api.payments.stripe_client import StripeAccess
from billing.ledger import accounts, ledger
from billing.ledger.audit import audit
from billing.ledger.models import Account, Entry, Grant, PaidInvoice
from billing.ledger.plans import PlanName
from billing.subscriptions import setup
from billing.subscriptions.models import PackPurchase, Reversal, StripeCustomer, StripeEvent, Subscription
from tests.fakes.stripe import lifecycle
from tests.fakes.stripe.delivery import Courier, Switches
from tests.fakes.stripe.server import serving
from tests.fakes.stripe.shapes import Json
from tests.fakes.stripe.world import SECRET_KEY, WEBHOOK_SECRET, World
from tests.support.apps import Clock, LocalApi, local_api

OPENING = int(datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp())  # month ends are where periods go wrong
DAY = lifecycle.DAY
BASE = "http://test"
AMOUNTS = {PlanName.STANDARD: 900, PlanName.BUSINESS: 4900}
PACKS = {100: 500, 1_000: 3_900}


class WorldClock(Clock):
    """Tells the simulator's time, so that both sides agree."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def __call__(self) -> datetime:
        return datetime.fromtimestamp(self._world.now, UTC)


@dataclass(frozen=True)
class Owner:
    account_id: str
    key: str


class Shop:
    def __init__(self, world: World, api: LocalApi, stripe: StripeAccess) -> None:
        self.world = world
        self.api = api
        self.stripe = stripe
        self.courier = Courier(world, self.send)

    # Doing things.

    def owner(self, email: str = "ada@example.com", plan: PlanName = PlanName.FREE) -> Owner:
        """A new account, an hour old, with its first credits."""
        now = self.api.clock()
        with self.api.services.database.transaction() as session:
            account = accounts.create(session, email=email, plan=plan, now=now)
            ledger.refresh(session, account, now)
            key = api_keys.create(session, account.id, "test", now)[1]
        self.world.now += 3_600
        return Owner(account.id, key)

    def checkout(self, owner: Owner, plan: PlanName) -> str:
        """The address the owner is sent to for buying `plan`."""
        return self.api.call(plans.checkout_url, self.api.services, owner.account_id, plan, BASE)

    def buy(self, owner: Owner, plan: PlanName) -> None:
        """Through the checkout's pay page, or through the portal for one who has subscribed."""
        self._click(self.checkout(owner, plan), owner, {"do": "pay", "card": "good"}, plan)

    def pack_checkout(self, owner: Owner, credits_: int = 100) -> str:
        """The address the owner is sent to for buying a pack."""
        return self.api.call(
            packs.checkout_url,
            self.api.services,
            owner.account_id,
            credits_,
            BASE,
            "/app/",
            "/plans/cancelled",
        )

    def buy_pack(self, owner: Owner, credits_: int = 100, card: str = "good") -> Json:
        """Through the checkout's pay page; the checkout session."""
        url = self.pack_checkout(owner, credits_)
        self._click(url, owner, {"do": "pay", "card": card}, None)
        return self.world.get(url.rsplit("/", 1)[1])

    def portal(self, owner: Owner, do: str, plan: PlanName | None = None) -> None:
        url = self.api.call(plans.portal_url, self.api.services, owner.account_id, BASE)
        self._click(url, owner, {"do": do}, plan)

    def pass_days(self, days: float) -> None:
        with self.world.lock:
            lifecycle.advance(self.world, round(days * DAY))

    def settle(self) -> None:
        """Carry the events and let them be handled."""
        self.courier.deliver()
        self.handle()

    def handle(self) -> None:
        self.api.call(sync.handle_due, self.api.services, self.stripe)

    def reconcile(self) -> sync.Reconciled:
        return self.api.call(sync.reconcile, self.api.services, self.stripe)

    def send(self, payload: bytes, headers: dict[str, str]) -> bool:
        return self.api.request("POST", "/stripe/webhook", content=payload, headers=headers).is_success

    def spend(self, owner: Owner, credits_: int) -> None:
        now = self.api.clock()
        for number in range(credits_):
            with self.api.services.database.transaction() as session:
                account = accounts.lock(session, owner.account_id)
                ledger.refresh(session, account, now)
                reference = f"request:{self.world.now}:{number}"
                held = ledger.hold(
                    session, account, reference=reference, lease_owner="p", lease_seconds=60, now=now
                )
                ledger.capture(session, held.id, lease_owner="p", now=now)

    # Looking.

    def subscription(self, owner: Owner) -> Json:
        """The simulator's newest subscription of the owner."""
        return list(self.world.all("subscription", customer=self.customer_id(owner)))[-1]

    def charges(self, owner: Owner) -> list[Json]:
        return lifecycle.charges_of(self.world, self.customer_id(owner))

    def customer_id(self, owner: Owner) -> str:
        with self.api.services.database.transaction() as session:
            found = checkout.customer_id_of(session, owner.account_id)
        assert found is not None
        return found

    def account(self, owner: Owner) -> Json:
        """The account as the REST API returns it."""
        answer = self.api.request("GET", "/api/account", headers={"X-Api-Key": owner.key})
        data: Json = answer.json()["data"]
        return data

    def plan_and_credits(self, owner: Owner) -> tuple[str, int]:
        data = self.account(owner)
        return data["plan"], data["credits"]["available"]

    def state(self, owner: Owner) -> plans.BillingState:
        with self.api.services.database.transaction() as session:
            return plans.billing_state(session, owner.account_id, self.api.clock())

    def books(self, owner: Owner) -> Json:
        """Everything that must not depend on the order, number or fate of events."""
        with self.api.services.database.transaction() as session:
            account = session.get_one(Account, owner.account_id)

            def rows(table: Any, *left_out: str) -> list[Json]:
                mine = select(table).where(col(table.account_id) == owner.account_id)
                dumped = [each.model_dump(exclude={"id_", *left_out}) for each in session.exec(mine)]
                return sorted(dumped, key=repr)

            return {
                "account": account.model_dump(exclude={"rate_full_at"}),
                "grants": rows(Grant, "id", "created_at"),
                "entries": rows(Entry, "id", "created_at", "grant_id", "hold_id"),
                "subscriptions": rows(Subscription),
                "invoices": rows(PaidInvoice),
                "packs": rows(PackPurchase),
                "reversals": rows(Reversal, "returned_at"),
            }

    def waiting_events(self) -> int:
        with self.api.services.database.transaction() as session:
            return len(session.exec(select(StripeEvent).where(col(StripeEvent.handled_at).is_(None))).all())

    def check(self) -> None:
        """The books balance and agree with Stripe's."""
        with self.api.services.database.transaction() as session:
            assert audit(session) == []
        done = self.reconcile()
        assert done.failures == {}
        assert done.changes == {}
        with self.api.services.database.transaction() as session:
            assert audit(session) == []
            assert done.customers == len(session.exec(select(StripeCustomer)).all())

    def _click(self, url: str, owner: Owner, form: dict[str, str], plan: PlanName | None) -> None:
        page = httpx.get(url)
        assert "Simulation of Stripe" in page.text
        if "/portal/" in url:
            form = {"do": "price", **form} if form["do"] != "pay" else {"do": "price"}
            live = [
                each
                for each in self.world.all("subscription", customer=self.customer_id(owner))
                if each["status"] != "canceled"
            ]
            if live:
                form["subscription"] = live[-1]["id"]
            if plan is not None:
                form["price"] = next(
                    each["id"] for each in self.world.all("price") if each["lookup_key"] == key_of(plan)
                )
        answer = httpx.post(url, data=form)
        assert answer.status_code == 303, answer.text


def key_of(plan: PlanName) -> str:
    return f"bgeraser_{plan.value}_monthly"


@contextmanager
def open_shop(
    directory: Path, switches: Switches | None = None, *, packs_on_sale: bool = False, **settings: Any
) -> Iterator[Shop]:
    """A shop whose Stripe account is set up as `bgeraser admin stripe-setup` does it."""
    world = World(OPENING)
    values: dict[str, Any] = {
        "stripe_secret_key": SecretStr(SECRET_KEY),
        "stripe_webhook_secret": SecretStr(WEBHOOK_SECRET),
        **settings,
    }
    with serving(world) as address:
        values["stripe_api_base"] = address
        with local_api(directory, WorldClock(world), **values) as api:
            stripe = api.services.stripe
            assert stripe is not None
            setup.set_up(
                stripe.gateway,
                amounts=AMOUNTS,
                currency="usd",
                webhook_url=f"{BASE}/stripe/webhook",
                packs=PACKS if packs_on_sale else {},
            )
            shop = Shop(world, api, stripe)
            if switches is not None:
                shop.courier = Courier(world, shop.send, switches)
            yield shop
