"""The hold of a call, and how many calls of an account run at once.

A live call's hold takes a credit. A test key's call costs nothing: its hold is of 0 credits and only keeps
the lease, and its calls are counted apart. Functions take a session, whose account must be locked.
"""

from datetime import datetime

from sqlmodel import Session, col, func, select

from api.errors import RateLimited
from billing.ledger import ledger
from billing.ledger.models import Account, Hold, HoldStatus
from billing.ledger.plans import PLANS, PlanName

#: Of one account's test keys together.
TEST_CALLS_AT_ONCE = 2


def hold(
    session: Session,
    account: Account,
    *,
    request_id: str,
    lease_owner: str,
    lease_seconds: float,
    now: datetime,
    budget_id: str | None,
    is_test: bool,
) -> Hold:
    """The hold of a call's credit; that of a test key's call, which costs nothing, only keeps its lease.

    Raises as `ledger.hold`.
    """
    reference = f"request:{request_id}"
    if is_test:
        return ledger.hold_nothing(
            session,
            account,
            reference=reference,
            lease_owner=lease_owner,
            lease_seconds=lease_seconds,
            now=now,
        )
    return ledger.hold(
        session,
        account,
        reference=reference,
        lease_owner=lease_owner,
        lease_seconds=lease_seconds,
        now=now,
        budget_id=budget_id,
    )


def require_credit(
    session: Session, account: Account, now: datetime, *, budget_id: str | None, is_test: bool
) -> None:
    """Raises as `hold` would. The account must be locked."""
    if is_test:
        ledger.require_verified(account)
    else:
        ledger.require_credit(session, account, now, budget_id=budget_id)


def concurrency_refusal(
    session: Session, account: Account, now: datetime, *, is_test: bool = False
) -> RateLimited | None:
    """The refusal of one more call, if as many run as the plan allows. The account must be locked."""
    if is_test:
        if has_test_slot(session, account.id, now):
            return None
        return RateLimited(f"Test keys run {TEST_CALLS_AT_ONCE} calls at once; wait for one to finish.", 1)
    plan = PLANS[PlanName(account.plan)]
    is_full = not has_slot(session, account, plan.concurrent_calls, now)
    message = f"The {plan.title} plan runs {plan.concurrent_calls} calls at once; wait for one to finish."
    return RateLimited(message, 1) if is_full else None


def has_slot(session: Session, account: Account, limit: int, now: datetime) -> bool:
    """Whether fewer than `limit` calls of the account run. The account must be locked."""
    # `held` includes waiting jobs and holds of dead processes, so only below the limit it decides by itself.
    return account.held < limit or _count_running(session, account.id, now) < limit


def has_test_slot(session: Session, account_id: str, now: datetime) -> bool:
    """Whether one more call of the account's test keys may run. The account must be locked."""
    return _count_running(session, account_id, now, are_tests=True) < TEST_CALLS_AT_ONCE


def _count_running(session: Session, account_id: str, now: datetime, *, are_tests: bool = False) -> int:
    """Running calls: those that cost a credit, or those of test keys.

    A hold whose lease has lapsed does not count, because its process died.
    """
    statement = select(func.count()).where(
        col(Hold.account_id) == account_id,
        Hold.status == HoldStatus.OPEN,
        col(Hold.lease_until) > now,
        col(Hold.lease_owner) != ledger.WAITING,
        col(Hold.amount) == 0 if are_tests else col(Hold.amount) > 0,
    )
    return session.exec(statement).one()
