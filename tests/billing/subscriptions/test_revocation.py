import pytest
from sqlmodel import Session, select

from billing.errors import DuplicateReference, InvalidGrant
from billing.ledger import ledger
from billing.ledger.models import Account, Entry, EntryKind
from billing.subscriptions.revocation import revoke
from tests.support.builders import DAY, NOON, make_account, make_captured_hold, make_grant, make_hold


def take_back(session: Session, account: Account, amount: int, reference: str = "stripe:re_1") -> int:
    return revoke(
        session, account, grant_reference="stripe:in_1", amount=amount, reference=reference, now=NOON
    )


def test_unspent_credits_are_revoked_with_one_entry(session: Session) -> None:
    account = make_account(session)
    make_grant(session, account, 10, reference="stripe:in_1")
    assert take_back(session, account, 4) == 0
    assert account.available == 6
    entry = session.exec(select(Entry).where(Entry.kind == EntryKind.REVOCATION)).one()
    assert (entry.amount, entry.reference) == (-4, "stripe:re_1")


def test_spent_and_held_credits_are_the_shortfall_and_the_balance_stays_non_negative(
    session: Session,
) -> None:
    account = make_account(session)
    make_grant(session, account, 10, reference="stripe:in_1")
    make_captured_hold(session, account)
    make_captured_hold(session, account)
    running = make_hold(session, account)
    assert take_back(session, account, 10) == 3
    assert (account.available, account.held) == (0, 1)
    ledger.release(session, running.id, now=NOON)
    assert account.available == 1
    assert take_back(session, account, 3, reference="stripe:re_2") == 2
    assert account.available == 0


def test_credits_of_other_grants_are_kept(session: Session) -> None:
    account = make_account(session, credits=5)
    make_grant(session, account, 2, reference="stripe:in_1")
    assert take_back(session, account, 3) == 1
    assert account.available == 5


def test_a_revocation_happens_once(session: Session) -> None:
    account = make_account(session)
    make_grant(session, account, 10, reference="stripe:in_1")
    take_back(session, account, 10)
    with pytest.raises(DuplicateReference):
        take_back(session, account, 10)
    assert account.available == 0


def test_revoking_from_an_empty_grant_records_only_a_shortfall(session: Session) -> None:
    account = make_account(session)
    make_grant(session, account, 2, reference="stripe:in_1", expires_at=NOON + DAY)
    ledger.expire_due(session, account, NOON + DAY)
    assert take_back(session, account, 2) == 2
    assert session.exec(select(Entry).where(Entry.kind == EntryKind.REVOCATION)).all() == []


@pytest.mark.parametrize("amount", [0, -5])
def test_a_negative_revocation_is_refused(session: Session, amount: int) -> None:
    account = make_account(session)
    make_grant(session, account, 2, reference="stripe:in_1")
    with pytest.raises(InvalidGrant):
        take_back(session, account, amount)


def test_the_grant_of_another_account_cannot_be_revoked(session: Session) -> None:
    make_grant(session, make_account(session), 2, reference="stripe:in_1")
    with pytest.raises(InvalidGrant, match="no grant stripe:in_1"):
        take_back(session, make_account(session), 1)
