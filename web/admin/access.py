"""Who may use the panel: operators who signed in a short while ago. To everybody else it does not exist."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from fastapi import Request
from starlette.responses import Response

from api.errors import NotFound
from web.auth import forms, login, visitor
from web.auth.visitor import SignedInVisitor

PATH = "/app/admin"
#: How long after signing in the panel may be used.
FRESH = timedelta(minutes=15)

Handler = Callable[[Request], Awaitable[Response]]


async def operator_of(request: Request) -> SignedInVisitor:
    """The operator. Raises NotFound for everybody else, as for an address that does not exist."""
    current = await visitor.visitor_of(request)
    if not isinstance(current, SignedInVisitor) or not current.is_operator:
        raise NotFound("This address does not exist.")
    return current


def page(show: Handler) -> Handler:
    """A page of the panel."""

    async def handle(request: Request) -> Response:
        operator = await operator_of(request)
        if not _is_fresh(request, operator):
            query = f"?{request.url.query}" if request.url.query else ""
            return login.sign_in_again(request.url.path + query)
        return await show(request)

    return handle


def form(
    act: Callable[[Request, SignedInVisitor, dict[str, str]], Awaitable[Response]], back_to: str
) -> Handler:
    """A form of the panel. `back_to`: the page that shows it, with the parameters of the form's own path."""

    async def handle(request: Request) -> Response:
        operator = await operator_of(request)
        _, fields = await forms.read(request)
        if not _is_fresh(request, operator):
            return login.sign_in_again(back_to.format(**request.path_params))
        return await act(request, operator, fields)

    return handle


def _is_fresh(request: Request, operator: SignedInVisitor) -> bool:
    return operator.started_at > visitor.services_of(request).clock() - FRESH
