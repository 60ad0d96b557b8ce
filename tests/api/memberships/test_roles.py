"""What a person may do in an account is read anew each time, and decided with the account locked."""

import concurrent.futures
from typing import Any

import pytest

from api.auth import api_keys, members
from api.calls.admission import Admitted
from api.db.database import Database
from api.errors import Forbidden
from api.memberships import roles
from api.memberships.models import Role
from api.memberships.roles import Place
from billing.ledger import accounts, ledger
from billing.ledger.audit import audit
from billing.ledger.models import Account
from tests.support.builders import NOON
from tests.support.load import account_with, admit, admitted, succeed
from tests.support.member_rows import make_member


def test_only_members_may_spend(database: Database) -> None:
    with database.transaction() as session:
        account = account_with(session, credits=4)
        member = make_member(session, account.id, NOON)
        viewer = make_member(session, account.id, NOON, Role.VIEWER)
        stranger = account_with(session, credits=0)
        for person_id in (None, account.id, member.id):
            admitted(session, account.id, key=str(person_id), person_id=person_id)
        for person, reason in ((viewer, roles.VIEWERS_REFUSAL), (stranger, roles.NO_MEMBER)):
            with pytest.raises(Forbidden, match=reason):
                admit(session, account.id, person_id=person.id)
        assert session.get_one(Account, account.id).held == 3


def test_places_are_those_that_work_now(database: Database) -> None:
    with database.transaction() as session:
        account, other = account_with(session, credits=1), account_with(session, credits=1)
        person = make_member(session, account.id, NOON)
        members.add(session, other.id, person.id, Role.VIEWER, NOON)
        assert roles.places_of(session, person.id) == tuple(
            sorted(
                (
                    Place(account.id, account.email, Role.MEMBER),
                    Place(other.id, other.email, Role.VIEWER),
                ),
                key=lambda place: place.email,
            )
        )
        accounts.suspend(session, accounts.lock(session, account.id), now=NOON)
        assert [place.account_id for place in roles.places_of(session, person.id)] == [other.id]
        accounts.close(session, other.id, now=NOON)
        assert roles.places_of(session, person.id) == ()
        accounts.restore(session, accounts.lock_even_closed(session, account.id))
        assert [place.account_id for place in roles.places_of(session, person.id)] == [account.id]


def test_the_account_is_charged_exactly_for_owner_and_members_at_once(database: Database) -> None:
    """Five of eight calls of three persons find a credit, and each is charged once."""
    with database.transaction() as session:
        account_id = account_with(session, credits=5).id
        people = [None, *(make_member(session, account_id, NOON).id for _ in range(2))]

    def call(number: int) -> bool:
        def work(session: Any) -> bool:
            outcome = admit(session, account_id, key=f"{number}", person_id=people[number % 3])
            if not isinstance(outcome, Admitted):
                return False
            succeed(session, outcome)
            return True

        return database.submit(work).result()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(call, range(8))) == 5
    with database.transaction() as session:
        account = session.get_one(Account, account_id)
        assert (account.available, account.held) == (0, 0)
        assert audit(session) == []


def test_a_removal_leaves_what_runs_and_lets_nothing_more_start(database: Database) -> None:
    with database.transaction() as session:
        account = account_with(session, credits=3)
        member = make_member(session, account.id, NOON)
        running = admitted(session, account.id, key="runs", person_id=member.id)
        key, _ = api_keys.create(session, account.id, "n", NOON, person_id=member.id)
        members.remove(session, account.id, member.id, NOON)
        with pytest.raises(Forbidden):
            admit(session, account.id, key="more", person_id=member.id)
        with pytest.raises(Forbidden):
            api_keys.create(session, account.id, "n", NOON, person_id=member.id)
        succeed(session, running)
        left = session.get_one(Account, account.id)
        assert (left.available, left.held) == (2, 0)
        assert key.revoked_at == NOON or session.get_one(type(key), key.id).revoked_at == NOON
        ledger.refresh(session, left, NOON)
        assert audit(session) == []
