"""Dependencies of routes: the services, the caller, and work that ends when the client disconnects."""

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

import structlog
from fastapi import Depends, Request
from starlette.requests import ClientDisconnect

from api.auth.authenticator import Caller
from api.calls.account_status import AccountStatus
from api.http import responses
from api.http.middleware import body_limits
from api.services import Services
from billing.ledger.plans import PLANS

T = TypeVar("T")


def services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def authenticated(request: Request) -> Caller:
    """Authenticate the API key in the headers, before any body. Raises `InvalidApiKey`, `RateLimited`."""
    services = services_of(request)
    caller = await services.authenticator.authenticate(
        authorization=request.headers.get("authorization"),
        x_api_key=request.headers.get("x-api-key"),
        address=address_of(request),
        now=services.clock(),
    )
    responses.set_is_of_member(request, caller.is_of_member)
    structlog.contextvars.bind_contextvars(account_id=caller.account_id)
    return caller


async def authenticated_for_tools(request: Request) -> Caller:
    """As `authenticated`, on routes whose every answer has headers for credits and rate."""
    responses.set_account_status(request, AccountStatus())
    caller = await authenticated(request)
    responses.set_account_status(request, caller.account_status)
    return caller


async def admit_body(request: Request, caller: Caller) -> None:
    """Admit the body, counted towards the account. Raises `RateLimited`, `ServerBusy`, `FileTooLarge`."""
    plan = PLANS[caller.plan]
    await body_limits.admit(
        request.scope,
        account_id=caller.account_id,
        is_paid=plan.paid,
        concurrent_calls=plan.concurrent_calls,
    )


def address_of(request: Request) -> str:
    """The client's network address."""
    return request.client.host if request.client else ""


def public_base_url(request: Request) -> str:
    """Where callers reach this server, without a trailing slash: its public URL, else the request's own."""
    return services_of(request).public_url or str(request.base_url).rstrip("/")


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client disconnects or this is cancelled.

    Call it only after the body was read: it discards everything else that the client sends.
    """
    task = asyncio.create_task(work)
    disconnected = asyncio.create_task(_wait_for_disconnect(request))
    try:
        await asyncio.wait({task, disconnected}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return await task
    finally:
        task.cancel()
        disconnected.cancel()


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def authenticated_as_owner(caller: Annotated[Caller, Depends(authenticated)]) -> Caller:
    """As `authenticated`. Raises Forbidden for the key of a member."""
    caller.require_owner()
    return caller


ServicesOf = Annotated[Services, Depends(services_of)]
KeyHolder = Annotated[Caller, Depends(authenticated)]
OwnersKeyHolder = Annotated[Caller, Depends(authenticated_as_owner)]
ToolCaller = Annotated[Caller, Depends(authenticated_for_tools)]
