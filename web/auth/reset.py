"""A forgotten password: a link by mail, good once, for an hour. No page tells who has an account."""

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
from billing.ledger import accounts
from billing.ledger.models import Account
from web.auth import browser_session, forms, visitor
from web.auth.services import address_of_site, auth_services_of


async def ask_page(request: Request) -> Response:
    return await _ask_form(request)


async def ask(request: Request) -> Response:
    _, fields = await forms.read(request)
    email = accounts.normalise_email(fields.get("email", ""))
    people, services = auth_services_of(request), visitor.services_of(request)
    if not people.takes_sign_ups:
        return await _ask_form(request, 403)
    now, site = services.clock(), address_of_site(request)
    address = throttle.by_address("forms", visitor.address_of(request))

    def work(session: Session) -> MailMessage | None:
        throttle.require(session, address, throttle.FORMS_BY_ADDRESS, now)
        if throttle.take(session, throttle.by_email("mail", email), throttle.MAILS, now) is not None:
            return None
        token = registration.ask_for_reset(session, email, now=now)
        return None if token is None else messages.reset(email, f"{site}/reset/new?token={token}")

    try:
        letter = await services.database.run(work)
    except RateLimited as error:
        return await _ask_form(request, 429, email=email, problem=error.message)
    shown = None if letter is None else people.send(letter)
    return await forms.show(request, "check_mail.html", email=email, letter=shown, what="reset")


async def new_page(request: Request) -> Response:
    services = visitor.services_of(request)
    token, now = request.query_params.get("token", ""), services.clock()
    email = await services.database.read(lambda session: _email_of(session, token, now))
    if email is None:
        return await forms.show(request, "bad_link.html", 410, again="reset")
    return await _new_form(request, token, email)


async def new(request: Request) -> Response:
    _, fields = await forms.read(request)
    token, password = fields.get("token", ""), fields.get("password", "")
    people, services = auth_services_of(request), visitor.services_of(request)
    now = services.clock()
    email = await services.database.read(lambda session: _email_of(session, token, now))
    if email is None:
        return await forms.show(request, "bad_link.html", 410, again="reset")
    problem = passwords.problem_with(password, email)
    if problem is not None:
        return await _new_form(request, token, email, 422, problem)
    hashed = await people.hashing.hash(password)

    def work(session: Session) -> CreatedSession | None:
        account_id = registration.reset(session, token, hashed, now=now)
        if account_id is None:
            return None
        return browser_session.begin_session(session, request, account_id, now)

    made = await services.database.run(work)
    if made is None:
        return await forms.show(request, "bad_link.html", 410, again="reset")
    people.send(messages.password_changed(email, f"{address_of_site(request)}/reset"))
    browser_session.keep(request, made, email)
    return RedirectResponse("/settings?saved=password", 303)


def _email_of(session: Session, token: str, now: datetime) -> str | None:
    """The address of the account that a good link is for."""
    row = tokens.peek(session, token, Purpose.RESET, now)
    return None if row is None else session.get_one(Account, row.account_id).email


async def _ask_form(
    request: Request, status_code: int = 200, *, email: str = "", problem: str = ""
) -> Response:
    takes_sign_ups = auth_services_of(request).takes_sign_ups
    return await forms.show(
        request, "reset.html", status_code, email=email, problem=problem, takes_sign_ups=takes_sign_ups
    )


async def _new_form(
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
