"""Random histories of the ledger with a Stripe subscription and packs of credits.

Stripe's state is made up here, step by step: subscribed, upgraded, renewed at a lower plan, unpaid and paid
after all, refunded, disputed, cancelled. The real code is shown that state as a whole and may or may not have
seen the steps between; the plain ledger is shown the same.
"""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from api.db.database import Database
from billing.ledger.plans import PlanName
from billing.subscriptions import packs, subscriptions
from billing.subscriptions.models import ReversalKind
from billing.subscriptions.types import (
    CustomerFacts,
    InvoiceFacts,
    PackFacts,
    ReversalFacts,
    SubscriptionFacts,
)
from tests.billing.ledger.test_ledger_against_model import CRASHES, UNHURRIED, LedgerMachine, check
from tests.support.plain_ledger import CREDITS_A_MONTH, PlainInvoice, PlainPack, month_later

PAID_PLANS = st.sampled_from([PlanName.STANDARD, PlanName.BUSINESS])
# Whether our side looks after this step, or only after a later one.
LOOKS = st.sampled_from([True, True, False])
SIZE = {"free": 0, "standard": 1, "business": 2}
# Short, so that many histories outlive their packs.
PACK_MONTHS = 2
LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)


class PaidLedgerMachine(LedgerMachine):
    @initialize()
    def open_stripe(self) -> None:
        self.bills: list[PlainInvoice] = []
        self.status = ""  # of the present subscription; empty before the first
        self.subscription = ""
        self.paid_plan = PlanName.FREE
        self.started_at = self.starts_at = self.ends_at = LONG_AGO
        self.unpaid_since: datetime | None = None
        self.months = 0
        self.packs: list[PlainPack] = []
        self.disputes: list[tuple[PlainInvoice | PlainPack, str]] = []
        self.won: list[tuple[PlainInvoice | PlainPack, str]] = []

    @property
    def payments(self) -> list[PlainInvoice | PlainPack]:
        return [*self.bills, *self.packs]

    def is_running(self) -> bool:
        return self.status in ("active", "past_due")

    # What happens at Stripe.

    @precondition(lambda self: not self.is_running())
    @rule(plan=PAID_PLANS, looks=LOOKS, crash=CRASHES)
    def subscribe(self, plan: PlanName, looks: bool, crash: bool) -> None:
        self.subscription = f"subscription {next(self.names)}"
        self.status, self.paid_plan, self.unpaid_since, self.months = "active", plan, None, 0
        self.started_at = self.starts_at = self.now.replace(microsecond=0)
        self.ends_at = month_later(self.started_at, 1)
        self.bill(self.starts_at)
        self.look_after(looks, crash)

    @precondition(lambda self: self.status == "active")
    @rule(plan=PAID_PLANS, looks=LOOKS, crash=CRASHES)
    def change_at_once(self, plan: PlanName, looks: bool, crash: bool) -> None:
        self.paid_plan = plan
        self.bill(max(self.starts_at, min(self.now.replace(microsecond=0), self.ends_at)))
        self.look_after(looks, crash)

    @precondition(lambda self: self.is_running())
    @rule(plan=PAID_PLANS, late=st.integers(0, 200), looks=LOOKS, crash=CRASHES)
    def next_period(self, plan: PlanName, late: int, looks: bool, crash: bool) -> None:
        """The next period, on the same plan or the one scheduled, charged up to 200 minutes late."""
        self.months += 1
        self.status, self.paid_plan, self.unpaid_since = "active", plan, None
        self.starts_at, self.ends_at = self.ends_at, month_later(self.started_at, self.months + 1)
        self.now = max(self.now, self.starts_at + timedelta(minutes=late))
        self.bill(self.starts_at)
        self.look_after(looks, crash)

    @precondition(lambda self: self.status == "active")
    @rule(looks=LOOKS)
    def payment_fails(self, looks: bool) -> None:
        self.status, self.unpaid_since = "past_due", self.now.replace(microsecond=0)
        self.look_after(looks, crash=False)

    @precondition(lambda self: self.is_running())
    @rule(looks=LOOKS, crash=CRASHES)
    def cancel(self, looks: bool, crash: bool) -> None:
        self.status = "canceled"
        self.look_after(looks, crash)

    @rule(credits_=st.integers(1, 6), paid=st.integers(0, 900), looks=LOOKS, crash=CRASHES)
    def buy_a_pack(self, credits_: int, paid: int, looks: bool, crash: bool) -> None:
        name = f"pack {next(self.names)}"
        self.packs.append(PlainPack(name, credits_, paid, self.now.replace(microsecond=0)))
        self.look_after(looks, crash)

    @precondition(lambda self: self.payments)
    @rule(which=st.integers(0, 50), amount=st.integers(1, 1_000), looks=LOOKS, crash=CRASHES)
    def money_goes_back(self, which: int, amount: int, looks: bool, crash: bool) -> None:
        bill = self.payments[which % len(self.payments)]
        bill.reversals[f"{bill.name}, refund {next(self.names)}"] = amount
        self.look_after(looks, crash)

    @precondition(lambda self: self.payments)
    @rule(which=st.integers(0, 50), looks=LOOKS)
    def dispute(self, which: int, looks: bool) -> None:
        bill = self.payments[which % len(self.payments)]
        name = f"{bill.name}, dispute {next(self.names)}"
        bill.reversals[name] = bill.paid
        self.disputes.append((bill, name))
        self.look_after(looks, crash=False)

    @precondition(lambda self: self.disputes)
    @rule(which=st.integers(0, 50), looks=LOOKS, crash=CRASHES)
    def win_the_dispute(self, which: int, looks: bool, crash: bool) -> None:
        bill, name = self.disputes.pop(which % len(self.disputes))
        del bill.reversals[name]
        self.won.append((bill, name))
        self.look_after(looks, crash)

    @precondition(lambda self: self.won)
    @rule(which=st.integers(0, 50), looks=LOOKS, crash=CRASHES)
    def lose_a_dispute_that_was_won(self, which: int, looks: bool, crash: bool) -> None:
        bill, name = self.won.pop(which % len(self.won))
        bill.reversals[name] = bill.paid
        self.disputes.append((bill, name))
        self.look_after(looks, crash)

    @precondition(lambda self: self.payments)
    @rule(crash=CRASHES)
    def look(self, crash: bool) -> None:
        """Our side fetches the present state and makes the account agree with it."""
        facts = self.facts()

        def hear() -> None:
            for bill in self.bills:
                self.plain.hear_of(bill, self.now)
            self.plain.obey(self.plan_by_hand(), self.started_at)
            for pack in self.packs:
                self.plain.hear_of_pack(pack, PACK_MONTHS, self.now)

        def apply_once(session, account) -> list[str]:  # type: ignore[no-untyped-def]
            changed = subscriptions.apply(session, account, facts, self.now)
            return changed + packs.apply(session, account, facts, PACK_MONTHS, self.now)

        def apply(session, account) -> None:  # type: ignore[no-untyped-def]
            changed = apply_once(session, account)
            assert apply_once(session, account) == [], changed

        self.both(apply, hear, crash)

    def look_after(self, looks: bool, crash: bool) -> None:
        if looks:
            self.look(crash=crash)

    def bill(self, starts_at: datetime) -> None:
        name = f"invoice {next(self.names)}"
        self.bills.append(
            PlainInvoice(name, self.subscription, self.paid_plan.value, 900, starts_at, self.ends_at)
        )

    def plan_by_hand(self) -> str:
        if self.status == "active":
            return self.paid_plan.value
        if self.unpaid_since is None or self.status != "past_due":
            return "free"
        if self.now >= self.unpaid_since + timedelta(days=7):
            return "free"
        last = [bill for bill in self.bills if bill.subscription == self.subscription][-1]
        return min(self.paid_plan.value, last.plan, key=SIZE.__getitem__)

    def facts(self) -> CustomerFacts:
        """The present subscription and every invoice; ended subscriptions give nothing and are left out."""
        present = SubscriptionFacts(
            id=f"sub_{self.stored(self.subscription)}",
            item_id="si_1",
            price_id="price_1",
            plan=self.paid_plan,
            status=self.status,
            created_at=self.started_at,
            anchor_at=self.started_at,
            period_starts_at=self.starts_at,
            period_ends_at=self.ends_at,
            unpaid_since=self.unpaid_since,
        )
        entitled: dict[datetime, int] = {}

        def rest(bill: PlainInvoice) -> int:
            """What is missing to the plan's month, or too much: prorations add up to the present plan."""
            whole, before = CREDITS_A_MONTH[bill.plan], entitled.get(bill.ends_at, 0)
            entitled[bill.ends_at] = whole
            return whole - before

        invoices = [
            InvoiceFacts(
                id=f"in_{self.stored(bill.name)}",
                subscription_id=f"sub_{self.stored(bill.subscription)}",
                plan=PlanName(bill.plan),
                entitled=rest(bill),
                amount_paid=bill.paid,
                currency="usd",
                created_at=LONG_AGO + timedelta(seconds=number),
                period_starts_at=bill.starts_at,
                period_ends_at=bill.ends_at,
                reversals=self.reversals_of(bill),
            )
            for number, bill in enumerate(self.bills)
        ]
        bought = [
            PackFacts(
                id=f"cs_{self.stored(pack.name)}",
                credits=pack.credits,
                amount_paid=pack.paid,
                currency="usd",
                created_at=pack.paid_at,
                paid_at=pack.paid_at,
                reversals=self.reversals_of(pack),
            )
            for pack in self.packs
        ]
        subscribed = (present,) if self.subscription else ()
        return CustomerFacts("cus_1", subscribed, tuple(reversed(invoices)), tuple(reversed(bought)))

    def reversals_of(self, payment: PlainInvoice | PlainPack) -> tuple[ReversalFacts, ...]:
        return tuple(
            ReversalFacts(
                f"re_{self.stored(name)}",
                ReversalKind.DISPUTE if "dispute" in name else ReversalKind.REFUND,
                amount,
                LONG_AGO + timedelta(seconds=place),
            )
            for place, (name, amount) in enumerate(payment.reversals.items())
        )


@pytest.mark.slow
def test_the_ledger_with_a_subscription_agrees_with_the_reference_model(database: Database) -> None:
    stories = settings(UNHURRIED, derandomize=True, max_examples=60, stateful_step_count=30)
    check(database, stories, PaidLedgerMachine)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_ledger_with_a_subscription_agrees_with_the_reference_model_in_1000_histories(
    database: Database,
) -> None:
    check(database, settings(UNHURRIED, max_examples=1_000, stateful_step_count=40), PaidLedgerMachine)
