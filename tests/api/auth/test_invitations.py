"""Invitations: one use, one week, one address, and nothing about whether it has an account."""

from datetime import timedelta

import pytest
from sqlmodel import select

from api.auth import invitations, members, throttle
from api.auth.sessions import hash_of
from api.db.database import Database
from api.errors import Forbidden, InvalidParameter, NotFound, RateLimited
from api.memberships import roles
from api.memberships.models import Invitation, Role
from billing.ledger import accounts
from billing.ledger.models import Account
from tests.support.builders import DAY, NOON, SECOND, make_account

ADA = "ada@example.com"


@pytest.fixture
def account_id(database: Database) -> str:
    with database.transaction() as session:
        return make_account(session).id


def test_an_invitation_is_accepted_once(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        token = invitations.invite(session, account_id, " Ada@Example.com ", Role.VIEWER, NOON)
        assert session.exec(select(Invitation.token_sha256)).one() == hash_of(token)
        ada = accounts.create(session, email=ADA, now=NOON)
        assert invitations.accept(session, token, ada.id, NOON) == account_id
        assert [(each.email, each.role) for each in members.listed(session, account_id)] == [
            (ADA, Role.VIEWER)
        ]
        assert invitations.accept(session, token, ada.id, NOON) is None
        assert invitations.pending(session, account_id, NOON) == []


def test_of_two_uses_at_once_one_succeeds(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        token = invitations.invite(session, account_id, ADA, Role.MEMBER, NOON)
        ada_id = accounts.create(session, email=ADA, now=NOON).id
    uses = [
        database.submit(lambda session: invitations.accept(session, token, ada_id, NOON)) for _ in range(4)
    ]
    assert sorted(use.result() or "" for use in uses) == ["", "", "", account_id]


def test_another_or_an_unconfirmed_address_does_not_accept_and_the_link_stays(
    database: Database, account_id: str
) -> None:
    with database.transaction() as session:
        token = invitations.invite(session, account_id, ADA, Role.MEMBER, NOON)
        bob = accounts.create(session, email="bob@example.com", now=NOON)
        ada = accounts.create(session, email=ADA, now=NOON, is_verified=False)
        for person in (bob, ada):
            with pytest.raises(Forbidden):
                invitations.accept(session, token, person.id, NOON)
        accounts.verify(session, ada, now=NOON)
        assert invitations.accept(session, token, ada.id, NOON) == account_id
        assert roles.places_of(session, bob.id) == ()


def test_a_link_ends_after_a_week_when_it_is_withdrawn_and_when_another_is_sent(
    database: Database, account_id: str
) -> None:
    with database.transaction() as session:
        ada = accounts.create(session, email=ADA, now=NOON)
        first = invitations.invite(session, account_id, ADA, Role.MEMBER, NOON)
        later = NOON + 7 * DAY
        assert invitations.peek(session, first, later - SECOND) is not None
        assert invitations.accept(session, first, ada.id, later) is None
        row = session.exec(select(Invitation)).one()
        _, second = invitations.send_again(session, account_id, row.id, later)
        assert invitations.accept(session, first, ada.id, later) is None
        assert invitations.peek(session, second, later + 7 * DAY - SECOND) is not None
        third = invitations.invite(session, account_id, ADA, Role.VIEWER, later)
        assert invitations.peek(session, second, later) is None
        (row,) = invitations.pending(session, account_id, later)
        invitations.withdraw(session, account_id, row.id)
        assert invitations.accept(session, third, ada.id, later) is None
        for act in (
            lambda: invitations.withdraw(session, account_id, row.id),
            lambda: invitations.send_again(session, account_id, row.id, later),
        ):
            with pytest.raises(NotFound):
                act()


def test_another_account_cannot_touch_an_invitation(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        stranger = make_account(session)
        token = invitations.invite(session, account_id, ADA, Role.MEMBER, NOON)
        row = session.exec(select(Invitation)).one()
        with pytest.raises(NotFound):
            invitations.withdraw(session, stranger.id, row.id)
        with pytest.raises(NotFound):
            invitations.send_again(session, stranger.id, row.id, NOON)
        assert invitations.peek(session, token, NOON) is not None


def test_links_of_suspended_and_closed_accounts_do_not_work(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        token = invitations.invite(session, account_id, ADA, Role.MEMBER, NOON)
        ada = accounts.create(session, email=ADA, now=NOON)
        account = accounts.lock(session, account_id)
        accounts.suspend(session, account, now=NOON)
        assert invitations.accept(session, token, ada.id, NOON) is None
        accounts.restore(session, account)
        assert invitations.peek(session, token, NOON) is not None
        accounts.close(session, account_id, now=NOON)
        assert invitations.accept(session, token, ada.id, NOON) is None


def test_members_and_pending_invitations_are_at_most_twenty(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        for number in range(members.LIMIT - 5):
            person = accounts.create(session, email=f"m{number}@example.com", now=NOON)
            members.add(session, account_id, person.id, Role.MEMBER, NOON)
        for number in range(5):
            invitations.invite(session, account_id, f"i{number}@example.com", Role.MEMBER, NOON)
        with pytest.raises(InvalidParameter, match="at most 20"):
            invitations.invite(session, account_id, ADA, Role.MEMBER, NOON)
        invitations.invite(session, account_id, "i0@example.com", Role.VIEWER, NOON)  # in place of the first
        later = NOON + 8 * DAY  # those that nobody accepted do not count any more
        invitations.invite(session, account_id, ADA, Role.MEMBER, later)
        for number in range(4):
            invitations.invite(session, account_id, f"j{number}@example.com", Role.MEMBER, later)
        old = session.exec(select(Invitation).where(Invitation.email == "i1@example.com")).one()
        with pytest.raises(InvalidParameter, match="at most 20"):
            invitations.send_again(session, account_id, old.id, later)


def test_who_cannot_be_invited(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        own = session.get_one(Account, account_id).email
        ada = accounts.create(session, email=ADA, now=NOON)
        members.add(session, account_id, ada.id, Role.MEMBER, NOON)
        for email in (own, ADA):
            with pytest.raises(InvalidParameter):
                invitations.invite(session, account_id, email, Role.MEMBER, NOON)
        unconfirmed = accounts.create(session, email="new@example.com", now=NOON, is_verified=False)
        with pytest.raises(Forbidden):
            invitations.invite(session, unconfirmed.id, "bob@example.com", Role.MEMBER, NOON)


def test_invitations_are_throttled_by_account_and_by_address_apart_from_other_mails(
    database: Database, account_id: str
) -> None:
    with database.transaction() as session:
        others = [make_account(session).id for _ in range(invitations.BY_ADDRESS.attempts)]
        for other in others:
            invitations.invite(session, other, ADA, Role.MEMBER, NOON)
        with pytest.raises(RateLimited):
            invitations.invite(session, account_id, ADA, Role.MEMBER, NOON)
        assert throttle.take(session, throttle.by_email("mail", ADA), throttle.MAILS, NOON) is None
    with database.transaction() as session:
        sent = 0
        with pytest.raises(RateLimited):  # noqa: PT012 - how often it succeeds is what is asked
            for number in range(100):
                token = invitations.invite(session, account_id, f"x{number}@example.com", Role.MEMBER, NOON)
                invitations.withdraw(session, account_id, invitations.peek(session, token, NOON)[0].id)  # type: ignore[index]
                sent += 1
        assert sent in (invitations.BY_ACCOUNT.attempts, invitations.BY_ACCOUNT.attempts - 1)


def test_expired_invitations_are_deleted(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        invitations.invite(session, account_id, ADA, Role.MEMBER, NOON)
        later = NOON + invitations.LIFETIME
        assert invitations.delete_expired(session, later - timedelta(seconds=1), limit=10) == 0
        assert invitations.delete_expired(session, later, limit=10) == 1
