"""Who asks the editor's routes, and what for: owner by cookie and token, bodies as JSON objects."""

import json
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from api.editor.limits import Limits
from api.editor.owners import Owner, owner_of
from api.editor.runs import Runs
from api.errors import Forbidden, InvalidParameter, InvalidRequest, NotSignedIn
from api.http.body_limits import refuse_declared_length
from api.services import Services
from web import visitor


@dataclass(frozen=True)
class Desk:
    """What this process's editor keeps between requests."""

    services: Services
    runs: Runs
    limits: Limits


def desk_of(request: Request) -> Desk:
    desk: Desk = request.app.state.editor
    return desk


async def reader(request: Request) -> Owner:
    """Whose cookie came with a request that changes nothing. Raises `NotSignedIn` without a session."""
    found = await visitor.visitor_of(request)
    if found is None:
        raise NotSignedIn("Your session is over. Load the page again.")
    return await owner_of(desk_of(request).services, found.account_id, found.session_id)


async def writer(request: Request) -> Owner:
    """As `reader`, for what changes something: one of our own pages must have sent it. Raises `Forbidden`."""
    owner = await reader(request)
    visitor.check_csrf(request, await visitor.visitor_of(request))
    refuse_declared_length(request.scope)
    return owner


async def member(request: Request) -> Owner:
    """As `writer`, for what needs an account."""
    owner = await writer(request)
    if owner.is_guest:
        raise Forbidden("Sign up first. It is free.")
    return owner


async def read_json(request: Request) -> dict[str, Any]:
    """The body as a JSON object. Raises `InvalidRequest`."""
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise InvalidRequest("The request's body is no JSON that can be read.") from None
    if not isinstance(body, dict):
        raise InvalidRequest("The request's body must be a JSON object.")
    return body


def text_of(body: dict[str, Any], name: str, *, most: int = 255, optional: bool = False) -> str:
    """A text of a body; "" where one that is `optional` is absent. Raises `InvalidParameter`."""
    value = body.get(name)
    if value is None and optional:
        return ""
    if not isinstance(value, str) or not value or len(value) > most:
        raise InvalidParameter(name, f"{name} must be a text of 1 to {most} characters.")
    return value


DeskOf = Annotated[Desk, Depends(desk_of)]
Reader = Annotated[Owner, Depends(reader)]
Writer = Annotated[Owner, Depends(writer)]
Member = Annotated[Owner, Depends(member)]
