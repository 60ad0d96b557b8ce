"""`/api/usage`: answered calls and credits by day, tool and key."""

from datetime import date

from fastapi import FastAPI, Request
from starlette.responses import Response

from api.calls import call_log
from api.errors import InvalidParameter
from api.http import openapi, openapi_examples, responses
from api.http.dependencies import KeyHolder, ServicesOf
from api.http.routes.get_and_head import add_get
from api.http.schemas import UsageEntry, UsageSuccess

_DEFAULT_DAYS = 30
_PARAMETERS = [
    {
        "name": name,
        "in": "query",
        "required": False,
        "schema": {"type": "string", "format": "date"},
        "description": description,
    }
    for name, description in (
        ("from", f"First day, in UTC. Default: {_DEFAULT_DAYS - 1} days before the last one."),
        ("to", "Last day, included. Default: today."),
    )
]


def add_to(app: FastAPI) -> None:
    add_get(
        app,
        "/api/usage",
        show,
        operation_id="get-usage",
        summary="Calls and credits by day, tool and key",
        tags=["Account"],
        responses=openapi.success_response("Usage by day.", UsageSuccess, openapi_examples.USAGE)
        | openapi.error_responses(*openapi.WITH_KEY, 422),
        openapi_extra={"security": openapi.SECURITY, "parameters": _PARAMETERS},
    )


async def show(request: Request, caller: KeyHolder, services: ServicesOf) -> Response:
    _refuse_unknown(request)
    last = _day(request, "to") or services.clock().date()
    first = _day(request, "from") or _days_before(last, _DEFAULT_DAYS - 1)
    if first > last:
        raise InvalidParameter("from", "from: must not be after to")
    if last - first > call_log.KEPT:
        raise InvalidParameter("from", f"from: at most {call_log.KEPT.days} days before to")
    found = await services.database.read(
        lambda session: call_log.usage(session, caller.account_id, first, last)
    )
    entries = [
        UsageEntry(
            day=each.day.isoformat(),
            tool=each.tool,
            key_id=each.key_id,
            calls=each.calls,
            credits=each.credits,
        ).as_data()
        for each in found
    ]
    return responses.success(request, entries)


def _refuse_unknown(request: Request) -> None:
    names = [name for name, _ in request.query_params.multi_items()]
    for name in names:
        if name not in ("from", "to"):
            raise InvalidParameter(name, f"{name}: unknown; there are from and to")
        if names.count(name) > 1:
            raise InvalidParameter(name, f"{name}: must be given once")


def _day(request: Request, name: str) -> date | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        if len(text) != len("2026-11-22"):
            raise ValueError(text)
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidParameter(name, f"{name}: must be a day such as 2026-11-22") from None


def _days_before(day: date, days: int) -> date:
    return date.fromordinal(max(1, day.toordinal() - days))
