"""Forms of the settings page about members, and the page of an invitation's link."""

from fastapi import Request
from sqlmodel import Session
from starlette.responses import RedirectResponse, Response

from api.auth import invitations, members
from api.auth.email import messages
from api.errors import Forbidden, InvalidParameter, NotFound, RateLimited
from api.http import dependencies
from api.memberships.models import Invitation, Role
from billing.ledger import accounts
from billing.ledger.models import Account
from web.auth import forms, settings_page, visitor
from web.auth.email_addresses import is_valid_address
from web.auth.services import auth_services_of
from web.auth.visitor import SignedInVisitor

INVITATION_PATH = "/invitation"
_SECTION = "/settings?saved={}#members-title"


async def invite(request: Request) -> Response:
    """Invite an address. The answer is the same whether or not the address has an account."""
    user, fields = await forms.read_owner(request)
    email, role = accounts.normalise_email(fields.get("email", "")), _role(fields)
    services = visitor.services_of(request)
    now = services.clock()
    problem, status = "", 422
    if not accounts.is_storable(email) or not is_valid_address(email):
        problem = "This is not a valid email address."
    else:
        try:
            token = await services.database.run(
                lambda s: invitations.invite(s, user.account_id, email, role, now)
            )
        except (InvalidParameter, Forbidden, RateLimited) as error:
            problem, status = error.message, 429 if isinstance(error, RateLimited) else 422
    if problem:
        return await settings_page.show(request, user, status, problems={"email": problem}, invited=email)
    return await _send(request, user, email, role, token, saved="invited")


async def send_again(request: Request) -> Response:
    """Send a new link; the old one ends."""
    user, fields = await forms.read_owner(request)
    services = visitor.services_of(request)
    now = services.clock()

    def work(session: Session) -> tuple[str, Role, str]:
        row, token = invitations.send_again(session, user.account_id, fields.get("invitation_id", ""), now)
        return row.email, Role(row.role), token

    try:
        email, role, token = await services.database.run(work)
    except (InvalidParameter, RateLimited) as error:
        status = 429 if isinstance(error, RateLimited) else 422
        return await settings_page.show(request, user, status, problems={"email": error.message})
    return await _send(request, user, email, role, token, saved="invited")


async def withdraw(request: Request) -> Response:
    user, fields = await forms.read_owner(request)
    await visitor.services_of(request).database.run(
        lambda s: invitations.withdraw(s, user.account_id, fields.get("invitation_id", ""))
    )
    return RedirectResponse(_SECTION.format("withdrawn"), 303)


async def change_role(request: Request) -> Response:
    user, fields = await forms.read_owner(request)
    services, role = visitor.services_of(request), _role(fields)
    await services.database.run(
        lambda s: members.change_role(s, user.account_id, fields.get("person_id", ""), role, services.clock())
    )
    return RedirectResponse(_SECTION.format("role"), 303)


async def remove(request: Request) -> Response:
    user, fields = await forms.read_owner(request)
    services = visitor.services_of(request)
    await services.database.run(
        lambda s: members.remove(s, user.account_id, fields.get("person_id", ""), services.clock())
    )
    return RedirectResponse(_SECTION.format("removed"), 303)


async def leave(request: Request) -> Response:
    """Leave an account, wherever the session works."""
    user, fields = await forms.read_signed_in(request)
    services = visitor.services_of(request)
    await services.database.run(
        lambda s: members.remove(s, fields.get("account_id", ""), user.account_id, services.clock())
    )
    return RedirectResponse("/settings?saved=left", 303)


async def choose_account(request: Request) -> Response:
    """Work in this account from now on, in this browser."""
    user, fields = await forms.read_signed_in(request)
    await visitor.services_of(request).database.run(
        lambda s: members.choose(s, user.session_id, user.account_id, fields.get("account_id", ""))
    )
    return RedirectResponse(forms.local_path(fields.get("next", "")), 303)


async def invitation_page(request: Request) -> Response:
    """Shows a button and changes nothing, because mail filters open links before people do."""
    token = request.query_params.get("token", "")
    current = await visitor.visitor_of(request)
    found = await _peek(request, token)
    if found is None:
        return await forms.show(request, "bad_link.html", 410, again="invitation")
    invitation, account = found
    is_invited = isinstance(current, SignedInVisitor) and current.email == invitation.email
    return await forms.show(
        request,
        "invitation.html",
        token=token,
        here=f"{INVITATION_PATH}?token={token}",
        is_signed_in=isinstance(current, SignedInVisitor),
        is_invited=is_invited,
        role=invitation.role,
        # Shown to nobody but the owner of the invited address.
        inviter=account.email if is_invited else "",
    )


async def accept(request: Request) -> Response:
    """Become a member, and work in the account from now on. Raises Forbidden for another address."""
    user, fields = await forms.read_signed_in(request)
    services = visitor.services_of(request)
    now = services.clock()

    def work(session: Session) -> str | None:
        account_id = invitations.accept(session, fields.get("token", ""), user.account_id, now)
        if account_id is not None:
            members.choose(session, user.session_id, user.account_id, account_id)
        return account_id

    if await services.database.run(work) is None:
        return await forms.show(request, "bad_link.html", 410, again="invitation")
    return RedirectResponse(forms.HOME, 303)


async def _peek(request: Request, token: str) -> tuple[Invitation, Account] | None:
    services = visitor.services_of(request)
    return await services.database.read(lambda s: invitations.peek(s, token, services.clock()))


async def _send(
    request: Request, user: SignedInVisitor, email: str, role: Role, token: str, saved: str
) -> Response:
    """Mail the link. Without a mail server the owner gets it once, to pass it on."""
    auth = auth_services_of(request)
    link = f"{dependencies.public_base_url(request)}{INVITATION_PATH}?token={token}"
    if auth.mailer is None:
        return await settings_page.show(request, user, invitation_link=link, invited=email)
    auth.mailer.send(messages.invitation(email, user.email, role.value, link))
    return RedirectResponse(_SECTION.format(saved), 303)


def _role(fields: dict[str, str]) -> Role:
    try:
        role = Role(fields.get("role", ""))
    except ValueError:
        role = Role.OWNER
    if role is Role.OWNER:
        raise NotFound("There is no such role.")
    return role
