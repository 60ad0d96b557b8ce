from datetime import timedelta

import pytest
from sqlmodel import Session, col, select

from billing.errors import (
    DuplicateReference,
    HoldNotCaptured,
    HoldSettled,
    InsufficientCredits,
    LeaseAlive,
    LeaseLost,
)
from billing.ledger import ledger
from billing.ledger.models import Account, Entry, Grant, Hold, HoldStatus
from tests.support.builders import (
    DAY,
    NOON,
    OWNER,
    SECOND,
    capture_of,
    make_account,
    make_captured_hold,
    make_grant,
    make_hold,
    unique,
)


def entries(session: Session, account: Account) -> list[tuple[str, int, str]]:
    rows = session.exec(select(Entry).where(Entry.account_id == account.id).order_by(col(Entry.id))).all()
    return [(row.kind, row.amount, row.reference) for row in rows]


# Holding


def test_a_hold_reserves_one_credit_and_writes_no_entry(session: Session) -> None:
    account = make_account(session, credits=3)
    held = make_hold(session, account, reference="request:req_1", lease_seconds=30)
    assert (account.available, account.held) == (2, 1)
    assert (held.amount, held.status, held.reference) == (1, HoldStatus.OPEN, "request:req_1")
    assert (held.lease_owner, held.lease_until) == (OWNER, NOON + 30 * SECOND)
    assert [kind for kind, _, _ in entries(session, account)] == ["grant"]


def test_grants_are_held_in_order_of_expiry_and_those_without_one_last(session: Session) -> None:
    account = make_account(session)
    for reference, days in (("never", None), ("late", 9), ("soon", 2), ("later-made", 9)):
        make_grant(
            session,
            account,
            1,
            reference=reference,
            expires_at=NOON + days * DAY if days else None,
            # Of two that end together the older one is spent first.
            now=NOON + SECOND if reference == "later-made" else NOON,
        )
    spent = []
    for _ in range(4):
        held = make_hold(session, account, now=NOON + DAY)
        spent.append(session.get_one(Grant, held.grant_id).reference)
    assert spent == ["soon", "late", "later-made", "never"]


def test_an_expired_grant_cannot_be_held_even_before_its_expiry_is_posted(session: Session) -> None:
    account = make_account(session)
    make_grant(session, account, 5, expires_at=NOON + DAY)
    make_hold(session, account, now=NOON + DAY - timedelta(microseconds=1))
    with pytest.raises(InsufficientCredits):
        make_hold(session, account, now=NOON + DAY)


def test_the_last_credit_is_held_once(session: Session) -> None:
    account = make_account(session, credits=2)
    make_hold(session, account)
    make_hold(session, account)
    with pytest.raises(InsufficientCredits):
        make_hold(session, account)
    assert (account.available, account.held) == (0, 2)


def test_credits_of_another_account_cannot_be_held(session: Session) -> None:
    make_account(session, credits=5)
    with pytest.raises(InsufficientCredits):
        make_hold(session, make_account(session))


def test_a_reference_holds_once_across_accounts_and_the_transaction_stays_usable(session: Session) -> None:
    first, second = make_account(session, credits=5), make_account(session, credits=5)
    make_hold(session, first, reference="request:req_1")
    for account in (first, second):
        with pytest.raises(DuplicateReference, match="request:req_1"):
            make_hold(session, account, reference="request:req_1")
    make_hold(session, second, reference="request:req_2")
    assert (first.available, first.held, second.available, second.held) == (4, 1, 4, 1)


def test_a_used_reference_is_distinguished_from_an_empty_account(session: Session) -> None:
    account = make_account(session, credits=1)
    make_hold(session, account, reference="request:req_1")
    with pytest.raises(DuplicateReference):
        make_hold(session, account, reference="request:req_1")
    with pytest.raises(InsufficientCredits):
        make_hold(session, account, reference="request:req_2")


# Capturing


def test_a_capture_spends_the_held_credit_with_one_entry(session: Session) -> None:
    account = make_account(session, credits=3)
    held = make_hold(session, account)
    ledger.capture(session, held.id, lease_owner=OWNER, now=NOON + SECOND)
    entry = capture_of(session, held)
    assert (entry.amount, entry.hold_id, entry.created_at) == (-1, held.id, NOON + SECOND)
    assert (account.available, account.held) == (2, 0)
    assert (held.status, held.settled_at) == (HoldStatus.CAPTURED, NOON + SECOND)
    assert entries(session, account)[1:] == [("capture", -1, f"capture:{held.id}")]


