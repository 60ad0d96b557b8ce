"""What is checked before the files that a call names by URL are fetched.

The call itself is admitted later (`api.calls.admission`), when its files are there. Without this check a
caller whose calls would be refused could have any number of requests sent to other hosts, and a retry with an
idempotency key would fetch its files again.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session

from api.calls import admission, call_holds, idempotency
from api.calls.admission import Refused, Replayed
from api.rate_limit import RateState
from billing.errors import InsufficientCredits
from billing.ledger import accounts, ledger


@dataclass(frozen=True)
class MayFetch:
    """A call of the rate was taken for the call."""

    rate: RateState
    available: int


def admit(
    session: Session,
    *,
    account_id: str,
    idempotency_key: str | None,
    fingerprint: str,
    now: datetime,
    is_job: bool = False,
    budget_id: str | None = None,
    test_rate: int | None = None,
) -> MayFetch | Replayed | Refused:
    """Take a call of the rate, and check the key, concurrency and credits of a call whose files are missing.

    Without a key only the files tell whether the call would be joined or replayed, which costs nothing. If
    the account has a call like that, concurrency and credits are left to the admission of the call itself.
    A job waits for its turn, so that concurrency does not refuse it. `budget_id` and `test_rate`: see
    `admission.admit`.
    Raises `RateLimited` and as `accounts.lock`.
    """
    if idempotency_key is None:
        rate = admission.take_rate(session, account_id, now, test_rate)
    else:
        outcome = admission.admit_unbilled(
            session,
            account_id=account_id,
            idempotency_key=idempotency_key,
            fingerprint=fingerprint,
            now=now,
            test_rate=test_rate,
        )
        if not isinstance(outcome, RateState):
            return outcome
        rate = outcome
    account = accounts.lock(session, account_id)
    ledger.refresh(session, account, now)
    if idempotency_key is None and idempotency.has_keyless(session, account_id, now):
        return MayFetch(rate, account.available)
    is_test = test_rate is not None
    busy = None if is_job else call_holds.concurrency_refusal(session, account, now, is_test=is_test)
    if busy is not None:
        return Refused(busy, rate, account.available)
    try:
        call_holds.require_credit(session, account, now, budget_id=budget_id, is_test=is_test)
    except InsufficientCredits as error:
        return Refused(error, rate, account.available)
    return MayFetch(rate, account.available)
