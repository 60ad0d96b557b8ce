"""Sign-up, address verification and password reset."""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session

from api.auth import api_keys, sessions, tokens
from api.auth.former_accounts import FormerAddresses
from api.auth.models import OneTimeToken, Password, Purpose
from billing.errors import AccountExists, UnknownAccount
from billing.ledger import accounts
from billing.ledger.models import Account

OPERATOR_EMAIL = "operator@localhost"


@dataclass(frozen=True)
class SignUp:
    """The result of a sign-up. Only the mail reveals `is_new`, never the page."""

    is_new: bool
    #: Confirms the address of a new account, or resets the password of an existing one.
    token: str | None  # None: the account was closed by the operator


def sign_up(
    session: Session,
    former: FormerAddresses,
    email: str,
    password_hash: str,
    *,
    now: datetime,
    browser_token: str = "",
    is_verified: bool = False,
) -> SignUp:
    """Create an account with a password. An existing account is not changed."""
    try:
        account = accounts.create(session, email=email, now=now, is_verified=is_verified)
    except AccountExists:
        return SignUp(False, ask_for_reset(session, email, now=now))
    former.continue_period(session, account, now)
    set_password(session, account.id, password_hash, now=now)
    return SignUp(True, ask_to_verify(session, account.id, now=now, browser_token=browser_token))


def ask_to_verify(session: Session, account_id: str, *, now: datetime, browser_token: str = "") -> str:
    """Create the token of a link that verifies the account's address."""
    return tokens.create(session, account_id, Purpose.VERIFY, now=now, browser_token=browser_token)


def verify(session: Session, token: str, *, now: datetime) -> OneTimeToken | None:
    """Mark the address as verified. Returns the used token's row; None if the token is not valid."""
    used = tokens.use(session, token, Purpose.VERIFY, now)
    if used is None:
        return None
    accounts.verify(session, accounts.lock(session, used.account_id), now=now)
    tokens.withdraw(session, used.account_id, Purpose.VERIFY)
    return used


def ask_for_reset(session: Session, email: str, *, now: datetime) -> str | None:
    """Create the token of a password reset link; None if there is no open account of this address."""
    account = open_account(session, email)
    return None if account is None else tokens.create(session, account.id, Purpose.RESET, now=now)


def reset(session: Session, token: str, password_hash: str, *, now: datetime) -> str | None:
    """Set a new password by a mailed link; returns the account's id, None for an invalid token.

    Every session ends. The link also verifies the address. If the address was unverified before, another
    person may have signed up with it, so the API keys are revoked too.
    """
    used = tokens.use(session, token, Purpose.RESET, now)
    if used is None:
        return None
    account = accounts.lock(session, used.account_id)
    if account.verified_at is None:
        for key in api_keys.listed(session, account.id):
            api_keys.revoke(session, account.id, key.id, now)
        accounts.verify(session, account, now=now)
    change_password(session, account.id, password_hash, now=now)
    return account.id


def change_password(session: Session, account_id: str, password_hash: str, *, now: datetime) -> None:
    """Change the password. Ends every session and revokes every unused mailed link.

    Otherwise an old link in a compromised mailbox could reset the password again.
    """
    set_password(session, account_id, password_hash, now=now)
    sessions.end_all(session, account_id)
    tokens.withdraw(session, account_id)


def set_password(session: Session, account_id: str, password_hash: str, *, now: datetime) -> None:
    """Store a password hash without ending sessions: for a new account, or to strengthen an existing hash."""
    row = session.get(Password, account_id)
    if row is None:
        session.add(Password(account_id=account_id, hash=password_hash, changed_at=now))
    else:
        row.hash, row.changed_at = password_hash, now
    session.flush()


def open_account(session: Session, email: str) -> Account | None:
    """The account of this address; None if it does not exist or was closed."""
    try:
        account = accounts.find_by_email(session, email)
    except UnknownAccount:
        return None
    return account if account.closed_at is None else None


def password_of(session: Session, account_id: str) -> str | None:
    """The stored hash; None if the account only uses external identities."""
    row = session.get(Password, account_id)
    return row.hash if row is not None else None


def operators_token(session: Session, *, now: datetime) -> str:
    """Create a one-time login token for the operator's account, which is created if necessary."""
    account = open_account(session, OPERATOR_EMAIL)
    if account is None:
        account = accounts.create(session, email=OPERATOR_EMAIL, now=now)
    return tokens.create(session, account.id, Purpose.LOGIN, now=now)
