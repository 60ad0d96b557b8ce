"""Packs by their lookup keys, the order in which their credits are spent, and closed accounts."""

from datetime import datetime, timedelta

import pytest
from sqlmodel import Session, select

from billing.ledger import accounts, grants, ledger
from billing.ledger.models import Account, Grant, GrantKind
from billing.subscriptions import packs
from billing.subscriptions.types import CustomerFacts, PackFacts
from tests.support.builders import DAY, NOON, make_account, make_captured_hold


def pack(number: int = 1, credits_: int = 2, paid_at: datetime = NOON) -> PackFacts:
    return PackFacts(f"cs_{number}", credits_, 500, "usd", paid_at, paid_at, (), f"pi_{number}")


def apply(session: Session, account: Account, *bought: PackFacts, now: datetime = NOON) -> list[str]:
    return packs.apply(session, account, CustomerFacts("cus_1", (), (), bought), 12, now)


def spent_from(session: Session, account: Account, count: int) -> list[str]:
    """The references of the grants that the next holds are bound to."""
    found = []
    for _ in range(count):
        held = make_captured_hold(session, account)
        found.append(session.get_one(Grant, held.grant_id).reference)
    return found


@pytest.mark.parametrize(
    ("key", "credits_"),
    [
        ("bgeraser_pack_1", 1),
        ("bgeraser_pack_1000", 1_000),
        ("bgeraser_pack_1000000", 1_000_000),
        ("bgeraser_pack_1000001", None),
        ("bgeraser_pack_0", None),
        ("bgeraser_pack_01", None),
        ("bgeraser_pack_-1", None),
        ("bgeraser_pack_", None),
        ("bgeraser_pack_1\n", None),
        ("bgeraser_pack_\u0661", None),
        ("bgeraser_standard_monthly", None),
        ("", None),
        (None, None),
    ],
)
def test_a_lookup_key_names_the_credits_of_a_pack(key: str | None, credits_: int | None) -> None:
    assert packs.credits_of(key) == credits_
    if credits_ is not None:
        assert packs.lookup_key(credits_) == key


@pytest.mark.notices(fault="a pack is granted by every sync")
@pytest.mark.notices(fault="packs are not last")
def test_a_pack_is_granted_once_and_spent_after_the_month_and_before_what_never_ends(
    session: Session,
) -> None:
    account = make_account(session)
    far = NOON + 400 * DAY
    for kind, reference, expires_at in (
        (GrantKind.GOODWILL, "never", None),
        (GrantKind.MONTHLY, "month", far),
    ):
        ledger.grant(
            session, account, kind=kind, amount=1, reference=reference, expires_at=expires_at, now=NOON
        )
    assert apply(session, account, pack(2), pack(1, paid_at=NOON - DAY)) == [
        "cs_1: 2 credits granted",
        "cs_2: 2 credits granted",
    ]
    assert apply(session, account, pack(2), pack(1, paid_at=NOON - DAY)) == []
    # The month's come first although they end after the packs.
    assert spent_from(session, account, 6) == [
        "month",
        "stripe:cs_1",
        "stripe:cs_1",
        "stripe:cs_2",
        "stripe:cs_2",
        "never",
    ]


@pytest.mark.notices(fault="a pack never ends")
def test_what_is_left_of_packs_is_told_with_the_first_end(session: Session) -> None:
    account = make_account(session, credits=3)
    assert grants.pack_credits(session, account.id) == grants.PackCredits(0, None)
    apply(session, account, pack(1), pack(2, paid_at=NOON - 300 * DAY))
    found = grants.pack_credits(session, account.id)
    assert found.available == 4
    assert found.expire_at is not None
    ledger.refresh(session, account, found.expire_at - timedelta(microseconds=1))
    assert grants.pack_credits(session, account.id) == found
    ledger.refresh(session, account, found.expire_at)
    assert grants.pack_credits(session, account.id).available == 2


def test_a_closed_account_gets_no_pack_and_the_payment_is_late(session: Session) -> None:
    account = make_account(session)
    apply(session, account, pack(1))
    accounts.close(session, account.id, now=NOON)
    facts = CustomerFacts("cus_1", (), (), (pack(1), pack(2)))
    assert packs.late(session, account, facts) == [pack(2)]
    assert packs.apply(session, account, facts, 12, NOON) == []
    granted = session.exec(select(Grant.reference).where(Grant.kind == GrantKind.PACK)).all()
    assert list(granted) == ["stripe:cs_1"]


def test_a_purchase_is_found_by_its_account_only(session: Session) -> None:
    account, other = make_account(session), make_account(session)
    apply(session, account, pack(1))
    assert packs.purchase(session, account.id, "cs_1") is not None
    assert packs.purchase(session, other.id, "cs_1") is None
    assert packs.purchase(session, account.id, "cs_2") is None


def test_a_pack_matters_until_its_credits_end(session: Session) -> None:
    account = make_account(session)
    assert packs.oldest_kept(session, account.id, NOON) is None
    apply(session, account, pack(1), pack(2, paid_at=NOON - 300 * DAY))
    assert packs.oldest_kept(session, account.id, NOON) == NOON - 300 * DAY
    assert packs.oldest_kept(session, account.id, NOON + 100 * DAY) == NOON
    assert packs.oldest_kept(session, account.id, NOON + 400 * DAY) is None
