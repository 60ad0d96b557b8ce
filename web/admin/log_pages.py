"""The panel's pages of the audit log: a filtered list, and the same as CSV."""

from collections.abc import AsyncIterator
from urllib.parse import urlencode

from fastapi import Request
from sqlmodel import Session
from starlette.responses import Response, StreamingResponse

from api.errors import InvalidParameter
from api.operators import audit_log
from api.operators.audit_log import LogFilter, LogLine
from api.operators.models import Act
from api.services import Services
from billing.errors import UnknownAccount
from billing.ledger import accounts
from web.admin import rendering
from web.admin.access import PATH
from web.auth import visitor

LOG_PATH = f"{PATH}/log"
_PAGE_ROWS = 50
_ROWS_PER_READ = 1_000
_FILTERS = ("account", "operator", "act")
_TEXT_LENGTH_MAX = 254
_DIGITS_MAX = 18
_NOBODY = "-"  # no account has this id


async def log_page(request: Request) -> Response:
    """Entries by account, operator and act, newest first."""
    typed = _typed(request)
    before = _position(request)
    lines = await _read(visitor.services_of(request), typed, _PAGE_ROWS, before)
    query = {name: value for name, value in typed.items() if value}
    older = {**query, "before": lines[-1].entry.id} if len(lines) == _PAGE_ROWS else None
    return rendering.show(
        request,
        "log.html",
        LOG_PATH,
        lines=lines,
        typed=typed,
        acts=list(Act),
        here=LOG_PATH,
        csv_path=f"{LOG_PATH}.csv?{urlencode(query)}",
        older_path=f"{LOG_PATH}?{urlencode(older)}" if older is not None else None,
        is_first=before is None,
    )


async def log_csv(request: Request) -> Response:
    """All entries of the filter as CSV."""
    services, typed = visitor.services_of(request), _typed(request)
    headers = {
        "Content-Disposition": 'attachment; filename="bgeraser-audit-log.csv"',
        "Cache-Control": "no-store",
    }
    # The first lines are read before the response starts, so that an outage is reported as an error.
    first = await _read(services, typed, _ROWS_PER_READ, None)
    chunks = _csv_chunks(services, typed, first)
    return StreamingResponse(chunks, headers=headers, media_type="text/csv; charset=utf-8")


async def _csv_chunks(services: Services, typed: dict[str, str], lines: list[LogLine]) -> AsyncIterator[str]:
    yield audit_log.csv_text([audit_log.COLUMNS])
    while lines:
        yield audit_log.csv_rows(lines)
        if len(lines) < _ROWS_PER_READ:
            return
        lines = await _read(services, typed, _ROWS_PER_READ, lines[-1].entry.id)


async def _read(services: Services, typed: dict[str, str], limit: int, before: int | None) -> list[LogLine]:
    def read(session: Session) -> list[LogLine]:
        wanted = LogFilter(
            account_id=_account_id(session, typed["account"]),
            operator_id=_account_id(session, typed["operator"]),
            act=Act(typed["act"]) if typed["act"] else None,
        )
        lines = audit_log.page(session, wanted, limit, before)
        session.expunge_all()
        return lines

    return await services.database.read(read)


def _typed(request: Request) -> dict[str, str]:
    """The filter as it was typed; "" for what is not filtered."""
    typed = {name: request.query_params.get(name, "").strip()[:_TEXT_LENGTH_MAX] for name in _FILTERS}
    if typed["act"] not in {"", *Act}:
        raise InvalidParameter("act", "There is no such act.")
    return {name: value if value.isprintable() else "" for name, value in typed.items()}


def _account_id(session: Session, text: str) -> str | None:
    """The id that was typed, or that of the address that was typed; None for nothing."""
    if not text or text == audit_log.COMMAND_LINE or text.startswith("acc_"):
        return text or None
    try:
        return accounts.find_by_email(session, text).id
    except UnknownAccount:
        return _NOBODY


def _position(request: Request) -> int | None:
    text = request.query_params.get("before", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX else None
