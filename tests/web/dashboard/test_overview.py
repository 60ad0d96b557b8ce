"""The cards of the dashboard in words."""

import re
from datetime import UTC, datetime

import pytest

from billing.ledger.grants import PackCredits
from billing.ledger.plans import PLANS, PlanName
from web.auth.visitor import SignedInVisitor
from web.dashboard import overview
from web.dashboard.queries import AccountSummary

NOW = datetime(2026, 11, 20, tzinfo=UTC)
VISITOR = SignedInVisitor(
    session_id="ses_1",
    csrf_token="t",
    started_at=NOW,
    account_id="acc_1",
    email="ada@example.com",
    is_verified=True,
)


@pytest.mark.parametrize(
    ("available", "words"),
    [
        (15, "15 left of 500 a month"),
        (500, "500 left of 500 a month"),
        # Credits of other grants are no part of the month's.
        (985, "985 credits, 500 new ones a month"),
    ],
)
def test_credits_are_shown_beside_those_of_the_plan(available: int, words: str) -> None:
    standard = next(plan for plan in PLANS.values() if plan.monthly_credits == 500)
    summary = AccountSummary(standard, available, 0, NOW, PackCredits(0, None))
    html = overview.cards(VISITOR, summary, overview.PlanCard(False, "", False, []))
    assert words in " ".join(re.sub("<[^>]+>", "", html).split())


def test_what_only_operators_can_change_is_not_named_to_customers() -> None:
    summary = AccountSummary(PLANS[PlanName.FREE], 15, 0, None, PackCredits(0, None))
    html = overview.cards(VISITOR, summary, overview.PlanCard(False, "", False, []))
    assert "Plans cannot be bought on this server" in html
    assert not re.search("stripe|key|BGERASER_|bgeraser ", re.sub("<[^>]+>", "", html), re.IGNORECASE)
