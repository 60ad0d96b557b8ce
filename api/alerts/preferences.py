"""Which alerts an account's owner gets by mail. Webhooks are chosen by the events of each endpoint."""

from collections.abc import Collection
from datetime import datetime

from sqlmodel import Session, col, delete

from api.alerts.models import Alert, AlertKind, AlertPreference
from billing.ledger import accounts


def muted(session: Session, account_id: str) -> set[AlertKind]:
    """The kinds whose mails are switched off."""
    row = session.get(AlertPreference, account_id, populate_existing=True)
    known = set(AlertKind)
    return set() if row is None else {AlertKind(name) for name in row.muted.split(",") if name in known}


def set_muted(session: Session, account_id: str, kinds: Collection[AlertKind]) -> None:
    """Switch off the mails of these kinds, and no others. Raises as `accounts.lock`."""
    accounts.lock(session, account_id)
    _store(session, account_id, kinds)


def mute(session: Session, account_id: str, kind: AlertKind) -> None:
    """Switch off the mails of one more kind. Raises as `accounts.lock`."""
    accounts.lock(session, account_id)
    _store(session, account_id, muted(session, account_id) | {kind})


def delete_all(session: Session, account_id: str, _now: datetime) -> None:
    """Delete the account's alerts and preferences, because it is deleted."""
    accounts.lock_even_closed(session, account_id)
    for table in (Alert, AlertPreference):
        session.execute(delete(table).where(col(table.account_id) == account_id))


def _store(session: Session, account_id: str, kinds: Collection[AlertKind]) -> None:
    session.merge(
        AlertPreference(account_id=account_id, muted=",".join(kind for kind in AlertKind if kind in kinds))
    )
    session.flush()
