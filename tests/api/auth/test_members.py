"""Members: roles, removal, leaving, and what ends with the membership."""

from collections.abc import Callable
from functools import partial

import pytest
from sqlmodel import Session, select

from api.auth import account_deletion, api_keys, invitations, members, sessions
from api.auth.models import ApiKey, BrowserSession
from api.db.database import Database
from api.errors import Forbidden, InvalidApiKey, NotFound
from api.memberships import roles
from api.memberships.models import Invitation, Membership, Role
from billing.errors import AccountSuspended
from billing.ledger import accounts
from tests.support.auth_rows import FORMER
from tests.support.builders import NOON, make_account
from tests.support.load import account_with
from tests.support.member_rows import make_member, take_in

Ending = Callable[[Session, str, str], None]


def remove(session: Session, account_id: str, person_id: str) -> None:
    members.remove(session, account_id, person_id, NOON)


def delete_owner(session: Session, account_id: str, person_id: str) -> None:
    account_deletion.delete_account(session, FORMER, account_id, now=NOON)


def delete_person(session: Session, account_id: str, person_id: str) -> None:
    account_deletion.delete_account(session, FORMER, person_id, now=NOON)


@pytest.mark.parametrize("end", [remove, delete_owner, delete_person])
def test_the_end_of_a_membership_ends_the_keys_that_the_member_made(database: Database, end: Ending) -> None:
    with database.transaction() as session:
        account, other = account_with(session, credits=1), account_with(session, credits=1)
        person = make_member(session, account.id, NOON)
        colleague = make_member(session, account.id, NOON)
        members.add(session, other.id, person.id, Role.MEMBER, NOON)
        made = sessions.create(session, person.id, now=NOON)
        members.choose(session, made.session_id, person.id, account.id)
        plain = {
            name: api_keys.create(session, place.id, name, NOON, person_id=maker)[1]
            for name, place, maker in (
                ("of the member", account, person.id),
                ("of a colleague", account, colleague.id),
                ("of the owner", account, None),
                ("elsewhere", other, person.id),
            )
        }
        account_id, person_id = account.id, person.id
    with database.transaction() as session:
        end(session, account_id, person_id)
    with database.transaction() as session:
        works = set()
        for name, key in plain.items():
            try:
                api_keys.find(session, key, NOON)
            except InvalidApiKey:
                continue
            works.add(name)
        left: dict[Ending, set[str]] = {
            remove: {"of a colleague", "of the owner", "elsewhere"},
            delete_owner: {"elsewhere"},
            delete_person: {"of a colleague", "of the owner"},
        }
        assert works == left[end]
        assert account_id not in {place.account_id for place in roles.places_of(session, person_id)}
        row = session.get(BrowserSession, made.session_id)
        if end is delete_person:
            assert row is None
            assert roles.places_of(session, person_id) == ()
        else:
            assert row is not None
            assert row.acting_account_id is None
        if end is delete_owner:
            assert session.exec(select(Membership).where(Membership.account_id == account_id)).all() == []


def test_a_deleted_account_takes_its_invitations_along(database: Database) -> None:
    with database.transaction() as session:
        account = account_with(session, credits=1)
        take_in(session, account.id, NOON)
        account_deletion.delete_account(session, FORMER, account.id, now=NOON)
        assert session.exec(select(Invitation)).all() == []


def test_a_viewer_keeps_no_keys(database: Database) -> None:
    with database.transaction() as session:
        account = account_with(session, credits=1)
        person = make_member(session, account.id, NOON)
        key, _ = api_keys.create(session, account.id, "n", NOON, person_id=person.id)
        members.change_role(session, account.id, person.id, Role.VIEWER, NOON)
        session.refresh(key)
        assert key.revoked_at == NOON
        with pytest.raises(Forbidden, match=roles.VIEWERS_REFUSAL):
            api_keys.create(session, account.id, "n", NOON, person_id=person.id)
        members.change_role(session, account.id, person.id, Role.MEMBER, NOON)
        api_keys.create(session, account.id, "n", NOON, person_id=person.id)
        assert session.get_one(ApiKey, key.id).revoked_at == NOON


