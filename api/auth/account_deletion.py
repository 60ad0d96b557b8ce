"""Account deletion: personal data is deleted, the ledger is kept."""

from datetime import datetime

from sqlmodel import Session, col, delete, update

from api.auth import api_keys, members, sessions, tokens
from api.auth.former_accounts import FormerAddresses
from api.auth.models import Identity, Password
from api.images.models import Image
from billing.ledger import accounts


def delete_account(session: Session, former: FormerAddresses, account_id: str, *, now: datetime) -> None:
    """Delete keys, sessions and identities at once, images with the next cleanup, and release the address.

    The account's row stays without its address, because the ledger entries that refer to it are kept.
    Raises UnknownAccount, AccountClosed.
    """
    members.lock_all(session, account_id)
    account = accounts.lock(session, account_id)
    members.end_of_account(session, account_id, now)
    for key in api_keys.listed(session, account_id):
        api_keys.revoke(session, account_id, key.id, now)
    api_keys.forget_uses(session, account_id)
    sessions.end_all(session, account_id)
    tokens.withdraw(session, account_id)
    for table in (Password, Identity):
        session.execute(delete(table).where(col(table.account_id) == account_id))
    session.execute(update(Image).where(col(Image.account_id) == account_id).values(expires_at=now))
    former.remember(session, account, now)
    account.email = f"deleted:{account_id}"
    accounts.close(session, account_id, now=now)
