"""Signing up, and proving the address.

Who signs up with a taken address gets the same page; only the mail tells that there is an account already.
"""

import re

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

_EMAIL = re.compile(
    r"[^@\s\x00-\x20\"(),:;<>\[\\\]\x7f-\x9f]{1,64}@[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z][a-z0-9-]+"
)


async def signup_page(request: Request) -> Response:
    who = await visitor.visitor_of(request)
    next_path = forms.own_path(request.query_params.get("next", ""))
    if who is not None and who.account_id is not None:
        return RedirectResponse(next_path, 303)
    return await _form(request, next_path=next_path)


async def signup(request: Request) -> Response:
    _, fields = await forms.read(request)
    email, password = accounts.normalise_email(fields.get("email", "")), fields.get("password", "")
    next_path = forms.own_path(fields.get("next", ""))
    people = auth_services_of(request)
    if not people.takes_sign_ups:
        return await _form(request, 403, email=email, next_path=next_path)
    problems = _problems(email, password)
    if problems:
        return await _form(request, 422, email=email, next_path=next_path, problems=problems)
    services, now = visitor.services_of(request), visitor.services_of(request).clock()
    address = throttle.by_address("forms", visitor.address_of(request))

    def allow(session: Session) -> None:
        throttle.require(session, address, throttle.FORMS_BY_ADDRESS, now)

    try:
        await services.database.run(allow)
    except RateLimited as error:
        problems = {"form": error.message}
        return await _form(request, 429, email=email, next_path=next_path, problems=problems)
    hashed = await people.hashing.hash(password)
    visitor.strangers_token(request)  # Names the browser, also a guest's, until the link comes back.
    letter = await _sign_up(request, email, hashed)
    return await forms.show(request, "check_mail.html", email=email, letter=letter, what="sign-up")


async def verify_page(request: Request) -> Response:
    """A button and not a deed: mail filters open links before people do."""
    services = visitor.services_of(request)
    token, now = request.query_params.get("token", ""), services.clock()
    row = await services.database.read(lambda s: tokens.peek(s, token, Purpose.VERIFY, now))
    if row is None:
        return await forms.show(request, "bad_link.html", 410, again="verify")
    return await forms.show(request, "verify.html", token=token)


async def verify(request: Request) -> Response:
    """Proves the address. The browser that signed up is signed in; any other is asked for the password.

    So nobody who made an account with somebody else's address is let in by that person's click.
    """
    who, fields = await forms.read(request)
    services = visitor.services_of(request)
    token, now = fields.get("token", ""), services.clock()

    def prove(session: Session) -> tuple[Account, CreatedSession | None] | None:
        used = registration.verify(session, token, now=now)
        if used is None:
            return None
        account = session.get_one(Account, used.account_id)
        is_same_browser = tokens.is_from_browser(used, visitor.browser_token(request))
        if who is not None and who.account_id == account.id:
            return account, None
        if not is_same_browser:
            return account, None
        return account, browser_session.begin_session(session, request, account.id, now)

    proved = await services.database.run(prove)
    if proved is None:
        return await forms.show(request, "bad_link.html", 410, again="verify")
    account, made = proved
    if made is not None:
        browser_session.keep(request, made, account.email)
    is_in = made is not None or (who is not None and who.account_id == account.id)
    return RedirectResponse(forms.HOME, 303) if is_in else await _verified_elsewhere(request, account.email)


async def resend(request: Request) -> Response:
    """Another link for somebody who is signed in and has not proved the address."""
    who, _ = await forms.read_signed_in(request)
    if who.is_verified or who.email is None or who.account_id is None:
        return RedirectResponse("/settings", 303)
    email, account_id = who.email, who.account_id
    services, now = visitor.services_of(request), visitor.services_of(request).clock()

    def ask(session: Session) -> str:
        throttle.require(session, throttle.by_email("mail", email), throttle.MAILS, now)
        return registration.ask_to_verify(session, account_id, now=now)

    token = await services.database.run(ask)
    letter = auth_services_of(request).send(
        messages.verify(email, f"{address_of_site(request)}/verify?token={token}")
    )
    return await forms.show(request, "check_mail.html", email=email, letter=letter, what="verify")


async def _sign_up(request: Request, email: str, password_hash: str) -> MailMessage | None:
    people, services = auth_services_of(request), visitor.services_of(request)
    site, now = address_of_site(request), services.clock()
    browser = visitor.browser_token(request)

    def work(session: Session) -> MailMessage | None:
        joined = registration.sign_up(
            session,
            services.former,
            email,
            password_hash,
            now=now,
            browser_token=browser,
            is_verified=people.shows_links,
        )
        # A bucket for each address, so that nobody fills somebody's mailbox through us.
        wait = throttle.take(session, throttle.by_email("mail", email), throttle.MAILS, now)
        if joined.token is None or wait is not None:
            return None
        if joined.is_new:
            return messages.verify(email, f"{site}/verify?token={joined.token}")
        return messages.address_taken(email, f"{site}/login", f"{site}/reset/new?token={joined.token}")

    letter = await services.database.run(work)
    return None if letter is None else people.send(letter)


async def _form(
    request: Request,
    status_code: int = 200,
    *,
    next_path: str,
    email: str = "",
    problems: dict[str, str] | None = None,
) -> Response:
    people = auth_services_of(request)
    return await forms.show(
        request,
        "signup.html",
        status_code,
        email=email,
        problems=problems or {},
        next_path=next_path,
        providers=list(people.providers.values()),
        takes_sign_ups=people.takes_sign_ups,
        length_min=passwords.LENGTH_MIN,
        length_max=passwords.LENGTH_MAX,
    )


async def _verified_elsewhere(request: Request, email: str) -> Response:
    return await forms.show(request, "verified.html", email=email)


def _problems(email: str, password: str) -> dict[str, str]:
    problems = {}
    if not accounts.is_storable(email) or not _EMAIL.fullmatch(email):
        problems["email"] = "This is no e-mail address."
    weakness = passwords.problem_with(password, email)
    if weakness is not None:
        problems["password"] = weakness
    return problems
