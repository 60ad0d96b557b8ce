"""Random histories of one account: the ledger must agree with a reference model.

Some steps crash before their commit, the clock jumps on and back, and every error must be the same error.
"""

import copy
import itertools
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlmodel import Session, col, select

from api.db.database import Database
from billing.errors import BillingError
from billing.ledger import accounts, budgets, ledger
from billing.ledger.audit import audit
from billing.ledger.models import Account, Entry, Grant, GrantKind, Hold, HoldStatus
from billing.ledger.plans import PlanName
from billing.ledger.statement import statement
from billing.ledger.takeback import take_back
from billing.subscriptions.revocation import revoke
from tests.support.plain_ledger import PlainLedger, plain_period

T = TypeVar("T")
Named = str | MultipleResults[str]  # a rule's new name, or multiple() for none

OWNERS = st.sampled_from(["process-1", "process-1", "process-1", "process-2"])
ANCHORS = st.sampled_from(
    [
        datetime(2024, 1, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2024, 2, 29, tzinfo=UTC),
        datetime(2024, 3, 15, 12, tzinfo=UTC),
        datetime(2024, 12, 30, 6, tzinfo=UTC),
    ]
)
LIFETIMES = st.sampled_from([None, None, timedelta(minutes=5), timedelta(days=20), timedelta(days=-1)])
# Some of them end before the month does, and are spent after it nevertheless.
PACK_LIFETIMES = st.sampled_from([timedelta(minutes=5), timedelta(days=20), timedelta(days=365)])
# One step of ten does all its work and dies before the commit.
CRASHES = st.sampled_from([False] * 9 + [True])
MOMENTS = st.integers(0, 40).map(lambda seconds: timedelta(seconds=seconds))
JUMPS = st.one_of(
    st.integers(1, 40).map(lambda days: timedelta(days=days)),
    st.integers(1, 5).map(lambda days: -timedelta(days=days)),
    st.sampled_from([timedelta(days=214), -timedelta(seconds=31), timedelta(microseconds=1)]),
)

# Most calls are made with a key, whose budget the limits of these exhaust now and then.
BUDGETS = st.sampled_from([None, "first key", "first key", "second key"])
LIMITS = st.sampled_from([None, 1, 2, 3, 5])
LEASES = st.sampled_from([30, 30, 60, 600, 1])

_numbers = itertools.count(1)


class Crash(Exception):
    """The process died before its commit."""


