"""Members of an account: list, change roles, remove, leave. A removal ends everything in one transaction."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, delete, or_, select, update

from api.auth import api_keys
from api.auth.models import BrowserSession
from api.errors import NotFound
from api.memberships import roles
from api.memberships.models import Invitation, Membership, Role
from billing.ledger import accounts
from billing.ledger.models import Account

#: Members and pending invitations of one account together.
LIMIT = 20
_DELETED = "a deleted account"
_UNKNOWN = "There is no such member."


@dataclass(frozen=True)
class AccountMember:
    person_id: str
    email: str
    role: Role
    since: datetime


def listed(session: Session, account_id: str) -> list[AccountMember]:
    """The account's members, by address."""
    found = session.exec(
        select(Membership, Account)
        .join(Account, col(Account.id) == col(Membership.person_id))
        .where(Membership.account_id == account_id)
        .order_by(col(Account.email))
    )
    return [AccountMember(person.id, person.email, Role(row.role), row.created_at) for row, person in found]


def names_of(session: Session, person_ids: Collection[str]) -> dict[str, str]:
    """The address of each person, by id; of a deleted account "a deleted account"."""
    found = session.exec(select(Account).where(col(Account.id).in_(person_ids))) if person_ids else ()
    return {each.id: each.email if each.closed_at is None else _DELETED for each in found}


def add(session: Session, account_id: str, person_id: str, role: Role, now: datetime) -> None:
    """Add a member, or give it this role. The account is locked."""
    row = session.get(Membership, (account_id, person_id), populate_existing=True)
    if row is None:
        session.add(Membership(account_id=account_id, person_id=person_id, role=role.value, created_at=now))
    else:
        row.role = role.value
    session.flush()


def change_role(session: Session, account_id: str, person_id: str, role: Role, now: datetime) -> None:
    """Change the role from the next request on. A viewer's keys end, because keys spend credits.

    Raises NotFound, and what `accounts.lock` raises.
    """
    accounts.lock(session, account_id)
    row = session.get(Membership, (account_id, person_id), populate_existing=True)
    if row is None:
        raise NotFound(_UNKNOWN)
    row.role = role.value
    session.flush()
    if role is not Role.MEMBER:
        api_keys.revoke_of_person(session, account_id, person_id, now)


def remove(session: Session, account_id: str, person_id: str, now: datetime) -> None:
    """End the membership: no more access from the next request on, and the person's keys there end.

    Leaving is the same. Works in suspended accounts too. Raises NotFound.
    """
    accounts.lock_even_closed(session, account_id)
    ended = session.execute(
        delete(Membership)
        .where(col(Membership.account_id) == account_id, col(Membership.person_id) == person_id)
        .returning(col(Membership.person_id))
    )
    if ended.first() is None:
        raise NotFound(_UNKNOWN)
    api_keys.revoke_of_person(session, account_id, person_id, now)
    session.execute(
        update(BrowserSession)
        .where(
            col(BrowserSession.account_id) == person_id,
            col(BrowserSession.acting_account_id) == account_id,
        )
        .values(acting_account_id=None)
    )


def choose(session: Session, session_id: str, person_id: str, account_id: str) -> None:
    """Let a browser's session work in this account from the next request on. Raises NotFound."""
    is_own = account_id == person_id
    if not is_own and account_id not in {each.account_id for each in roles.places_of(session, person_id)}:
        raise NotFound("There is no such account.")
    session.execute(
        update(BrowserSession)
        .where(col(BrowserSession.id) == session_id, col(BrowserSession.account_id) == person_id)
        .values(acting_account_id=None if is_own else account_id)
    )


def lock_all(session: Session, account_id: str) -> None:
    """Lock the account and those in which it is a member, in the order of their ids, before it is deleted."""
    places = session.exec(select(Membership.account_id).where(Membership.person_id == account_id))
    for each in sorted({account_id, *places}):
        accounts.lock_even_closed(session, each)


def end_of_account(session: Session, account_id: str, now: datetime) -> None:
    """End all memberships in the deleted account and of it, and its invitations. Call `lock_all` first."""
    session.execute(delete(Invitation).where(col(Invitation.account_id) == account_id))
    concerned = or_(col(Membership.account_id) == account_id, col(Membership.person_id) == account_id)
    rows = session.exec(select(Membership).where(concerned)).all()
    for place_id, person_id in [(row.account_id, row.person_id) for row in rows]:
        remove(session, place_id, person_id, now)
