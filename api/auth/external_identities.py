"""Sign-in with external providers: finds, creates and links accounts, never with an unverified address."""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from api.auth import registration, tokens
from api.auth.former_accounts import FormerAddresses
from api.auth.models import Identity, Password
from api.errors import Forbidden, NotFound
from billing.identifiers import new_id
from billing.ledger import accounts
from billing.ledger.models import Account
from billing.text import is_storable_text

#: The maximum of OpenID Connect.
_SUBJECT_LENGTH_MAX = 255


@dataclass(frozen=True)
class Claim:
    """A provider's claim about the user who signed in."""

    issuer: str
    subject: str
    email: str  # "" if it is not provided
    is_verified: bool  # the provider verified that the address belongs to the user


def account_for(session: Session, former: FormerAddresses, claim: Claim, *, now: datetime) -> str:
    """The id of the account for `claim`: the linked one, else the one with its address, else a new one.

    Raises Forbidden if the address was not verified by the provider, or not by the existing account:
    somebody else may have signed up with this address and would share the account.
    """
    _require_subject(claim)
    linked = _find(session, claim)
    if linked is not None:
        if session.get_one(Account, linked.account_id).closed_at is not None:
            raise Forbidden("This account was closed.")
        return linked.account_id
    _require_proof(claim)
    account = registration.open_account(session, claim.email)
    if account is None:
        # The address of an account that the operator closed stays taken.
        if _is_taken(session, claim.email):
            raise Forbidden("This account was closed.")
        account = accounts.create(session, email=claim.email, now=now)
        former.continue_period(session, account, now)
    elif account.verified_at is None:
        raise Forbidden(
            "There is an account with this address, but the address was never confirmed."
            " Choose a new password for it by mail; after that this sign-in can be linked."
        )
    _add(session, account.id, claim, now)
    return account.id


def link(session: Session, account_id: str, claim: Claim, *, now: datetime) -> None:
    """Link the identity to an account whose owner is signed in. Raises Forbidden."""
    _require_subject(claim)
    linked = _find(session, claim)
    if linked is not None:
        if linked.account_id != account_id:
            raise Forbidden("This sign-in belongs to another account here.")
        return
    _require_proof(claim)
    if session.get_one(Account, account_id).verified_at is None:
        raise Forbidden("Confirm your address first.")
    _add(session, account_id, claim, now)


def listed(session: Session, account_id: str) -> list[Identity]:
    """The account's linked identities, oldest first."""
    statement = select(Identity).where(Identity.account_id == account_id)
    return list(session.exec(statement.order_by(col(Identity.created_at), col(Identity.id))))


def unlink(session: Session, account_id: str, identity_id: str) -> None:
    """Unlink an identity. Raises NotFound; Forbidden if it is the only way to sign in."""
    identities = listed(session, account_id)
    found = next((one for one in identities if one.id == identity_id), None)
    if found is None:
        raise NotFound("There is no such linked sign-in.")
    if len(identities) == 1 and session.get(Password, account_id) is None:
        raise Forbidden("This is the only way to sign in to your account. Set a password first.")
    session.delete(found)
    session.flush()
    tokens.withdraw(session, account_id)


def _find(session: Session, claim: Claim) -> Identity | None:
    return session.exec(
        select(Identity).where(Identity.issuer == claim.issuer, Identity.subject == claim.subject)
    ).one_or_none()


def _require_subject(claim: Claim) -> None:
    """Raises Forbidden for a subject that cannot be stored: it comes from untrusted JSON."""
    if not claim.subject or len(claim.subject) > _SUBJECT_LENGTH_MAX or not is_storable_text(claim.subject):
        raise Forbidden("The other service did not say who signed in.")


def _require_proof(claim: Claim) -> None:
    if not claim.email or not claim.is_verified:
        raise Forbidden("The other service has not confirmed your e-mail address. Confirm it there first.")
    if not accounts.is_storable(claim.email):
        raise Forbidden("The other service sent an e-mail address that cannot be used here.")


def _is_taken(session: Session, email: str) -> bool:
    address = accounts.normalise_email(email)
    return session.exec(select(Account.id).where(Account.email == address)).first() is not None


def _add(session: Session, account_id: str, claim: Claim, now: datetime) -> None:
    """Store the identity. As with every change of credentials, unused mailed links are revoked."""
    tokens.withdraw(session, account_id)
    session.add(
        Identity(
            id=new_id("idt"),
            account_id=account_id,
            issuer=claim.issuer,
            subject=claim.subject,
            email=claim.email,
            created_at=now,
        )
    )
    session.flush()
