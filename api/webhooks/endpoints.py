"""An account's endpoints: created, changed, rotated, disabled and deleted.

Functions take a session and never commit. Those that change an account's endpoints lock the account, so that
no message is recorded for an endpoint that is being deleted.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlmodel import Session, col, delete, select
from sqlmodel.sql.expression import SelectOfScalar

from api.errors import InvalidParameter, InvalidRequest, NotFound
from api.webhooks import signatures
from api.webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookEvent, WebhookMessage
from billing.identifiers import new_id
from billing.ledger import accounts

#: The name of the endpoint that signs messages to the `callback_url` of jobs.
CALLBACKS = "callbacks"
LIMIT = 10
#: How long messages are signed with the former secret too after a rotation.
ROTATION_GRACE = timedelta(hours=24)
_NO_SUCH_ENDPOINT = "There is no such webhook."


def create(
    session: Session, account_id: str, url: str, events: Sequence[WebhookEvent], now: datetime
) -> WebhookEndpoint:
    """A new endpoint. Raises `InvalidParameter` beyond `LIMIT`, and as `accounts.lock`."""
    accounts.lock(session, account_id)
    if sum(each.url is not None for each in listed(session, account_id)) >= LIMIT:
        raise InvalidParameter("url", f"An account has at most {LIMIT} webhooks. Delete one first.")
    return _add(session, account_id, url, events, now)


def callbacks(session: Session, account_id: str, now: datetime) -> WebhookEndpoint:
    """The endpoint for the `callback_url` of jobs, created on first use. The account must be locked."""
    existing = session.exec(_of(account_id).where(col(WebhookEndpoint.url).is_(None))).first()
    return existing or _add(session, account_id, None, (), now)


def find(session: Session, account_id: str, webhook_id: str) -> WebhookEndpoint:
    """The account's endpoint, by its id or as `CALLBACKS`.

    Raises `NotFound`, the same for an unknown one and another account's.
    """
    if webhook_id == CALLBACKS:
        found = session.exec(_of(account_id).where(col(WebhookEndpoint.url).is_(None))).first()
    else:
        found = session.exec(_of(account_id).where(col(WebhookEndpoint.id) == webhook_id)).first()
    if found is None:
        raise NotFound(_NO_SUCH_ENDPOINT)
    return found


def lock(session: Session, account_id: str, webhook_id: str, now: datetime) -> WebhookEndpoint:
    """As `find`, but locks the account and creates `CALLBACKS`. Raises as `accounts.lock` too."""
    accounts.lock(session, account_id)
    return (
        callbacks(session, account_id, now)
        if webhook_id == CALLBACKS
        else find(session, account_id, webhook_id)
    )


def listed(session: Session, account_id: str) -> list[WebhookEndpoint]:
    """The account's endpoints, oldest first."""
    oldest_first = (col(WebhookEndpoint.created_at), col(WebhookEndpoint.id))
    return list(session.exec(_of(account_id).order_by(*oldest_first)))


def subscribed(session: Session, account_id: str, event: WebhookEvent) -> list[WebhookEndpoint]:
    """The account's enabled endpoints that receive `event`."""
    enabled = _of(account_id).where(
        col(WebhookEndpoint.url).is_not(None), col(WebhookEndpoint.disabled_at).is_(None)
    )
    return [endpoint for endpoint in session.exec(enabled) if event in events_of(endpoint)]


def events_of(endpoint: WebhookEndpoint) -> list[WebhookEvent]:
    return [WebhookEvent(name) for name in endpoint.events.split(",") if name]


def change(
    endpoint: WebhookEndpoint,
    now: datetime,
    *,
    url: str | None = None,
    events: Sequence[WebhookEvent] | None = None,
    enabled: bool | None = None,
) -> None:
    """Change what is given. Raises `InvalidRequest` for the endpoint of callbacks, which has no settings."""
    if endpoint.url is None:
        raise InvalidRequest("The webhook for callback_url has no settings; only its secret can be rotated.")
    if url is not None:
        endpoint.url = url
    if events is not None:
        endpoint.events = ",".join(events)
    if enabled is True:
        endpoint.disabled_at = endpoint.disabled_reason = None
    elif enabled is False and endpoint.disabled_at is None:
        endpoint.disabled_at, endpoint.disabled_reason = now, "It was disabled through the API."


def rotate(endpoint: WebhookEndpoint, now: datetime) -> None:
    """Give it a new secret. The former one signs too for `ROTATION_GRACE`."""
    endpoint.previous_secret, endpoint.previous_secret_until = endpoint.secret, now + ROTATION_GRACE
    endpoint.secret = signatures.new_secret()


def secrets_of(endpoint: WebhookEndpoint, now: datetime) -> list[str]:
    """The secrets that sign at `now`, the current one first."""
    until = endpoint.previous_secret_until
    if endpoint.previous_secret is None or until is None or until <= now:
        return [endpoint.secret]
    return [endpoint.secret, endpoint.previous_secret]


def remove(session: Session, endpoint: WebhookEndpoint) -> None:
    """Delete it with its log; nothing more is sent to it. The account must be locked."""
    session.execute(delete(WebhookDelivery).where(col(WebhookDelivery.endpoint_id) == endpoint.id))
    session.delete(endpoint)
    session.flush()


def delete_all(session: Session, account_id: str, _now: datetime) -> None:
    """Delete all that the account has here, because it is deleted."""
    accounts.lock_even_closed(session, account_id)
    for table in (WebhookDelivery, WebhookMessage, WebhookEndpoint):
        session.execute(delete(table).where(col(table.account_id) == account_id))


def _of(account_id: str) -> SelectOfScalar[WebhookEndpoint]:
    return select(WebhookEndpoint).where(col(WebhookEndpoint.account_id) == account_id)


def _add(
    session: Session, account_id: str, url: str | None, events: Sequence[WebhookEvent], now: datetime
) -> WebhookEndpoint:
    endpoint = WebhookEndpoint(
        id=new_id("whe"),
        account_id=account_id,
        url=url,
        events=",".join(events),
        secret=signatures.new_secret(),
        created_at=now,
    )
    session.add(endpoint)
    session.flush()
    return endpoint
