"""The cards of the dashboard in words."""

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from api.memberships.models import Role
from api.memberships.roles import Place
from api.payments.packs import PackOffer
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


def text_of(user: SignedInVisitor, available: int, plan_card: overview.PlanCard | None) -> str:
    summary = AccountSummary(PLANS[PlanName.FREE], available, 0, None, PackCredits(0, None))
    return " ".join(re.sub("<[^>]+>", "", overview.cards(user, summary, plan_card)).split())


def test_without_credits_the_owner_is_offered_packs_and_a_member_told_to_ask_the_owner() -> None:
    ask, buy = "Ask the account's owner for more.", "Buy credits"
    sold = overview.PlanCard(True, "", False, [], [PackOffer(100, "$5.00")])
    for available in (0, -3):
        owners = text_of(VISITOR, available, sold)
        assert (buy in owners, ask in owners) == (True, False)
        for role in (Role.MEMBER, Role.VIEWER):
            place = Place("acc_2", "owner@example.com", role)
            shown = text_of(replace(VISITOR, elsewhere=place), available, None)
            assert (buy in shown, ask in shown) == (False, role is Role.MEMBER)
    place = Place("acc_2", "owner@example.com", Role.MEMBER)
    assert ask not in text_of(replace(VISITOR, elsewhere=place), 1, None)
