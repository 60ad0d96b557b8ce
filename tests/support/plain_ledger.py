"""The ledger's rules once more, as plain as can be: one account, lists in memory, no database.

Written from the rules and not from the code, so that a mistake would have to be made twice.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from billing.errors import (
    BudgetSpent,
    DuplicateReference,
    HoldNotCaptured,
    HoldSettled,
    InsufficientCredits,
    InvalidGrant,
    LeaseAlive,
    LeaseLost,
)

TWO_HOURS = timedelta(hours=2)
CREDITS_A_MONTH = {"free": 15, "standard": 500, "business": 5_000}


@dataclass
class PlainGrant:
    reference: str
    expires_at: datetime | None
    created_at: datetime
    available: int
    held: int = 0
    #: The end of the period it was granted for, and how much; goodwill belongs to none.
    period_ends_at: datetime | None = None
    amount: int = 0
    is_of_pack: bool = False
    is_goodwill: bool = False  # given by the operator

    def has_ended(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


@dataclass
class PlainHold:
    grant: PlainGrant
    owner: str
    lease_until: datetime
    status: str = "open"
    refunded: bool = False
    budget: str | None = None
    month: tuple[int, int] = (0, 0)


@dataclass
class PlainInvoice:
    """Paid, for a plan, until the end of a period."""

    name: str
    subscription: str
    plan: str
    paid: int
    starts_at: datetime
    ends_at: datetime
    credits: int | None = None  # None: not heard of yet
    #: Amounts returned, by refund or dispute name.
    reversals: dict[str, int] = field(default_factory=dict)


@dataclass
class PlainPack:
    """Paid once."""

    name: str
    credits: int
    paid: int
    paid_at: datetime
    #: Amounts returned, by refund or dispute name.
    reversals: dict[str, int] = field(default_factory=dict)


@dataclass
class PlainReversal:
    credits: int
    taken: int
    returned: bool = False
    given_back: list[str] = field(default_factory=list)  # references of the grants that did


@dataclass
class PlainLedger:
    anchor: datetime
    plan: str
    grants: dict[str, PlainGrant] = field(default_factory=dict)
    holds: dict[str, PlainHold] = field(default_factory=dict)  # by reference
    revocations: set[str] = field(default_factory=set)
    entries: list[tuple[str, int, str]] = field(default_factory=list)  # kind, amount, the grant's reference
    follows_stripe: bool = False
    given_plan: str = "free"  # the operator's, while a subscription's plan is in its place
    invoices: dict[str, PlainInvoice] = field(default_factory=dict)
    packs: dict[str, PlainPack] = field(default_factory=dict)
    reversals: dict[str, PlainReversal] = field(default_factory=dict)
    limits: dict[str, int | None] = field(default_factory=dict)  # of budgets

    @property
    def available(self) -> int:
        return sum(grant.available for grant in self.grants.values())

    @property
    def held(self) -> int:
        return sum(hold.status == "open" for hold in self.holds.values())

    def refresh(self, now: datetime) -> None:
        for grant in self.grants.values():
            self._end(grant, now)
        if self.follows_stripe:
            return
        start, end = plain_period(self.anchor, now)
        reference = f"period {start:%Y-%m-%d}"
        due = CREDITS_A_MONTH[self.plan] - self._granted_for(end)
        if reference not in self.grants and due > 0:
            self.grant(reference, due, end, now)
            self.grants[reference].period_ends_at = end
            self.grants[reference].amount = due

    def grant(
        self,
        reference: str,
        amount: int,
        expires_at: datetime | None,
        now: datetime,
        is_of_pack: bool = False,
        is_goodwill: bool = False,
    ) -> int:
        if amount < 1 or amount > 1_000_000:
            raise InvalidGrant
        if reference in self.grants:
            raise DuplicateReference
        self.grants[reference] = PlainGrant(
            reference, expires_at, now, amount, is_of_pack=is_of_pack, is_goodwill=is_goodwill
        )
        self.entries.append(("grant", amount, reference))
        self._end(self.grants[reference], now)
        return self.grants[reference].available

    def spendable(self, now: datetime) -> list[PlainGrant]:
        """The candidates to be held next: several only if they are equivalent."""

        def key(grant: PlainGrant) -> tuple[bool, bool, datetime, datetime]:
            """What ends with the month first, then packs, then what never ends."""
            never_ends = grant.expires_at is None
            return never_ends, grant.is_of_pack, grant.expires_at or now, grant.created_at

        live = [grant for grant in self.grants.values() if grant.available and not grant.has_ended(now)]
        return [grant for grant in live if key(grant) == min(map(key, live))]

    def hold(
        self,
        reference: str,
        chosen: str,
        owner: str,
        lease_until: datetime,
        now: datetime,
        budget: str | None = None,
    ) -> str:
        if reference in self.holds:
            raise DuplicateReference
        candidates = self.spendable(now)
        if not candidates:
            raise InsufficientCredits("")
        month = (now.year, now.month)
        if budget is not None:
            limit = self.limits[budget]
            if limit is not None and self.used(budget, month) >= limit:
                raise BudgetSpent(limit, now)
        assert chosen in [grant.reference for grant in candidates]
        grant = self.grants[chosen]
        grant.available -= 1
        grant.held += 1
        self.holds[reference] = PlainHold(grant, owner, lease_until, budget=budget, month=month)
        return chosen

    def used(self, budget: str, month: tuple[int, int]) -> int:
        return sum(
            (hold.budget, hold.month) == (budget, month)
            and hold.status in ("open", "captured")
            and not hold.refunded
            for hold in self.holds.values()
        )

    def change_plan(self, plan: str) -> None:
        self.plan = plan

    def renew(self, reference: str, owner: str, lease_until: datetime) -> bool:
        hold = self.holds[reference]
        if hold.status != "open" or hold.owner != owner:
            return False
        hold.lease_until = lease_until
        return True

    def capture(self, reference: str, owner: str, now: datetime) -> int:
        hold = self.holds[reference]
        if hold.status in ("captured", "released"):
            raise HoldSettled
        if hold.status == "expired" or hold.owner != owner or hold.lease_until <= now:
            raise LeaseLost
        hold.status = "captured"
        hold.grant.held -= 1
        self.entries.append(("capture", -1, hold.grant.reference))
        return -1

    def release(self, reference: str, now: datetime, status: str) -> str:
        hold = self.holds[reference]
        if hold.status != "open":
            raise HoldSettled
        if status == "expired" and hold.lease_until > now:
            raise LeaseAlive
        hold.status = status
        hold.grant.held -= 1
        hold.grant.available += 1
        self._end(hold.grant, now)
        return status

    def refund(self, reference: str, now: datetime) -> int:
        hold = self.holds[reference]
        if hold.status != "captured":
            raise HoldNotCaptured
        if hold.refunded:
            raise DuplicateReference
        hold.refunded = True
        hold.grant.available += 1
        self.entries.append(("refund", 1, hold.grant.reference))
        self._end(hold.grant, now)
        return 1

    def revoke(self, grant_reference: str, amount: int, reference: str) -> int:
        if amount < 1:
            raise InvalidGrant
        if reference in self.revocations:
            raise DuplicateReference
        grant = self.grants[grant_reference]
        taken = min(amount, grant.available)
        if taken:
            grant.available -= taken
            self.revocations.add(reference)
            self.entries.append(("revocation", -taken, grant_reference))
        return amount - taken

    def take_back(self, amount: int, chosen: dict[str, int], now: datetime) -> int:
        """Goodwill first, the month's credits next, packs last; of these the newest grants first.

        `chosen` is how much of each grant was taken: of those that are equal, any.
        """
        if amount < 1:
            raise InvalidGrant

        def key(grant: PlainGrant) -> tuple[int, float]:
            turn = 2 if grant.is_of_pack else 0 if grant.is_goodwill else 1
            return turn, -grant.created_at.timestamp()

        live = [grant for grant in self.grants.values() if grant.available and not grant.has_ended(now)]
        assert chosen.keys() <= {grant.reference for grant in live}
        left = amount
        for each in sorted({key(grant) for grant in live}):
            equals = [grant for grant in live if key(grant) == each]
            due = min(left, sum(grant.available for grant in equals))
            assert sum(chosen.get(grant.reference, 0) for grant in equals) == due
            left -= due
        for reference, taken in chosen.items():
            self.grants[reference].available -= taken
            self.entries.append(("revocation", -taken, reference))
        return amount - left

    def hear_of(self, invoice: PlainInvoice, now: datetime) -> None:
        """A paid invoice and what became of its money."""
        if invoice.name not in self.invoices:
            for grant in self.grants.values():
                earlier = self.invoices.get(grant.reference)
                if (
                    earlier is not None
                    and earlier.subscription == invoice.subscription
                    and earlier.ends_at <= invoice.starts_at
                    and grant.expires_at is not None
                    and grant.expires_at > now
                ):
                    grant.expires_at = max(now, invoice.starts_at)
            for grant in self.grants.values():
                self._end(grant, now)
            invoice = replace(invoice)
            invoice.credits = max(0, CREDITS_A_MONTH[invoice.plan] - self._granted_for(invoice.ends_at))
            self.invoices[invoice.name] = invoice
            if invoice.credits:
                self.grant(invoice.name, invoice.credits, invoice.ends_at + TWO_HOURS, now)
                self.grants[invoice.name].period_ends_at = invoice.ends_at
                self.grants[invoice.name].amount = invoice.credits
        known = self.invoices[invoice.name]
        known.reversals = dict(invoice.reversals)
        if known.credits:
            self._reverse(known, known.credits, invoice.ends_at + TWO_HOURS, now)

    def hear_of_pack(self, pack: PlainPack, months: int, now: datetime) -> None:
        """A paid pack and what became of its money."""
        expires_at = month_later(pack.paid_at, months)
        if pack.name not in self.packs:
            self.packs[pack.name] = replace(pack)
            self.grant(pack.name, pack.credits, expires_at, now, is_of_pack=True)
        known = self.packs[pack.name]
        known.reversals = dict(pack.reversals)
        if pack.paid:  # a promotion code may have paid all of it
            self._reverse(known, pack.credits, expires_at, now)

    def obey(self, plan: str, anchor: datetime) -> None:
        """The plan a subscription gives now; without one the plan that the operator gave before, or free."""
        if plan != "free":
            if not self.follows_stripe:
                self.given_plan = self.plan
            self.plan, self.anchor, self.follows_stripe = plan, anchor, True
        elif self.follows_stripe:
            self.plan, self.follows_stripe = self.given_plan, False

    def _reverse(
        self, payment: PlainInvoice | PlainPack, granted: int, expires_at: datetime, now: datetime
    ) -> None:
        for name, reversal in self.reversals.items():
            if (
                name.startswith(f"{payment.name},")
                and name not in payment.reversals
                and not reversal.returned
            ):
                reversal.returned = True
                if reversal.taken:
                    times = len(reversal.given_back)
                    reference = f"{name}:returned" + (f":{times + 1}" if times else "")
                    self.grant(reference, reversal.taken, expires_at, now, isinstance(payment, PlainPack))
                    reversal.given_back.append(reference)
        money, credits_ = 0, 0
        counted = [
            name for name in payment.reversals if name in self.reversals and not self.reversals[name].returned
        ]
        others = [name for name in payment.reversals if name not in counted]
        for name in counted + others:
            money += payment.reversals[name]
            if name in others:
                whole = granted if money >= payment.paid else granted * money // payment.paid
                due = short = max(0, whole - credits_)
                own = self.reversals[name].given_back if name in self.reversals else []
                given_back = [
                    (self.grants[reference].created_at, reference)
                    for other, reversal in self.reversals.items()
                    if other.startswith(f"{payment.name},")
                    for reference in reversal.given_back
                ]
                for _, grant in [*sorted(given_back, reverse=True), (now, payment.name)]:
                    if short:
                        short = self.revoke(grant, short, f"{name} from {grant}, {len(own)}")
                self.reversals[name] = PlainReversal(due, due - short, given_back=own)
            credits_ += self.reversals[name].credits

    def _granted_for(self, end: datetime) -> int:
        return sum(grant.amount for grant in self.grants.values() if grant.period_ends_at == end)

    def _end(self, grant: PlainGrant, now: datetime) -> None:
        if grant.has_ended(now) and grant.available:
            self.entries.append(("expiry", -grant.available, grant.reference))
            grant.available = 0


def plain_period(anchor: datetime, now: datetime) -> tuple[datetime, datetime]:
    """Tries month after month; only for anchors of 2024 and moments within some decades of it."""
    start = month_later(anchor, -600)
    for months in range(-599, 600):
        end = month_later(anchor, months)
        if start <= now < end:
            return start, end
        start = end
    raise AssertionError("the moment is too far away")


def month_later(anchor: datetime, months: int) -> datetime:
    total = anchor.year * 12 + (anchor.month - 1) + months
    for day in range(anchor.day, 0, -1):
        try:
            return anchor.replace(year=total // 12, month=total % 12 + 1, day=day)
        except ValueError:
            continue
    raise AssertionError("every month has a first day")