def test_a_credit_held_before_its_grant_expires_may_be_captured_afterwards(session: Session) -> None:
    account = make_account(session)
    make_grant(session, account, 2, expires_at=NOON + 10 * SECOND)
    held = make_hold(session, account)
    ledger.expire_due(session, account, NOON + 20 * SECOND)
    ledger.capture(session, held.id, lease_owner=OWNER, now=NOON + 20 * SECOND)
    assert (account.available, account.held) == (0, 0)
    assert [amount for _, amount, _ in entries(session, account)] == [2, -1, -1]


def test_a_lease_is_valid_until_its_last_microsecond(session: Session) -> None:
    account = make_account(session, credits=2)
    in_time, late = make_hold(session, account), make_hold(session, account)
    microsecond = timedelta(microseconds=1)
    ledger.capture(session, in_time.id, lease_owner=OWNER, now=NOON + 30 * SECOND - microsecond)
    with pytest.raises(LeaseLost):
        ledger.capture(session, late.id, lease_owner=OWNER, now=NOON + 30 * SECOND)
    assert late.status == HoldStatus.OPEN
    assert (account.available, account.held) == (0, 1)


def test_only_the_process_that_holds_can_capture(session: Session) -> None:
    account = make_account(session, credits=1)
    held = make_hold(session, account)
    with pytest.raises(LeaseLost):
        ledger.capture(session, held.id, lease_owner="process-2", now=NOON)
    ledger.capture(session, held.id, lease_owner=OWNER, now=NOON)


def test_a_hold_expired_by_the_sweeper_is_a_lost_lease(session: Session) -> None:
    account = make_account(session, credits=1)
    held = make_hold(session, account)
    ledger.release(session, held.id, now=NOON + 30 * SECOND, status=HoldStatus.EXPIRED)
    with pytest.raises(LeaseLost):
        ledger.capture(session, held.id, lease_owner=OWNER, now=NOON)
    assert (account.available, account.held) == (1, 0)


@pytest.mark.parametrize("second", ["capture", "release", "expire"])
@pytest.mark.parametrize("first", ["capture", "release"])
def test_a_hold_settles_once(session: Session, first: str, second: str) -> None:
    account = make_account(session, credits=3)
    held = make_hold(session, account)

    def settle(how: str) -> None:
        if how == "capture":
            ledger.capture(session, held.id, lease_owner=OWNER, now=NOON)
        elif how == "release":
            ledger.release(session, held.id, now=NOON)
        else:
            ledger.release(session, held.id, now=NOON + 60 * SECOND, status=HoldStatus.EXPIRED)

    settle(first)
    left = account.available
    with pytest.raises(HoldSettled):
        settle(second)
    assert (account.available, account.held) == (left, 0)


# Releasing


@pytest.mark.parametrize("status", [HoldStatus.RELEASED, HoldStatus.EXPIRED])
def test_a_release_returns_the_credit_without_an_entry(session: Session, status: HoldStatus) -> None:
    account = make_account(session, credits=3)
    held = make_hold(session, account)
    later = NOON + 30 * SECOND
    if status is HoldStatus.EXPIRED:
        ledger.release(session, held.id, now=later, status=HoldStatus.EXPIRED)
    else:
        ledger.release(session, held.id, now=later)
    assert (account.available, account.held) == (3, 0)
    assert (held.status, held.settled_at) == (status, later)
    assert len(entries(session, account)) == 1


def test_a_credit_released_after_its_grant_ended_expires_at_once(session: Session) -> None:
    account = make_account(session)
    granted = make_grant(session, account, 3, expires_at=NOON + DAY)
    held = make_hold(session, account)
    also_held = make_hold(session, account)
    ledger.expire_due(session, account, NOON + DAY)
    ledger.release(session, held.id, now=NOON + 2 * DAY)
    ledger.release(session, also_held.id, now=NOON + 3 * DAY, status=HoldStatus.EXPIRED)
    assert (account.available, account.held) == (0, 0)
    assert entries(session, account)[1:] == [
        ("expiry", -1, f"expiry:{granted.id}:1"),
        ("expiry", -1, f"expiry:{granted.id}:2"),
        ("expiry", -1, f"expiry:{granted.id}:3"),
    ]


