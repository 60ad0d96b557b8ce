"""Password reset by a mailed link that works once, within an hour.

The pages do not reveal whether an address has an account.
"""

from datetime import datetime

from fastapi import Request
from sqlmodel import Session
from starlette.responses import RedirectResponse, Response

from api.auth import passwords, registration, throttle, tokens
from api.auth.email import messages
from api.auth.email.mailer import MailMessage
from api.auth.models import Purpose
from api.auth.sessions import CreatedSession
from api.errors import RateLimited
from api.http import dependencies
from billing.ledger import accounts
from billing.ledger.models import Account
from web.auth import browser_session, forms, visitor
from web.auth.services import auth_services_of


async def request_page(request: Request) -> Response:
    return await _request_form(request)


async def request_reset(request: Request) -> Response:
    _, fields = await forms.read(request)
    email = accounts.normalise_email(fields.get("email", ""))
    auth, services = auth_services_of(request), visitor.services_of(request)
    if not auth.allows_sign_up:
        return await _request_form(request, 403)
    now, base_url = services.clock(), dependencies.public_base_url(request)
    address = throttle.by_address("forms", dependencies.address_of(request))

    def work(session: Session) -> MailMessage | None:
        throttle.require(session, address, throttle.FORMS_BY_ADDRESS, now)
        if throttle.take(session, throttle.by_email("mail", email), throttle.MAILS, now) is not None:
            return None
        token = registration.ask_for_reset(session, email, now=now)
        return None if token is None else messages.reset(email, f"{base_url}/reset/new?token={token}")

    try:
        message = await services.database.run(work)
    except RateLimited as error:
        return await _request_form(request, 429, email=email, problem=error.message)
    shown = None if message is None else auth.send(message)
    return await forms.show(request, "check_mail.html", email=email, message=shown, purpose="reset")


async def new_password_page(request: Request) -> Response:
    services = visitor.services_of(request)
    token, now = request.query_params.get("token", ""), services.clock()
    email = await services.database.read(lambda session: _email_of(session, token, now))
    if email is None:
        return await forms.show(request, "bad_link.html", 410, again="reset")
    return await _new_password_form(request, token, email)


async def set_new_password(request: Request) -> Response:
    _, fields = await forms.read(request)
    token, password = fields.get("token", ""), fields.get("password", "")
    auth, services = auth_services_of(request), visitor.services_of(request)
    now = services.clock()
    email = await services.database.read(lambda session: _email_of(session, token, now))
    if email is None:
        return await forms.show(request, "bad_link.html", 410, again="reset")
    problem = passwords.problem_with(password, email)
    if problem is not None:
        return await _new_password_form(request, token, email, 422, problem)
    hashed = await auth.hashing.hash(password)

    def work(session: Session) -> CreatedSession | None:
        account_id = registration.reset(session, token, hashed, now=now)
        if account_id is None:
            return None
        # The mail about the changed password says that somebody came in.
        return browser_session.begin_session(session, request, account_id, now, is_mailed=False)

    created = await services.database.run(work)
    if created is None:
        return await forms.show(request, "bad_link.html", 410, again="reset")
    auth.send(messages.password_changed(email, f"{dependencies.public_base_url(request)}/reset"))
    browser_session.set_cookies(request, created, email)
    return RedirectResponse("/settings?saved=password", 303)


def _email_of(session: Session, token: str, now: datetime) -> str | None:
    """The address of the account that the link resets, None for an invalid link."""
    row = tokens.peek(session, token, Purpose.RESET, now)
    return None if row is None else session.get_one(Account, row.account_id).email


async def _request_form(
    request: Request, status_code: int = 200, *, email: str = "", problem: str = ""
) -> Response:
    allows_sign_up = auth_services_of(request).allows_sign_up
    return await forms.show(
        request, "reset.html", status_code, email=email, problem=problem, allows_sign_up=allows_sign_up
    )


async def _new_password_form(
    request: Request, token: str, email: str, status_code: int = 200, problem: str = ""
) -> Response:
    return await forms.show(
        request,
        "reset_new.html",
        status_code,
        token=token,
        email=email,
        problem=problem,
        length_min=passwords.LENGTH_MIN,
        length_max=passwords.LENGTH_MAX,
    )
