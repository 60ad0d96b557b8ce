"""The dashboard's head: who is signed in, credits, the plan; as HTML from templates, escaped by default."""

from web.dashboard.access import DashboardVisitor, shown_time
from web.dashboard.plan_card import PlanCard
from web.dashboard.queries import AccountSummary
from web.site import pages


def head(owner: DashboardVisitor | None) -> str:
    """The line at the top with the way to the other pages."""
    return pages.fragment("dashboard/head.html", owner=owner)


def cards(owner: DashboardVisitor, standing: AccountSummary, plan: PlanCard) -> str:
    """Credits and plan."""
    return pages.fragment(
        "dashboard/cards.html",
        owner=owner,
        standing=standing,
        renews_at=shown_time(standing.renews_at),
        plan=plan,
    )
