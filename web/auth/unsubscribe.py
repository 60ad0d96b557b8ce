"""Switching off mails of one kind by the signed link in them, without signing in.

GET only shows a button, because mail filters open links before people do. The POST is the one click of
RFC 8058, which mail programs send by themselves: it has no cookie, its body says nothing more than the link,
and what it may do is in the token, so it needs no CSRF token.
"""

from contextlib import suppress

from fastapi import Request
from starlette.responses import Response

from api.alerts import preferences
from api.alerts.models import AlertKind
from api.auth.email.alert_mails import TITLES
from billing.errors import AccountClosed, UnknownAccount
from web.auth import forms, visitor


async def page(request: Request) -> Response:
    named = _named(request)
    if named is None:
        return await forms.show(request, "bad_link.html", 410, again=None)
    return await _show(request, named[1], is_done=False)


async def switch_off(request: Request) -> Response:
    named = _named(request)
    if named is None:
        return await forms.show(request, "bad_link.html", 410, again=None)
    account_id, kind = named
    with suppress(AccountClosed, UnknownAccount):  # which get no mails any more
        await visitor.services_of(request).database.run(
            lambda session: preferences.mute(session, account_id, kind)
        )
    return await _show(request, kind, is_done=True)


def _named(request: Request) -> tuple[str, AlertKind] | None:
    """The account's id and the kind that the link names."""
    return visitor.services_of(request).unsubscribe.read(request.query_params.get("token", ""))


async def _show(request: Request, kind: AlertKind, *, is_done: bool) -> Response:
    return await forms.show(
        request,
        "unsubscribe.html",
        title=TITLES[kind],
        token=request.query_params["token"],
        is_done=is_done,
    )
