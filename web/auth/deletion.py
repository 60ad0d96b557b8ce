"""Taking one's statement along, and deleting the account."""

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
from web.auth.settings_page import check_password, is_fresh
from web.auth.visitor import Visitor

_PAGE_LINES = 1_000
_COLUMNS = ("time", "kind", "credits", "balance", "reference")


async def export(request: Request) -> Response:
    """Every entry of the account as CSV, the newest first."""
    who = await visitor.signed_in(request)
    assert who.account_id is not None
    services = visitor.services_of(request)
    headers = {
        "Content-Disposition": 'attachment; filename="bgeraser-statement.csv"',
        "Cache-Control": "no-store",
    }
    # The first page is read before the answer begins, so that an outage is told and not cut off.
    first = await _lines(services, who.account_id, None)
    pages = _csv_pages(services, who.account_id, first)
    return StreamingResponse(pages, headers=headers, media_type="text/csv; charset=utf-8")


async def delete_page(request: Request) -> Response:
    return await _form(request, await visitor.signed_in(request))


async def delete(request: Request) -> Response:
    who, fields = await forms.read_signed_in(request)
    assert who.account_id is not None
    assert who.email is not None
    account_id, people, services = who.account_id, auth_services_of(request), visitor.services_of(request)
    now = services.clock()
    if fields.get("sure") != "yes":
        return await _form(request, who, 422, problem="Tick the box if you are sure.")
    try:
        await check_password(request, who, fields.get("current", ""))
    except (Forbidden, RateLimited) as error:
        status = 429 if isinstance(error, RateLimited) else 422
        return await _form(request, who, status, problem=error.message)

    def work(session: Session) -> None:
        for prepare in people.before_deletion:
            prepare(session, account_id, now)
        account_deletion.delete_account(session, services.former, account_id, now=now)

    await services.database.run(work)
    people.send(messages.account_deleted(who.email))
    visitor.forget(request)
    request.state.visitor = None
    return await forms.show(request, "deleted.html")


async def _form(request: Request, who: Visitor, status_code: int = 200, problem: str = "") -> Response:
    assert who.account_id is not None
    account_id = who.account_id
    services = visitor.services_of(request)
    stored = await services.database.read(lambda session: registration.password_of(session, account_id))
    return await forms.show(
        request,
        "delete.html",
        status_code,
        problem=problem,
        has_password=stored is not None,
        is_fresh=is_fresh(who, services.clock()),
    )


async def _csv_pages(services: Services, account_id: str, first: list[Line]) -> AsyncIterator[str]:
    yield _csv([_COLUMNS])
    lines = first
    while lines:
        yield _csv(
            [
                (response_bodies.timestamp(line.at), line.kind, line.amount, line.balance, line.reference)
                for line in lines
            ]
        )
        if len(lines) < _PAGE_LINES:
            return
        lines = await _lines(services, account_id, lines[-1].entry_id)


async def _lines(services: Services, account_id: str, before: int | None) -> list[Line]:
    return await services.database.read(lambda s: statement(s, account_id, _PAGE_LINES, before))


def _csv(rows: Iterable[tuple[object, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
