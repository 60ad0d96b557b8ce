"""Authentication, admission and JSON bodies of the editor's routes."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from api.calls.unbilled_admission import UnbilledKind, UnbilledSlot
from api.editor.owners import ProjectOwner, owner_of
from api.editor.runs import Runs
from api.errors import Forbidden, InvalidParameter, NotSignedIn
from api.http import dependencies, json_bodies, responses
from api.http.middleware import body_limits
from api.memberships import roles
from api.memberships.models import Role
from api.services import Services
from billing.ledger.plans import PLANS
from ml.backend import Priority
from web.auth import visitor
from web.auth.visitor import SignedInVisitor

#: Longer bodies are parsed in a thread, so that they do not block the event loop.
_PARSED_INLINE_MAX_BYTES = 64 * 1024


@dataclass(frozen=True)
class EditorServices:
    """The services of the editor's routes, one instance for each process."""

    services: Services
    runs: Runs


def editor_services_of(request: Request) -> EditorServices:
    services: EditorServices = request.app.state.editor
    return services


async def reader(request: Request) -> ProjectOwner:
    """The owner of the visitor's projects, for requests that change nothing.

    Without a session it is a guest who does not own anything yet. Raises `NotSignedIn` if the session has
    ended.
    """
    current = await visitor.visitor_of(request)
    if current is None and visitor.has_session_cookie(request):
        raise NotSignedIn("Your session has ended. Reload the page.")
    services = editor_services_of(request).services
    if current is None:
        return await owner_of(services, None, "")
    if not isinstance(current, SignedInVisitor):
        return await owner_of(services, None, current.session_id)
    responses.set_is_of_member(request, current.elsewhere is not None)
    return await owner_of(services, current.place.account_id, current.session_id, current.member_id)


async def writer(request: Request) -> ProjectOwner:
    """As `reader`, for requests that change something.

    Raises `Forbidden` for forged requests and for viewers of the account.
    """
    owner = await reader(request)
    current = await visitor.visitor_of(request)
    visitor.check_csrf(request, current)
    if isinstance(current, SignedInVisitor) and current.place.role is Role.VIEWER:
        raise Forbidden(roles.VIEWERS_REFUSAL)
    await body_limits.admit(
        request.scope,
        account_id=None if owner.is_guest else owner.account_id,
        guest_id=owner.session_id or None,  # guests without a session are limited by address
        is_paid=owner.priority is Priority.PAID,
        concurrent_calls=PLANS[owner.plan].concurrent_calls,
    )
    return owner


def admit(request: Request, owner: ProjectOwner, kind: UnbilledKind) -> UnbilledSlot:
    """Reserve a slot for unbilled work before it starts. Raises `RateLimited`, `Overloaded`."""
    services = editor_services_of(request).services
    claimant = owner.claimant(dependencies.address_of(request))
    return services.unbilled.admit(kind, claimant, services.clock())


async def ensure_session(request: Request, owner: ProjectOwner) -> ProjectOwner:
    """The owner; creates the session of a new guest. Call it after `admit`, because it writes a row."""
    if owner.session_id != "":
        return owner
    guest = await visitor.ensure_session(request)
    return await owner_of(editor_services_of(request).services, guest.account_id, guest.session_id)


async def account_owner(request: Request) -> ProjectOwner:
    """As `writer`, for requests that need an account."""
    owner = await writer(request)
    if owner.is_guest:
        raise Forbidden("This needs an account. Sign up for free.")
    return owner


async def read_json(request: Request) -> dict[str, Any]:
    """The body as a JSON object. Raises `InvalidRequest`."""
    content = await request.body()
    if len(content) < _PARSED_INLINE_MAX_BYTES:
        return json_bodies.read_object(content)
    return await asyncio.to_thread(json_bodies.read_object, content)


def string_params(body: dict[str, Any]) -> dict[str, str]:
    """A tool's parameters in a body, each a string as in a form. Raises `InvalidParameter`."""
    params = body.get("params")
    if not isinstance(params, dict) or not all(isinstance(value, str) for value in params.values()):
        raise InvalidParameter("params", "params must be an object of strings.")
    return params


def string_field(body: dict[str, Any], name: str, *, max_length: int = 255, optional: bool = False) -> str:
    """A string of the body, "" for an absent `optional` one. Raises `InvalidParameter`."""
    value = body.get(name)
    if value is None and optional:
        return ""
    if not isinstance(value, str) or not value or len(value) > max_length:
        raise InvalidParameter(name, f"{name} must be a string of 1 to {max_length} characters.")
    if "\0" in value:
        raise InvalidParameter(name, f"{name} must not contain a NUL character.")
    return value


EditorServicesDependency = Annotated[EditorServices, Depends(editor_services_of)]
Reader = Annotated[ProjectOwner, Depends(reader)]
Writer = Annotated[ProjectOwner, Depends(writer)]
AccountOwner = Annotated[ProjectOwner, Depends(account_owner)]
