"""Sign-up and confirmation of the email address.

Signing up with a taken address shows the same page. Only the mail says that the account exists already.
"""

from urllib.parse import quote

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
from web.auth.email_addresses import is_valid_address
from web.auth.services import auth_services_of
from web.auth.visitor import SignedInVisitor


async def signup_page(request: Request) -> Response:
    next_path = forms.local_path(request.query_params.get("next", ""))
    if isinstance(await visitor.visitor_of(request), SignedInVisitor):
        return RedirectResponse(next_path, 303)
    return await _form(request, next_path=next_path)


async def signup(request: Request) -> Response:
    _, fields = await forms.read(request)
    email, password = accounts.normalise_email(fields.get("email", "")), fields.get("password", "")
    next_path = forms.local_path(fields.get("next", ""))
    auth = auth_services_of(request)
    if not auth.allows_sign_up:
        return await _form(request, 403, email=email, next_path=next_path)
    problems = _problems(email, password)
    if problems:
        return await _form(request, 422, email=email, next_path=next_path, problems=problems)
    services, now = visitor.services_of(request), visitor.services_of(request).clock()
    address = throttle.by_address("forms", dependencies.address_of(request))

    def allow(session: Session) -> None:
        throttle.require(session, address, throttle.FORMS_BY_ADDRESS, now)

    try:
        await services.database.run(allow)
    except RateLimited as error:
        problems = {"form": error.message}
        return await _form(request, 429, email=email, next_path=next_path, problems=problems)
    hashed = await auth.hashing.hash(password)
    visitor.anonymous_csrf_token(
        request
    )  # Sets the cookie that identifies this browser when the link is opened.
    message = await _sign_up(request, email, hashed, next_path)
    return await forms.show(request, "check_mail.html", email=email, message=message, purpose="sign-up")


async def verify_page(request: Request) -> Response:
    """Shows a button and changes nothing, because mail filters open links before people do."""
    services = visitor.services_of(request)
    token, now = request.query_params.get("token", ""), services.clock()
    row = await services.database.read(lambda s: tokens.peek(s, token, Purpose.VERIFY, now))
    if row is None:
        return await forms.show(request, "bad_link.html", 410, again="verify")
    next_path = forms.local_path(request.query_params.get("next", ""))
    return await forms.show(request, "verify.html", token=token, next_path=next_path)


async def verify(request: Request) -> Response:
    """Confirm the address. The browser that signed up is signed in; any other one has to log in.

    Otherwise a person who signed up with another person's address would be signed in by that person's click.
    """
    sender, fields = await forms.read(request)
    services = visitor.services_of(request)
    token, now = fields.get("token", ""), services.clock()
    next_path = forms.local_path(fields.get("next", ""))

    def confirm(session: Session) -> tuple[Account, CreatedSession | None] | None:
        used = registration.verify(session, token, now=now)
        if used is None:
            return None
        account = session.get_one(Account, used.account_id)
        is_same_browser = tokens.is_from_browser(used, visitor.browser_token(request))
        if is_signed_in(account) or not is_same_browser:
            return account, None
        return account, browser_session.begin_session(session, request, account.id, now)

    def is_signed_in(account: Account) -> bool:
        return sender is not None and sender.account_id == account.id

    confirmed = await services.database.run(confirm)
    if confirmed is None:
        return await forms.show(request, "bad_link.html", 410, again="verify")
    account, created = confirmed
    if created is not None:
        browser_session.set_cookies(request, created, account.email)
    if created is not None or is_signed_in(account):
        return RedirectResponse(next_path, 303)
    return await forms.show(request, "verified.html", email=account.email, next_path=next_path)


async def resend(request: Request) -> Response:
    """Send another confirmation link to a signed-in visitor."""
    user, _ = await forms.read_signed_in(request)
    if user.is_verified:
        return RedirectResponse("/settings", 303)
    email = user.email
    services, now = visitor.services_of(request), visitor.services_of(request).clock()

    def create_token(session: Session) -> str:
        throttle.require(session, throttle.by_email("mail", email), throttle.MAILS, now)
        return registration.ask_to_verify(session, user.account_id, now=now)

    token = await services.database.run(create_token)
    message = auth_services_of(request).send(
        messages.verify(email, f"{dependencies.public_base_url(request)}/verify?token={token}")
    )
    return await forms.show(request, "check_mail.html", email=email, message=message, purpose="verify")


async def _sign_up(request: Request, email: str, password_hash: str, next_path: str) -> MailMessage | None:
    auth, services = auth_services_of(request), visitor.services_of(request)
    base_url, now = dependencies.public_base_url(request), services.clock()
    browser = visitor.browser_token(request)

    def work(session: Session) -> MailMessage | None:
        sign_up = registration.sign_up(
            session,
            services.former,
            email,
            password_hash,
            now=now,
            browser_token=browser,
            is_verified=auth.shows_links,
        )
        # Limited for each address, so that sign-ups cannot flood a person's mailbox.
        wait = throttle.take(session, throttle.by_email("mail", email), throttle.MAILS, now)
        if sign_up.token is None or wait is not None:
            return None
        if sign_up.is_new:
            return messages.verify(email, f"{base_url}/verify?token={sign_up.token}{_next(next_path)}")
        return messages.address_taken(
            email, f"{base_url}/login", f"{base_url}/reset/new?token={sign_up.token}"
        )

    message = await services.database.run(work)
    return None if message is None else auth.send(message)


async def _form(
    request: Request,
    status_code: int = 200,
    *,
    next_path: str,
    email: str = "",
    problems: dict[str, str] | None = None,
) -> Response:
    auth = auth_services_of(request)
    return await forms.show(
        request,
        "signup.html",
        status_code,
        email=email,
        problems=problems or {},
        next_path=next_path,
        providers=list(auth.providers.values()),
        allows_sign_up=auth.allows_sign_up,
        length_min=passwords.LENGTH_MIN,
        length_max=passwords.LENGTH_MAX,
    )


def _next(next_path: str) -> str:
    """The part of a confirmation link that leads to where the visitor wanted to go."""
    return "" if next_path == forms.HOME else f"&next={quote(next_path, safe='/')}"


def _problems(email: str, password: str) -> dict[str, str]:
    problems = {}
    if not accounts.is_storable(email) or not is_valid_address(email):
        problems["email"] = "This is not a valid email address."
    weakness = passwords.problem_with(password, email)
    if weakness is not None:
        problems["password"] = weakness
    return problems
