"""What routes ask for: the services, the caller, and work that ends when the caller goes away."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import structlog
from fastapi import Depends, Request
from sqlmodel import Session
from starlette.requests import ClientDisconnect

from api.auth.authenticator import Caller
from api.calls import admission
from api.calls.account_status import AccountStatus
from api.http.middleware import body_limits
from api.services import Services
from billing.ledger import accounts, ledger
from billing.ledger.models import Account
from billing.ledger.plans import PLANS
from ml.backend import Priority

T = TypeVar("T")


@dataclass(frozen=True)
class Access:
    """A caller whose key is good, and how the account stands."""

    caller: Caller
    standing: AccountStatus

    @property
    def account_id(self) -> str:
        return self.caller.account_id

    @property
    def priority(self) -> Priority:
        return Priority.PAID if PLANS[self.caller.plan].paid else Priority.FREE


def services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def key_holder(request: Request) -> Access:
    """The caller by the key in the headers, before any body. Raises `InvalidApiKey`, `RateLimited`."""
    services = services_of(request)
    caller = await services.authenticator.authenticate(
        authorization=request.headers.get("authorization"),
        x_api_key=request.headers.get("x-api-key"),
        address=address_of(request),
        now=services.clock(),
    )
    structlog.contextvars.bind_contextvars(account_id=caller.account_id)
    return Access(caller, await _standing(services, caller.account_id))


async def tool_caller(request: Request) -> Access:
    """As `key_holder`, on routes whose every answer tells of credits and rate."""
    request.state.standing = AccountStatus()
    access = await key_holder(request)
    request.state.standing = access.standing
    return access


async def admit_body(request: Request, access: Access) -> None:
    """Let the body come, on this account. Raises `RateLimited`, `ServerBusy`, `FileTooLarge`."""
    await body_limits.admit(
        request.scope,
        account_id=access.account_id,
        is_paid=access.priority is Priority.PAID,
        concurrent_calls=PLANS[access.caller.plan].concurrent_calls,
    )


def address_of(request: Request) -> str:
    """The client's network address."""
    return request.client.host if request.client else ""


def base_url_of(request: Request) -> str:
    """The address at which the caller reached us, without a slash at its end."""
    return str(request.base_url).rstrip("/")


def public_base_url(request: Request) -> str:
    """Where callers reach this server, without a trailing slash: its public URL, else the request's own."""
    return services_of(request).public_url or str(request.base_url).rstrip("/")


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns or raises; it is cancelled when the client goes away, or this is.

    Only after the body was read: what still comes is thrown away.
    """
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_disconnect(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return await task
    finally:
        task.cancel()
        gone.cancel()


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _standing(services: Services, account_id: str) -> AccountStatus:
    now = services.clock()

    def look(session: Session) -> tuple[AccountStatus, bool]:
        account = session.get_one(Account, account_id)
        standing = AccountStatus(admission.peek_rate(session, account_id, now), account.available)
        return standing, account.period_ends_at is None or account.period_ends_at <= now

    standing, new_period = await services.database.read(look)
    if new_period:

        def refresh(session: Session) -> int:
            account = accounts.lock(session, account_id)
            ledger.refresh(session, account, now)
            return account.available

        standing.credits_remaining = await services.database.run(refresh)
    return standing


ServicesOf = Annotated[Services, Depends(services_of)]
KeyHolder = Annotated[Access, Depends(key_holder)]
ToolCaller = Annotated[Access, Depends(tool_caller)]
