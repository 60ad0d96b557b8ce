"""What a person may do in an account, read from the database each time, so that every change acts at once."""

from dataclasses import dataclass

from sqlmodel import Session, col, select

from api.errors import Forbidden, NoCreditsForMember
from api.memberships.models import Membership, Role
from billing.errors import BudgetSpent, InsufficientCredits
from billing.ledger.models import Account

#: Says the same of an account that does not exist.
NO_MEMBER = "You are not a member of this account any more."
VIEWERS_REFUSAL = "Your role in this account lets you look, but not change anything."
OWNERS_ONLY = "Only the owner of this account may do this. Choose your own account first."


@dataclass(frozen=True)
class Place:
    """An account in which a person works, and as what."""

    account_id: str
    email: str  # the account's
    role: Role


def places_of(session: Session, person_id: str) -> tuple[Place, ...]:
    """The other accounts in which the person may work now, by address. Suspended and closed ones are none."""
    found = session.exec(
        select(Membership, Account)
        .join(Account, col(Account.id) == col(Membership.account_id))
        .where(
            Membership.person_id == person_id,
            col(Account.suspended_at).is_(None),
            col(Account.closed_at).is_(None),
        )
        .order_by(col(Account.email))
    )
    return tuple(Place(account.id, account.email, Role(row.role)) for row, account in found)


def require_member(session: Session, account_id: str, person_id: str | None) -> None:
    """Raises Forbidden unless the person may spend the account's credits. None: the account's owner.

    Call it with the account locked, in the transaction that starts something: a removal locks it too.
    """
    if person_id is None or person_id == account_id:
        return
    row = session.get(Membership, (account_id, person_id), populate_existing=True)
    if row is None:
        raise Forbidden(NO_MEMBER)
    if row.role != Role.MEMBER:
        raise Forbidden(VIEWERS_REFUSAL)


def as_told_to_member(error: Exception) -> Exception:
    """The error for a member of an account, whose owner alone buys credits and confirms its address.

    Members choose the limits of their own keys, so that `BudgetSpent` is unchanged, as other errors are.
    """
    if isinstance(error, InsufficientCredits) and not isinstance(error, BudgetSpent):
        return NoCreditsForMember(str(error), error.renews_at)
    return error
