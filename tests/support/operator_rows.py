"""A row in every table of operators, for tests that copy or migrate whole databases; and operators to act."""

from datetime import datetime

from sqlmodel import Session

from api.operators import acts
from api.operators.acts import ActRequest
from api.operators.audit_log import Actor
from api.payments.models import Reconciliation
from billing.identifiers import new_id
from billing.ledger import accounts
from billing.ledger.models import Account


def make_operator(session: Session, account: Account, now: datetime) -> Account:
    """Mark the account as the command line does."""
    acts.grant_operator(session, ActRequest(Actor(), account.id, "for a test", now))
    return account


def operate(session: Session, account_id: str, now: datetime) -> None:
    """What an operator leaves behind: an act on the account, and a comparison with Stripe."""
    operator = make_operator(
        session, accounts.create(session, email=f"{new_id('op')}@example.com", now=now), now
    )
    actor = Actor(operator.id, new_id("req"), "192.0.2.1")
    acts.suspend(session, ActRequest(actor, account_id, "for a test", now, new_id("form")))
    acts.restore(session, ActRequest(actor, account_id, "for a test", now, new_id("form")))
    session.add(
        Reconciliation(
            id=new_id("rec"), finished_at=now, customers=1, differed=1, failed=0, details='{"cus_1": ["a"]}'
        )
    )
    session.flush()
