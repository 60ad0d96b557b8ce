"""Which alerts are mailed: the section of the account's settings."""

from dataclasses import dataclass

from fastapi import Request
from sqlmodel import Session
from starlette.responses import RedirectResponse, Response

from api.alerts import preferences
from api.alerts.models import AlertKind
from api.auth.email.alert_mails import TITLES
from api.webhooks import endpoints
from api.webhooks.models import WebhookEvent
from web.auth import forms, visitor

_DESCRIPTIONS = {
    AlertKind.CREDITS_LOW: "A fifth of what the month or your last pack brought is left.",
    AlertKind.CREDITS_EXHAUSTED: "Calls are refused until new credits arrive.",
    AlertKind.PAYMENT_FAILED: "The invoice of your plan was not paid.",
    AlertKind.KEY_ENDING: "Programs that use it will be refused.",
    AlertKind.SIGN_IN: "Without this mail you do not learn that somebody else has your password or your"
    " linked account, until they change something.",
}


@dataclass(frozen=True)
class ShownAlert:
    kind: AlertKind
    title: str
    description: str
    is_mailed: bool
    webhooks: int  # enabled ones that receive it


def listed(session: Session, account_id: str) -> list[ShownAlert]:
    """Every kind of alert, as the settings page shows it."""
    muted = preferences.muted(session, account_id)
    received = [
        event
        for endpoint in endpoints.listed(session, account_id)
        if endpoint.url is not None and endpoint.disabled_at is None
        for event in endpoints.events_of(endpoint)
    ]
    return [
        ShownAlert(
            kind,
            TITLES[kind],
            _DESCRIPTIONS[kind],
            kind not in muted,
            received.count(WebhookEvent(kind.value)),
        )
        for kind in AlertKind
    ]


async def save(request: Request) -> Response:
    """Mail the kinds whose boxes are ticked, and no others."""
    user, fields = await forms.read_signed_in(request)
    off = [kind for kind in AlertKind if kind.value not in fields]
    services = visitor.services_of(request)
    await services.database.run(lambda session: preferences.set_muted(session, user.account_id, off))
    return RedirectResponse("/settings?saved=alerts", 303)
