"""Download of the statement, and deletion of the account."""

import csv
import io
from collections.abc import AsyncIterator, Iterable

from fastapi import Request
from sqlmodel import Session
from starlette.responses import Response, StreamingResponse

from api import response_bodies
from api.auth import account_deletion, registration
from api.auth.email import messages
from api.errors import Forbidden, RateLimited
from api.services import Services
from billing.ledger.statement import Line, statement
from web.auth import forms, visitor
from web.auth.services import auth_services_of
from web.auth.settings_page import check_password, is_recent_login
from web.auth.visitor import SignedInVisitor

_LINES_PER_READ = 1_000
_COLUMNS = ("time", "kind", "credits", "balance", "reference")


async def export_statement(request: Request) -> Response:
    """All ledger entries of the account as CSV, newest first."""
    user = await visitor.require_owner(request)
    services = visitor.services_of(request)
    headers = {
        "Content-Disposition": 'attachment; filename="bgeraser-statement.csv"',
        "Cache-Control": "no-store",
    }
    # The first lines are read before the response starts, so that an outage is reported as an error.
    first = await _read_lines(services, user.account_id, None)
    chunks = _csv_chunks(services, user.account_id, first)
    return StreamingResponse(chunks, headers=headers, media_type="text/csv; charset=utf-8")


async def delete_page(request: Request) -> Response:
    return await _form(request, await visitor.require_owner(request))


async def delete(request: Request) -> Response:
    user, fields = await forms.read_owner(request)
    account_id, auth, services = user.account_id, auth_services_of(request), visitor.services_of(request)
    now = services.clock()
    if fields.get("sure") != "yes":
        return await _form(request, user, 422, problem="Tick the box to confirm the deletion.")
    try:
        await check_password(request, user, fields.get("current", ""))
    except (Forbidden, RateLimited) as error:
        status = 429 if isinstance(error, RateLimited) else 422
        return await _form(request, user, status, problem=error.message)

    def delete_account(session: Session) -> None:
        for prepare in auth.before_deletion:
            prepare(session, account_id, now)
        account_deletion.delete_account(session, services.former, account_id, now=now)

    await services.database.run(delete_account)
    auth.send(messages.account_deleted(user.email))
    visitor.clear_session_cookie(request)
    request.state.visitor = None
    return await forms.show(request, "deleted.html")


async def _form(
    request: Request, user: SignedInVisitor, status_code: int = 200, problem: str = ""
) -> Response:
    services = visitor.services_of(request)
    password_hash = await services.database.read(
        lambda session: registration.password_of(session, user.account_id)
    )
    return await forms.show(
        request,
        "delete.html",
        status_code,
        problem=problem,
        has_password=password_hash is not None,
        is_recent_login=is_recent_login(user, services.clock()),
    )


async def _csv_chunks(services: Services, account_id: str, first: list[Line]) -> AsyncIterator[str]:
    yield _csv([_COLUMNS])
    lines = first
    while lines:
        yield _csv(
            [
                (response_bodies.timestamp(line.at), line.kind, line.amount, line.balance, line.reference)
                for line in lines
            ]
        )
        if len(lines) < _LINES_PER_READ:
            return
        lines = await _read_lines(services, account_id, lines[-1].entry_id)


async def _read_lines(services: Services, account_id: str, before: int | None) -> list[Line]:
    return await services.database.read(lambda s: statement(s, account_id, _LINES_PER_READ, before))


def _csv(rows: Iterable[tuple[object, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
