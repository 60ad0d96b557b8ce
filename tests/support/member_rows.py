"""Members of accounts: for tests of what they may do, and of whole databases."""

from datetime import datetime

from sqlmodel import Session

from api.auth import invitations, members
from api.memberships.models import Role
from billing.identifiers import new_id
from billing.ledger import accounts
from billing.ledger.models import Account


def make_member(
    session: Session, account_id: str, now: datetime, role: Role = Role.MEMBER, email: str = ""
) -> Account:
    """A new person with this role in the account."""
    person = accounts.create(session, email=email or f"{new_id('person')}@example.com", now=now)
    members.add(session, account_id, person.id, role, now)
    return person


def take_in(session: Session, account_id: str, now: datetime) -> None:
    """A member of the account, and somebody who is invited."""
    make_member(session, account_id, now)
    invitations.invite(session, account_id, f"{new_id('invited')}@example.com", Role.VIEWER, now)
