"""How an account's plan stands, in a sentence; for the plans page and the dashboard."""

from datetime import datetime

from api.payments.plans import BillingState
from billing.ledger.plans import PLANS


def sentence(state: BillingState) -> str:
    """What a person wants to know of their plan now; empty where there is nothing to say."""
    match state.status:
        case "free":
            return ""
        case "given":
            return "The operator of this server gave you this plan."
        case "trialing":
            return f"Free of charge until {_day(state.renews_at)}, then paid monthly."
        case "active" if state.next_plan is not None:
            return f"Changes to {PLANS[state.next_plan].title} on {_day(state.renews_at)}."
        case "active":
            return f"Renews on {_day(state.renews_at)}."
        case "ending":
            return f"Cancelled; it stays yours until {_day(state.ends_at)}."
        case "past_due":
            return (
                "The last payment failed. Please look after your card:"
                f" the plan ends on {_day(state.grace_ends_at)}."
            )
        case "lapsed":
            return "A payment is missing, so the plan has ended. Pay it, and the plan is back."


def _day(moment: datetime | None) -> str:
    return f"{moment:%-d %B %Y}" if moment is not None else "the end of the period"
