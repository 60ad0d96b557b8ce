"""The status of an account's plan and the life of packs as text, for the plans page and the dashboard."""

from datetime import datetime

from api.payments.plans import BillingState
from billing.ledger.plans import PLANS

_ASSIGNED = "The operator of this server assigned this plan to you."


def plan_status(state: BillingState) -> str:
    """Some sentences about the plan's status, "" for the free plan."""
    if not state.is_fixed:
        return _subscription_status(state)
    if state.status in ("free", "given"):
        return _ASSIGNED
    return f"{_ASSIGNED} Your subscription: {_subscription_status(state)}"


def _subscription_status(state: BillingState) -> str:
    match state.status:
        case "free":
            return ""
        case "given":
            return _ASSIGNED
        case "trialing":
            return f"Free of charge until {_day(state.renews_at)}, then paid monthly."
        case "active" if state.next_plan is not None:
            return f"Changes to {PLANS[state.next_plan].title} on {_day(state.renews_at)}."
        case "active":
            return f"Renews on {_day(state.renews_at)}."
        case "ending":
            return f"Cancelled. You keep it until {_day(state.ends_at)}."
        case "past_due":
            return (
                "The last payment failed. Please update your card, or"
                f" the plan ends on {_day(state.grace_ends_at)}."
            )
        case "lapsed":
            return "An invoice is overdue, so the plan has ended. Pay it to restore your plan."


def months(count: int) -> str:
    return "a month" if count == 1 else f"{count} months"


def _day(moment: datetime | None) -> str:
    return f"{moment:%-d %B %Y}" if moment is not None else "the end of the period"
