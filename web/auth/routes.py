"""Routes of the account pages. GET never changes anything; each POST is a form with a CSRF token, or
names what it changes by a signed token.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from api.http.routes.get_and_head import add_get
from api.settings import Settings
from web.auth import (
    alert_settings,
    deletion,
    login,
    members_forms,
    oauth,
    reset,
    settings_page,
    signup,
    unsubscribe,
    visitor,
)
from web.auth.services import AuthServices

PAGES = {
    "/login": login.login_page,
    "/login/once": login.login_once,
    "/signup": signup.signup_page,
    "/verify": signup.verify_page,
    "/reset": reset.request_page,
    "/reset/new": reset.new_password_page,
    "/oauth/{provider}": oauth.begin,
    "/oauth/{provider}/callback": oauth.callback,
    "/settings": settings_page.settings_page,
    "/settings/delete": deletion.delete_page,
    "/unsubscribe": unsubscribe.page,
    "/settings/statement.csv": deletion.export_statement,
    members_forms.INVITATION_PATH: members_forms.invitation_page,
}
FORMS = {
    "/login": login.login,
    visitor.LOGOUT_PATH: login.logout,
    "/signup": signup.signup,
    "/verify": signup.verify,
    "/verify/resend": signup.resend,
    "/reset": reset.request_reset,
    "/reset/new": reset.set_new_password,
    "/settings/password": settings_page.change_password,
    "/settings/sessions/end": settings_page.end_session,
    "/settings/sessions/end-others": settings_page.end_other_sessions,
    "/settings/identities/remove": settings_page.unlink,
    "/settings/alerts": alert_settings.save,
    "/settings/delete": deletion.delete,
    "/settings/members/invite": members_forms.invite,
    "/settings/members/send-again": members_forms.send_again,
    "/settings/members/withdraw": members_forms.withdraw,
    "/settings/members/role": members_forms.change_role,
    "/settings/members/remove": members_forms.remove,
    members_forms.INVITATION_PATH: members_forms.accept,
    "/accounts/choose": members_forms.choose_account,
    "/accounts/leave": members_forms.leave,
}
#: Sent by mail programs too, which have no CSRF token: a signed token in the link says what they may change.
SIGNED_LINKS = {"/unsubscribe": unsubscribe.switch_off}


def add_to(app: FastAPI, settings: Settings) -> None:
    """Raises ValueError for an invalid mail server address."""
    auth = AuthServices.of(settings)
    app.state.auth = auth
    for path, page in PAGES.items():
        add_get(app, path, page, include_in_schema=False)
    for path, form in {**FORMS, **SIGNED_LINKS}.items():
        app.add_api_route(path, form, methods=["POST"], include_in_schema=False, response_model=None)
    inner_lifespan = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(started: FastAPI) -> AsyncIterator[Any]:
        try:
            async with inner_lifespan(started) as state:
                yield state
        finally:
            auth.close()

    app.router.lifespan_context = lifespan
