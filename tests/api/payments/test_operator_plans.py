"""A plan set by an operator and Stripe: neither events nor comparisons overwrite it, until it is released."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import Session, select

from api.operators import acts, overview
from api.operators.acts import ActRequest
from api.operators.audit_log import Actor
from api.payments.models import Reconciliation
from api.payments.sync import _KEPT
from billing.ledger.plans import PlanName
from tests.support.shop import Owner, Shop, open_shop
from web.plans import messages


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path) as opened:
        yield opened


def set_plan(shop: Shop, owner: Owner, plan: PlanName | None) -> None:
    def work(session: Session) -> None:
        request = ActRequest(Actor(), owner.account_id, "for a test", shop.api.clock())
        acts.change_plan(session, request, plan=plan)

    shop.api.services.database.submit(work).result()


def test_a_subscriber_keeps_the_operators_plan_and_gets_the_paid_credits(shop: Shop) -> None:
    ada = shop.owner()
    shop.buy(ada, PlanName.STANDARD)
    shop.settle()
    assert shop.plan_and_credits(ada)[0] == "standard"
    set_plan(shop, ada, PlanName.BUSINESS)
    credits_ = shop.plan_and_credits(ada)[1]
    shop.reconcile()
    assert shop.plan_and_credits(ada) == ("business", credits_)
    status = messages.plan_status(shop.state(ada))
    assert "operator of this server assigned" in status
    assert "Your subscription: Renews on" in status
    shop.pass_days(32)
    shop.settle()
    shop.reconcile()
    assert shop.plan_and_credits(ada) == ("business", 500)  # the next invoice's
    set_plan(shop, ada, None)
    assert shop.plan_and_credits(ada)[0] == "standard"
    assert shop.reconcile().changes == {}
    assert messages.plan_status(shop.state(ada)).startswith("Renews on")
    shop.check()


def test_a_plan_of_an_operator_stays_through_buying_and_cancelling(shop: Shop) -> None:
    ada = shop.owner()
    set_plan(shop, ada, PlanName.BUSINESS)
    shop.buy(ada, PlanName.STANDARD)
    shop.settle()
    assert shop.plan_and_credits(ada)[0] == "business"
    shop.portal(ada, "cancel")
    shop.pass_days(40)
    shop.settle()
    assert shop.plan_and_credits(ada)[0] == "business"
    assert shop.state(ada).status == "given"
    shop.check()


def test_each_comparison_is_recorded_with_the_drift_that_it_found(shop: Shop) -> None:
    ada = shop.owner()
    shop.buy(ada, PlanName.STANDARD)
    shop.reconcile()
    shop.reconcile()
    database = shop.api.services.database
    with database.transaction() as session:
        found = session.exec(select(Reconciliation).order_by(Reconciliation.differed)).all()  # type: ignore[arg-type]
    assert [(each.customers, each.differed, each.failed) for each in found] == [(1, 0, 0), (1, 1, 0)]
    assert shop.customer_id(ada) in found[1].details
    assert found[0].details == "{}"
    shop.pass_days(_KEPT.days + 1)
    shop.reconcile()
    with database.transaction() as session:
        assert len(session.exec(select(Reconciliation)).all()) == 1
        assert overview.last_reconciliation(session) is not None
