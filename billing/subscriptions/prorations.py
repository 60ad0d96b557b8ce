"""The credits that the lines of an invoice are worth. No network, no database.

A change of plan in the middle of a period is charged for the rest of the period only, so it is worth credits
for the rest only: a proration counts with the share of the period that it covers, negative where Stripe gives
money back. Any other line is worth the plan's month, even if a trial or a coupon makes it free.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction

from billing.ledger.periods import period_containing, period_start
from billing.ledger.plans import PLANS, PlanName

_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class InvoiceLine:
    """A line of an invoice that is for one of our plans."""

    plan: PlanName
    amount: int  # in the currency's smallest unit; negative: money given back
    starts_at: datetime
    ends_at: datetime
    is_proration: bool


@dataclass(frozen=True)
class Entitlement:
    """What an invoice is worth.

    Its period is the one that ends last, because a renewal can contain prorations of the period before it.
    """

    plan: PlanName
    credits: int  # negative: an immediate change to a smaller plan
    starts_at: datetime
    ends_at: datetime


def entitlement(lines: Sequence[InvoiceLine], anchor: datetime | None) -> Entitlement:
    """`lines`: at least one. `anchor`: the anchor of the subscription's periods, if known."""
    ends_at = max(line.ends_at for line in lines)
    present = [line for line in lines if line.ends_at == ends_at]
    whole = [line for line in present if not line.is_proration]
    starts_at = max(line.starts_at for line in whole or present)
    credits_ = _sum(present, anchor)
    earlier = [line for line in lines if line.ends_at < ends_at]
    for end in {line.ends_at for line in earlier}:
        rest = _sum([line for line in earlier if line.ends_at == end], anchor)
        # The credits of an upgrade that is paid with the renewal are granted now, because they could not be
        # used before. What a downgrade gave back for a past period does not reduce the paid month, unless
        # this invoice cut that period short.
        credits_ += max(Fraction(0), rest) if end <= starts_at else rest
    return Entitlement(_plan(whole or present), math.floor(credits_ + Fraction(1, 2)), starts_at, ends_at)


def _plan(lines: Sequence[InvoiceLine]) -> PlanName:
    """The plan that is paid for: the largest among the lines that are not refunds."""
    kept = [line for line in lines if line.amount >= 0] or lines
    return max((line.plan for line in kept), key=lambda plan: PLANS[plan].monthly_credits)


def _sum(lines: Sequence[InvoiceLine], anchor: datetime | None) -> Fraction:
    return sum((_credits(line, anchor) for line in lines), Fraction(0))


def _credits(line: InvoiceLine, anchor: datetime | None) -> Fraction:
    monthly = PLANS[line.plan].monthly_credits
    if not line.is_proration:
        return Fraction(monthly if line.amount >= 0 else -monthly)
    if line.amount == 0:
        return Fraction(0)  # during a trial, or of the last seconds of a period: nothing is paid for
    length = line.ends_at - _period_start(line, anchor)
    share = min(Fraction(1), Fraction((line.ends_at - line.starts_at) // _SECOND, max(1, length // _SECOND)))
    return share * (monthly if line.amount > 0 else -monthly)


def _period_start(line: InvoiceLine, anchor: datetime | None) -> datetime:
    """The start of the period whose rest the line covers."""
    if anchor is not None:
        starts_at, ends_at = period_containing(anchor, line.starts_at)
        if ends_at == line.ends_at:
            return starts_at
    return period_start(line.ends_at, -1)  # the anchor was moved since: a month, within three days