def test_members_change_only_their_own_keys(database: Database) -> None:
    with database.transaction() as session:
        account = account_with(session, credits=1)
        person, colleague = (make_member(session, account.id, NOON) for _ in range(2))
        owners, _ = api_keys.create(session, account.id, "n", NOON)
        others, _ = api_keys.create(session, account.id, "n", NOON, person_id=colleague.id)
        own, _ = api_keys.create(session, account.id, "n", NOON, person_id=person.id)
        for key in (owners, others):
            with pytest.raises(Forbidden):
                api_keys.revoke(session, account.id, key.id, NOON, person_id=person.id)
            with pytest.raises(Forbidden):
                api_keys.rotate(session, account.id, key.id, grace_seconds=0, now=NOON, person_id=person.id)
            with pytest.raises(Forbidden):
                api_keys.change_settings(
                    session, account.id, key.id, api_keys.NO_SETTINGS, NOON, person_id=person.id
                )
        rotated, _ = api_keys.rotate(
            session, account.id, own.id, grace_seconds=60, now=NOON, person_id=person.id
        )
        assert rotated.created_by_id == person.id
        api_keys.revoke(session, account.id, rotated.id, NOON, person_id=person.id)
        api_keys.revoke(session, account.id, others.id, NOON)  # the owner's right


def test_keys_of_a_suspended_person_stop_everywhere_until_it_is_restored(database: Database) -> None:
    with database.transaction() as session:
        account = account_with(session, credits=1)
        person = make_member(session, account.id, NOON)
        _, plain = api_keys.create(session, account.id, "n", NOON, person_id=person.id)
        _, owners = api_keys.create(session, account.id, "n", NOON)
        accounts.suspend(session, person, now=NOON)
        with pytest.raises(AccountSuspended):
            api_keys.find(session, plain, NOON)
        api_keys.find(session, owners, NOON)
        accounts.restore(session, person)
        api_keys.find(session, plain, NOON)


def test_only_accounts_of_the_person_can_be_chosen(database: Database) -> None:
    with database.transaction() as session:
        account, other = account_with(session, credits=1), account_with(session, credits=1)
        person = make_member(session, account.id, NOON)
        made = sessions.create(session, person.id, now=NOON)
        for wrong in (other.id, "acc_none", ""):
            with pytest.raises(NotFound):
                members.choose(session, made.session_id, person.id, wrong)
        members.choose(session, made.session_id, person.id, account.id)
        row = session.get_one(BrowserSession, made.session_id, populate_existing=True)
        assert row.acting_account_id == account.id
        members.choose(session, made.session_id, person.id, person.id)
        assert session.get_one(BrowserSession, row.id, populate_existing=True).acting_account_id is None


def test_one_leaves_a_suspended_account_but_nobody_leaves_twice(database: Database) -> None:
    with database.transaction() as session:
        account = account_with(session, credits=1)
        person = make_member(session, account.id, NOON)
        accounts.suspend(session, account, now=NOON)
        members.remove(session, account.id, person.id, NOON)
        for gone in (person.id, make_account(session).id):
            with pytest.raises(NotFound):
                members.remove(session, account.id, gone, NOON)


def test_names_of_deleted_persons_are_not_shown(database: Database) -> None:
    with database.transaction() as session:
        account = account_with(session, credits=1)
        person, colleague = (make_member(session, account.id, NOON) for _ in range(2))
        email = colleague.email
        account_deletion.delete_account(session, FORMER, person.id, now=NOON)
        assert members.names_of(session, {person.id, colleague.id}) == {
            person.id: "a deleted account",
            colleague.id: email,
        }
        assert [member.person_id for member in members.listed(session, account.id)] == [colleague.id]
        assert invitations.pending(session, account.id, NOON) == []


def test_members_who_delete_their_accounts_at_once_do_not_wait_for_each_other(database: Database) -> None:
    """Each is a member of the other's account, so both deletions lock both accounts, in one order."""
    with database.transaction() as session:
        one, other = account_with(session, credits=1), account_with(session, credits=1)
        members.add(session, one.id, other.id, Role.MEMBER, NOON)
        members.add(session, other.id, one.id, Role.MEMBER, NOON)
        ids = one.id, other.id

    def delete(session: Session, account_id: str) -> None:
        account_deletion.delete_account(session, FORMER, account_id, now=NOON)

    work = [database.submit(partial(delete, account_id=each)) for each in ids]
    for each in work:
        each.result(timeout=20)
    with database.transaction() as session:
        assert session.exec(select(Membership)).all() == []
