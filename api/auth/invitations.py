"""Invitations to an account: a mailed link that whoever has the address accepts, once, within a week.

Nothing here looks for an account of the invited address, so that inviting tells nothing about it. Only the
hash of a link's token is stored.
"""

import secrets
from datetime import datetime, timedelta

from sqlmodel import Session, col, delete, select

from api.auth import members, throttle
from api.auth.sessions import hash_of
from api.errors import Forbidden, InvalidParameter, NotFound
from api.memberships.models import Invitation, Role
from billing.errors import AccountClosed, AccountSuspended
from billing.identifiers import new_id
from billing.ledger import accounts
from billing.ledger.models import Account

LIFETIME = timedelta(days=7)
#: Invitations that one account sends, and those that one address gets from all accounts together. They have
#: buckets of their own, so that invitations cannot keep anybody's confirmation or reset links away.
BY_ACCOUNT = throttle.Limit(30, timedelta(hours=1))
BY_ADDRESS = throttle.Limit(5, timedelta(hours=1))
_TOKEN_LENGTH_MAX = 100
_FULL = f"An account has at most {members.LIMIT} members and pending invitations."


def invite(session: Session, account_id: str, email: str, role: Role, now: datetime) -> str:
    """Invite the address, and return the link's token. An earlier invitation of it ends.

    Raises InvalidParameter for an address that cannot be invited and for a full account, Forbidden before
    the account's own address is confirmed, RateLimited, and what `accounts.lock` raises.
    """
    account = accounts.lock(session, account_id)
    address = accounts.normalise_email(email)
    if account.verified_at is None:
        raise Forbidden("Confirm your own address before you invite anybody.")
    if address == account.email:
        raise InvalidParameter("email", "This is your own address.")
    present = members.listed(session, account_id)
    if any(member.email == address for member in present):
        raise InvalidParameter("email", "This person is a member already. Change the role in the list.")
    others = [each for each in pending(session, account_id, now) if each.email != address]
    if len(present) + len(others) >= members.LIMIT:
        raise InvalidParameter("email", _FULL)
    _take(session, account_id, address, now)
    session.execute(
        delete(Invitation).where(col(Invitation.account_id) == account_id, col(Invitation.email) == address)
    )
    token = secrets.token_urlsafe(32)
    session.add(
        Invitation(
            id=new_id("inv"),
            account_id=account_id,
            email=address,
            role=role.value,
            token_sha256=hash_of(token),
            created_at=now,
            expires_at=now + LIFETIME,
        )
    )
    session.flush()
    return token


def send_again(
    session: Session, account_id: str, invitation_id: str, now: datetime
) -> tuple[Invitation, str]:
    """Give the invitation a new link, which is valid for a week again; the old one ends.

    Raises NotFound, RateLimited, and what `accounts.lock` raises.
    """
    accounts.lock(session, account_id)
    row = _owned(session, account_id, invitation_id)
    _take(session, account_id, row.email, now)
    if (
        row.expires_at <= now
        and len(members.listed(session, account_id)) + len(pending(session, account_id, now)) >= members.LIMIT
    ):
        raise InvalidParameter("email", _FULL)
    token = secrets.token_urlsafe(32)
    row.token_sha256, row.expires_at = hash_of(token), now + LIFETIME
    session.flush()
    return row, token


def withdraw(session: Session, account_id: str, invitation_id: str) -> None:
    """End the invitation; its link does not work any more. Raises NotFound."""
    accounts.lock(session, account_id)
    session.delete(_owned(session, account_id, invitation_id))
    session.flush()


def pending(session: Session, account_id: str, now: datetime) -> list[Invitation]:
    """The account's invitations that can be accepted, newest first."""
    return list(
        session.exec(
            select(Invitation)
            .where(Invitation.account_id == account_id, col(Invitation.expires_at) > now)
            .order_by(col(Invitation.created_at).desc(), col(Invitation.id))
        )
    )


def peek(session: Session, token: str, now: datetime) -> tuple[Invitation, Account] | None:
    """The invitation of this token and its account; None if it cannot be accepted. It is not used up."""
    if len(token) > _TOKEN_LENGTH_MAX:
        return None
    return session.exec(
        select(Invitation, Account)
        .join(Account, col(Account.id) == col(Invitation.account_id))
        .where(
            Invitation.token_sha256 == hash_of(token),
            col(Invitation.expires_at) > now,
            col(Account.closed_at).is_(None),
            col(Account.suspended_at).is_(None),
        )
    ).one_or_none()


def accept(session: Session, token: str, person_id: str, now: datetime) -> str | None:
    """Make the person a member; returns the account's id, None for a link that does not work (any more).

    Of two concurrent uses one gets None. Raises Forbidden unless the person's address is confirmed and is
    the invited one.
    """
    found = peek(session, token, now)
    if found is None:
        return None
    invitation = found[0]
    account_id, role = invitation.account_id, Role(invitation.role)
    person = session.get_one(Account, person_id)
    if person.email != invitation.email:
        raise Forbidden("This invitation was sent to another address. Log in with that one.")
    if person.verified_at is None:
        raise Forbidden("Confirm your address first.")
    session.expunge(invitation)
    try:
        accounts.lock(session, account_id)
    except (AccountClosed, AccountSuspended):
        return None
    used = delete(Invitation).where(
        col(Invitation.id) == invitation.id, col(Invitation.token_sha256) == hash_of(token)
    )
    if session.execute(used.returning(col(Invitation.id))).first() is None:
        return None
    members.add(session, account_id, person_id, role, now)
    return account_id


def delete_expired(session: Session, now: datetime, *, limit: int) -> int:
    """Delete up to `limit` expired invitations; returns the number deleted."""
    expired = select(Invitation.id).where(col(Invitation.expires_at) <= now).limit(limit)
    deleted = session.execute(
        delete(Invitation)
        .where(col(Invitation.id).in_(expired))
        .returning(col(Invitation.id))
        .execution_options(synchronize_session=False)
    )
    return len(deleted.all())


def _take(session: Session, account_id: str, address: str, now: datetime) -> None:
    throttle.require(session, throttle.by_email("inviting", account_id), BY_ACCOUNT, now)
    throttle.require(session, throttle.by_email("invited", address), BY_ADDRESS, now)


def _owned(session: Session, account_id: str, invitation_id: str) -> Invitation:
    row = session.exec(
        select(Invitation).where(Invitation.id == invitation_id, Invitation.account_id == account_id)
    ).one_or_none()
    if row is None:
        raise NotFound("This invitation does not exist. It may have been accepted or withdrawn.")
    return row