def test_a_hold_with_a_valid_lease_cannot_be_expired(session: Session) -> None:
    account = make_account(session, credits=1)
    held = make_hold(session, account)
    ledger.renew_leases(session, OWNER, [held.id], NOON + 60 * SECOND)
    with pytest.raises(LeaseAlive):
        ledger.release(session, held.id, now=NOON + 45 * SECOND, status=HoldStatus.EXPIRED)
    assert account.held == 1
    ledger.release(session, held.id, now=NOON + 60 * SECOND, status=HoldStatus.EXPIRED)


# Leases


def test_a_renewed_lease_keeps_the_hold(session: Session) -> None:
    account = make_account(session, credits=1)
    held = make_hold(session, account)
    assert ledger.renew_leases(session, OWNER, [held.id], NOON + 90 * SECOND) == {held.id}
    assert ledger.lapsed_holds(session, NOON + 60 * SECOND, limit=10) == []
    ledger.capture(session, held.id, lease_owner=OWNER, now=NOON + 60 * SECOND)


def test_only_open_holds_of_the_owner_are_renewed_and_returned(session: Session) -> None:
    account = make_account(session, credits=3)
    mine, settled = make_hold(session, account), make_captured_hold(session, account)
    other = ledger.hold(
        session, account, reference=unique("request"), lease_owner="process-2", lease_seconds=30, now=NOON
    )
    ids = [mine.id, settled.id, other.id, "hold_none"]
    assert ledger.renew_leases(session, OWNER, ids, NOON + 90 * SECOND) == {mine.id}
    assert ledger.renew_leases(session, OWNER, [], NOON + 90 * SECOND) == set()
    until = dict(session.exec(select(Hold.id, Hold.lease_until)).all())
    assert until[mine.id] == NOON + 90 * SECOND
    assert until[settled.id] == until[other.id] == NOON + 30 * SECOND


def test_lapsed_holds_are_ordered_by_age_and_limited(session: Session) -> None:
    account = make_account(session, credits=5)
    holds = [make_hold(session, account, lease_seconds=seconds) for seconds in (30, 10, 20, 40)]
    settled = make_hold(session, account, lease_seconds=5)
    ledger.release(session, settled.id, now=NOON)
    lapsed = ledger.lapsed_holds(session, NOON + 30 * SECOND, limit=10)
    assert [each.id for each in lapsed] == [holds[1].id, holds[2].id, holds[0].id]
    assert ledger.lapsed_holds(session, NOON + 30 * SECOND, limit=2) == lapsed[:2]


# Refunding


def test_a_refund_returns_a_captured_credit_to_its_grant(session: Session) -> None:
    account = make_account(session)
    granted = make_grant(session, account, 1, expires_at=NOON + DAY)
    held = make_captured_hold(session, account)
    entry = ledger.refund(session, held.id, now=NOON + SECOND)
    assert (entry.amount, entry.reference, entry.hold_id) == (1, f"refund:{held.id}", held.id)
    assert (account.available, granted.available) == (1, 1)
    assert held.status == HoldStatus.CAPTURED  # The hold's own story ended with the capture.
    make_hold(session, account)


def test_a_refund_happens_once(session: Session) -> None:
    account = make_account(session, credits=1)
    held = make_captured_hold(session, account)
    ledger.refund(session, held.id, now=NOON)
    with pytest.raises(DuplicateReference):
        ledger.refund(session, held.id, now=NOON)
    assert account.available == 1


def test_a_refund_after_the_grant_ended_expires_at_once(session: Session) -> None:
    account = make_account(session)
    granted = make_grant(session, account, 1, expires_at=NOON + DAY)
    held = make_captured_hold(session, account)
    ledger.refund(session, held.id, now=NOON + 2 * DAY)
    assert account.available == 0
    assert entries(session, account)[2:] == [
        ("refund", 1, f"refund:{held.id}"),
        ("expiry", -1, f"expiry:{granted.id}:1"),
    ]


def test_an_uncharged_hold_cannot_be_refunded(session: Session) -> None:
    account = make_account(session, credits=2)
    running, released = make_hold(session, account), make_hold(session, account)
    ledger.release(session, released.id, now=NOON)
    for held in (running, released):
        with pytest.raises(HoldNotCaptured):
            ledger.refund(session, held.id, now=NOON)
    assert (account.available, account.held) == (1, 1)
