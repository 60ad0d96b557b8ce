"""Who asks the editor's routes, and what for: owner by cookie and token, bodies as JSON objects."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from api.calls.unbilled_admission import UnbilledKind, UnbilledSlot
from api.editor.owners import ProjectOwner, owner_of
from api.editor.runs import Runs
from api.errors import Forbidden, InvalidParameter, NotSignedIn
from api.http import json_bodies
from api.http.middleware import body_limits
from api.services import Services
from billing.ledger.plans import PLANS
from ml.backend import Priority
from web.auth import visitor

#: Read at once; reading a longer body would be noticed by others.
_SHORT_BYTES = 64 * 1024


@dataclass(frozen=True)
class EditorServices:
    """What this process's editor keeps between requests."""

    services: Services
    runs: Runs


def editor_services_of(request: Request) -> EditorServices:
    desk: EditorServices = request.app.state.editor
    return desk


async def reader(request: Request) -> ProjectOwner:
    """Whose cookie came with a request that changes nothing; without one a guest who owns nothing yet.

    Raises `NotSignedIn` if the session has ended.
    """
    found = await visitor.visitor_of(request)
    if found is None and visitor.has_session_cookie(request):
        raise NotSignedIn("Your session is over. Load the page again.")
    services = editor_services_of(request).services
    if found is None:
        return await owner_of(services, None, "")
    return await owner_of(services, found.account_id, found.session_id)


async def writer(request: Request) -> ProjectOwner:
    """As `reader`, for what changes something: one of our own pages must have sent it. Raises `Forbidden`."""
    owner = await reader(request)
    visitor.check_csrf(request, await visitor.visitor_of(request))
    await body_limits.admit(
        request.scope,
        account_id=None if owner.is_guest else owner.account_id,
        guest_id=owner.session_id or None,  # a guest without a session counts by address
        is_paid=owner.priority is Priority.PAID,
        concurrent_calls=PLANS[owner.plan].concurrent_calls,
    )
    return owner


def admit(request: Request, owner: ProjectOwner, kind: UnbilledKind) -> UnbilledSlot:
    """A place for unbilled work, before any of it is done. Raises `RateLimited`, `Overloaded`."""
    services = editor_services_of(request).services
    claimant = owner.claimant(visitor.address_of(request))
    return services.unbilled.admit(kind, claimant, services.clock())


async def with_session(request: Request, owner: ProjectOwner) -> ProjectOwner:
    """The owner; a guest without a session gets one. Only after `admit`, because it writes a row."""
    if owner.session_id != "":
        return owner
    begun = await visitor.guest(request)
    return await owner_of(editor_services_of(request).services, begun.account_id, begun.session_id)


async def member(request: Request) -> ProjectOwner:
    """As `writer`, for what needs an account."""
    owner = await writer(request)
    if owner.is_guest:
        raise Forbidden("Sign up first. It is free.")
    return owner


async def read_json(request: Request) -> dict[str, Any]:
    """The body as a JSON object. Raises `InvalidRequest`."""
    content = await request.body()
    if len(content) < _SHORT_BYTES:
        return json_bodies.read_object(content)
    return await asyncio.to_thread(json_bodies.read_object, content)


def text_of(body: dict[str, Any], name: str, *, most: int = 255, optional: bool = False) -> str:
    """A text of a body; "" where one that is `optional` is absent. Raises `InvalidParameter`."""
    value = body.get(name)
    if value is None and optional:
        return ""
    if not isinstance(value, str) or not value or len(value) > most:
        raise InvalidParameter(name, f"{name} must be a text of 1 to {most} characters.")
    if "\0" in value:
        raise InvalidParameter(name, f"{name} must not contain a NUL character.")
    return value


EditorServicesDependency = Annotated[EditorServices, Depends(editor_services_of)]
Reader = Annotated[ProjectOwner, Depends(reader)]
Writer = Annotated[ProjectOwner, Depends(writer)]
Member = Annotated[ProjectOwner, Depends(member)]