class LedgerMachine(RuleBasedStateMachine):
    database: Database

    grants: Bundle[str] = Bundle("grants")
    holds: Bundle[str] = Bundle("holds")
    revocations: Bundle[str] = Bundle("revocations")

    @initialize(anchor=ANCHORS, plan=st.sampled_from([PlanName.FREE, PlanName.FREE, PlanName.STANDARD]))
    def open_account(self, anchor: datetime, plan: PlanName) -> None:
        self.now = anchor
        self.names = itertools.count(1)
        self.hold_ids: dict[str, str] = {}
        self.chosen = ""
        with self.database.transaction() as session:
            account = accounts.create(
                session, email=f"model-{next(_numbers)}@example.org", plan=plan, now=anchor
            )
            for budget in ("first key", "second key"):
                budgets.create(session, f"{account.id}/{budget}", account.id, None)
        self.account_id = account.id
        self.plain = PlainLedger(anchor, plan.value, limits={"first key": None, "second key": None})
        self.refresh(crash=False)

    # Each rule does one thing to both ledgers.

    @rule(crash=CRASHES)
    def refresh(self, crash: bool) -> None:
        self.both(
            lambda session, account: ledger.refresh(session, account, self.now),
            lambda: self.plain.refresh(self.now),
            crash,
        )

    @rule(target=grants, amount=st.integers(1, 4), lifetime=LIFETIMES, crash=CRASHES)
    def grant(self, amount: int, lifetime: timedelta | None, crash: bool) -> Named:
        name = f"goodwill {next(self.names)}"
        return name if self.grant_named(name, amount, lifetime, crash) else multiple()

    @rule(target=grants, amount=st.integers(1, 4), lifetime=PACK_LIFETIMES, crash=CRASHES)
    def grant_a_pack(self, amount: int, lifetime: timedelta, crash: bool) -> Named:
        name = f"bought {next(self.names)}"
        return name if self.grant_named(name, amount, lifetime, crash, GrantKind.PACK) else multiple()

    @rule(name=grants, amount=st.integers(1, 4))
    def grant_again(self, name: str, amount: int) -> None:
        assert not self.grant_named(name, amount, None, crash=False)

    @rule(amount=st.sampled_from([0, -1, -15, 1_000_001]))
    def grant_nonsense(self, amount: int) -> None:
        assert not self.grant_named("nonsense", amount, None, crash=False)

    @rule(target=holds, owner=OWNERS, lease_seconds=LEASES, budget=BUDGETS, crash=CRASHES)
    def hold(self, owner: str, lease_seconds: int, budget: str | None, crash: bool) -> Named:
        name = f"request {next(self.names)}"
        return name if self.hold_named(name, owner, lease_seconds, crash, budget) else multiple()

    @rule(budget=st.sampled_from(["first key", "second key"]), limit=LIMITS, crash=CRASHES)
    def set_limit(self, budget: str, limit: int | None, crash: bool) -> None:
        self.both(
            lambda session, _: budgets.set_limit(session, self.stored(budget), limit),
            lambda: self.plain.limits.update({budget: limit}),
            crash,
        )

    @rule(
        target=holds,
        ending=st.sampled_from(["capture", "capture and refund", "release", "none"]),
        duration=st.one_of(MOMENTS, JUMPS),
        budget=BUDGETS,
        crash=CRASHES,
    )
    def call(self, ending: str, duration: timedelta, budget: str | None, crash: bool) -> Named:
        """What holds are for: the work takes its time, the lease is renewed, the end settles the hold."""
        name = f"request {next(self.names)}"
        self.refresh(crash=False)
        if not self.hold_named(name, "process-1", 30, crash=False, budget=budget):
            return multiple()
        self.now += duration
        self.renew(name, "process-1", 30, crash=False)
        if ending.startswith("capture"):
            self.capture(name, "process-1", crash)
        if ending == "capture and refund":
            self.refund(name, crash)
        if ending == "release":
            self.release(name, crash)
        return name

    @rule(name=holds, owner=OWNERS)
    def hold_again(self, name: str, owner: str) -> None:
        assert not self.hold_named(name, owner, 30, crash=False)

    @rule(name=holds, owner=OWNERS, seconds=LEASES, crash=CRASHES)
    def renew(self, name: str, owner: str, seconds: int, crash: bool) -> None:
        hold_id, until = self.hold_ids[name], self.now + timedelta(seconds=seconds)
        self.both(
            lambda session, _: ledger.renew_leases(session, owner, [hold_id], until) == {hold_id},
            lambda: self.plain.renew(name, owner, until),
            crash,
        )

    @rule(name=holds, owner=OWNERS, crash=CRASHES)
    def capture(self, name: str, owner: str, crash: bool) -> None:
        self.both(
            lambda session, _: (
                -ledger.capture(session, self.hold_ids[name], lease_owner=owner, now=self.now).amount
            ),
            lambda: self.plain.capture(name, owner, self.now),
            crash,
        )

    @rule(name=holds, crash=CRASHES)
    def release(self, name: str, crash: bool) -> None:
        self.both(
            lambda session, _: ledger.release(session, self.hold_ids[name], now=self.now).status,
            lambda: self.plain.release(name, self.now, "released"),
            crash,
        )

    @rule(name=holds)
    def expire_hold(self, name: str) -> None:
        self.both(
            lambda session, _: (
                ledger.release(session, self.hold_ids[name], now=self.now, status=HoldStatus.EXPIRED).status
            ),
            lambda: self.plain.release(name, self.now, "expired"),
        )

    @rule()
    def sweep(self) -> None:
        with self.database.transaction() as session:
            lapsed = {each.id for each in ledger.lapsed_holds(session, self.now, limit=1_000_000)}
        names = [name for name, hold_id in self.hold_ids.items() if hold_id in lapsed]
        assert set(names) == {
            name
            for name, hold in self.plain.holds.items()
            if hold.status == "open" and hold.lease_until <= self.now
        }
        for name in names:
            self.expire_hold(name)

    @rule(name=holds, crash=CRASHES)
    def refund(self, name: str, crash: bool) -> None:
        self.both(
            lambda session, _: ledger.refund(session, self.hold_ids[name], now=self.now).amount,
            lambda: self.plain.refund(name, self.now),
            crash,
        )

    @rule(target=revocations, grant=grants, amount=st.integers(0, 6), crash=CRASHES)
    def revoke(self, grant: str, amount: int, crash: bool) -> Named:
        name = f"revocation {next(self.names)}"
        return name if self.revoke_named(name, grant, amount, crash) else multiple()

    @rule(name=revocations, grant=grants, amount=st.integers(1, 6))
    def revoke_again(self, name: str, grant: str, amount: int) -> None:
        self.revoke_named(name, grant, amount, crash=False)

    @rule(amount=st.integers(0, 9), is_refreshed=st.booleans(), crash=CRASHES)
    def take_back(self, amount: int, is_refreshed: bool, crash: bool) -> None:
        """As an operator does: whatever can be spent, of several grants. What holds have stays."""
        name = f"takeback {next(self.names)}"
        chosen: dict[str, int] = {}

        def take(session: Session, account: Account) -> int:
            taken = take_back(session, account, amount=amount, reference=self.stored(name), now=self.now)
            made = select(Entry.amount, Grant.reference).join(Grant, col(Grant.id) == col(Entry.grant_id))
            of_this = made.where(col(Entry.reference).startswith(f"{self.stored(name)}:"))
            chosen.update({self.model_name(each): -part for part, each in session.exec(of_this)})
            return taken

        if is_refreshed:
            self.refresh(crash=False)
        self.both(take, lambda: self.plain.take_back(amount, chosen, self.now), crash)

    @rule(name=holds, amount=st.integers(1, 3), crash=CRASHES)
    def make_good(self, name: str, amount: int, crash: bool) -> None:
        """An operator refunds a call and grants some credits for the trouble, in one transaction."""
        grant = f"goodwill {next(self.names)}"

        def do(session: Session, account: Account) -> int:
            refunded = ledger.refund(session, self.hold_ids[name], now=self.now).amount
            ledger.grant(
                session,
                account,
                kind=GrantKind.GOODWILL,
                amount=amount,
                reference=self.stored(grant),
                expires_at=None,
                now=self.now,
            )
            return refunded + amount

        self.both(
            do,
            lambda: (
                self.plain.refund(name, self.now)
                + self.plain.grant(grant, amount, None, self.now, is_goodwill=True)
            ),
            crash,
        )

    @rule(plan=st.sampled_from(PlanName), crash=CRASHES)
    def change_plan(self, plan: PlanName, crash: bool) -> None:
        self.both(
            lambda session, account: accounts.change_plan(session, account, plan),
            lambda: self.plain.change_plan(plan.value),
            crash,
        )

    @rule(step=MOMENTS)
    def let_a_moment_pass(self, step: timedelta) -> None:
        self.now += step

    @rule(step=JUMPS)
    def let_the_clock_jump(self, step: timedelta) -> None:
        self.now += step

    @rule(early=st.sampled_from([timedelta(0), timedelta(microseconds=1)]))
    def reach_the_periods_end(self, early: timedelta) -> None:
        self.now = plain_period(self.plain.anchor, self.now)[1] - early

    # How a rule does it.

    def grant_named(
        self,
        name: str,
        amount: int,
        lifetime: timedelta | None,
        crash: bool,
        kind: GrantKind = GrantKind.GOODWILL,
    ) -> bool:
        expires_at = self.now + lifetime if lifetime is not None else None

        def grant(session: Session, account: Account) -> int:
            granted = ledger.grant(
                session,
                account,
                kind=kind,
                amount=amount,
                reference=self.stored(name),
                expires_at=expires_at,
                now=self.now,
            )
            return granted.available

        is_of_pack = kind is GrantKind.PACK
        return self.both(
            grant,
            lambda: self.plain.grant(
                name, amount, expires_at, self.now, is_of_pack, is_goodwill=not is_of_pack
            ),
            crash,
        )

    def hold_named(
        self, name: str, owner: str, lease_seconds: int, crash: bool, budget: str | None = None
    ) -> bool:
        until = self.now + timedelta(seconds=lease_seconds)

        def hold(session: Session, account: Account) -> str:
            held = ledger.hold(
                session,
                account,
                reference=self.stored(name),
                lease_owner=owner,
                lease_seconds=lease_seconds,
                now=self.now,
                budget_id=None if budget is None else self.stored(budget),
            )
            self.hold_ids[name] = held.id
            assert held.grant_id is not None
            self.chosen = self.model_name(session.get_one(Grant, held.grant_id).reference)
            return self.chosen

        # Equivalent grants may be spent in any order, so the model checks the choice.
        return self.both(
            hold, lambda: self.plain.hold(name, self.chosen, owner, until, self.now, budget), crash
        )

    def revoke_named(self, name: str, grant: str, amount: int, crash: bool) -> bool:
        return self.both(
            lambda session, account: revoke(
                session,
                account,
                grant_reference=self.stored(grant),
                amount=amount,
                reference=self.stored(name),
                now=self.now,
            ),
            lambda: self.plain.revoke(grant, amount, name),
            crash,
        )

    def both(
        self, real: Callable[[Session, Account], T], plain: Callable[[], T], crash: bool = False
    ) -> bool:
        """Does one thing to both ledgers and compares result or error; whether it was done and committed."""
        before = copy.deepcopy(self.plain)
        result: T | None = None
        error: type[BillingError] | None = None
        try:
            with self.database.transaction() as session:
                result = real(session, accounts.lock(session, self.account_id))
                if crash:
                    raise Crash
        except BillingError as raised:
            error = type(raised)
        except Crash:
            pass
        try:
            assert plain() == result
            expected = None
        except BillingError as raised:
            expected = type(raised)
        assert error is expected
        if crash:
            self.plain = before
        return error is None and not crash

    def stored(self, name: str) -> str:
        """References are unique in the whole database, names in one account's story."""
        return f"{self.account_id}/{name}"

    def model_name(self, reference: str) -> str:
        if reference.startswith("grant:"):
            return "period " + reference.rsplit(":", 1)[1]
        return reference.rsplit("/", 1)[1]

    @invariant()
    def both_ledgers_agree(self) -> None:
        if not hasattr(self, "plain"):
            return
        with self.database.transaction() as session:
            account = session.get_one(Account, self.account_id)
            grants = session.exec(select(Grant).where(Grant.account_id == self.account_id)).all()
            holds = session.exec(select(Hold).where(Hold.account_id == self.account_id)).all()
            entries = session.exec(
                select(Entry).where(Entry.account_id == self.account_id).order_by(col(Entry.id).desc())
            ).all()
            lines = statement(session, self.account_id, limit=1_000_000)
            used = {
                budget: budgets.used(session, self.stored(budget), self.now) for budget in self.plain.limits
            }
        month = (self.now.year, self.now.month)
        assert used == {budget: self.plain.used(budget, month) for budget in self.plain.limits}
        assert (account.available, account.held) == (self.plain.available, self.plain.held)
        names = {grant.id: self.model_name(grant.reference) for grant in grants}
        assert {names[grant.id]: (grant.available, grant.held) for grant in grants} == {
            name: (grant.available, grant.held) for name, grant in self.plain.grants.items()
        }
        assert {self.model_name(hold.reference): (hold.status, hold.lease_until) for hold in holds} == {
            name: (hold.status, hold.lease_until) for name, hold in self.plain.holds.items()
        }
        assert Counter((entry.kind, entry.amount, names[entry.grant_id]) for entry in entries) == Counter(
            self.plain.entries
        )
        running = account.available + account.held
        for entry, line in zip(entries, lines, strict=True):
            assert (line.entry_id, line.amount, line.balance) == (entry.id, entry.amount, running)
            running -= entry.amount
        assert running == 0


def check(database: Database, stories: settings, machine_class: type[LedgerMachine] = LedgerMachine) -> None:
    machine = type("LedgerMachineHere", (machine_class,), {"database": database})
    run_state_machine_as_test(machine, settings=stories)
    with database.transaction() as session:
        assert session.exec(select(Entry)).first() is not None
        assert audit(session) == []


UNHURRIED = settings(deadline=None, suppress_health_check=list(HealthCheck), database=None, print_blob=True)


@pytest.mark.slow
def test_the_ledger_agrees_with_the_reference_model(database: Database) -> None:
    check(database, settings(UNHURRIED, derandomize=True, max_examples=50, stateful_step_count=30))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_ledger_agrees_with_the_reference_model_in_1000_histories(database: Database) -> None:
    check(database, settings(UNHURRIED, max_examples=1_000, stateful_step_count=40))
