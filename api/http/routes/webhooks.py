"""`/api/webhooks`: endpoints that receive events, their secrets, and the log of what was sent to them."""

import asyncio
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from pydantic import BaseModel
from sqlmodel import Session
from starlette.responses import Response

from api.auth.authenticator import Caller
from api.calls import admission
from api.errors import InvalidParameter
from api.http import dependencies, forms, json_bodies, openapi, openapi_examples, page_queries, responses
from api.http.dependencies import OwnersKeyHolder, ServicesOf
from api.http.routes.get_and_head import add_get
from api.http.schemas import (
    DeletedWebhookSuccess,
    DeliveryPageSuccess,
    DeliverySuccess,
    WebhookListSuccess,
    WebhookSuccess,
    WebhookWithSecretSuccess,
)
from api.services import Services
from api.webhooks import deliveries, endpoints, runs
from api.webhooks.models import DeliveryStatus, WebhookEvent
from billing.ledger import accounts

T = TypeVar("T")

_ALL = "/api/webhooks"
_ONE = f"{_ALL}/{{webhook_id}}"
_DEFAULT_LIMIT = 20
_EVENTS = [event.value for event in WebhookEvent.selectable()]
_URL_SCHEMA = {"type": "string", "format": "uri", "description": "An https URL of a public host."}
_EVENTS_SCHEMA = {
    "type": "array",
    "items": {"type": "string", "enum": _EVENTS},
    "minItems": 1,
    "description": "What is sent; everything by default.",
}
_ENABLED_SCHEMA = {"type": "boolean", "description": "false stops sending; true starts it again."}
_CREATE_FIELDS: dict[str, Any] = {"url": _URL_SCHEMA, "events": _EVENTS_SCHEMA}
_CHANGE_FIELDS = {**_CREATE_FIELDS, "enabled": _ENABLED_SCHEMA}
_PAGE_PARAMETERS = page_queries.described(
    DeliveryStatus, what="deliveries", limit=_DEFAULT_LIMIT, limit_max=deliveries.PAGE_MAX
)


def add_to(app: FastAPI) -> None:
    add_get(
        app, _ALL, show_all, **_described("list-webhooks", "Your webhooks", WebhookListSuccess, "WEBHOOKS")
    )
    _add(
        app,
        "POST",
        _ALL,
        create,
        _described("create-webhook", "Receive events", WebhookWithSecretSuccess, "WEBHOOK_WITH_SECRET", 422),
        _body(_CREATE_FIELDS, required=["url"]),
    )
    add_get(app, _ONE, show, **_described("get-webhook", "A webhook", WebhookSuccess, "WEBHOOK", 404))
    _add(
        app,
        "POST",
        _ONE,
        change,
        _described("change-webhook", "Change a webhook", WebhookSuccess, "WEBHOOK", 404, 422),
        _body(_CHANGE_FIELDS),
    )
    _add(
        app,
        "DELETE",
        _ONE,
        delete,
        _described(
            "delete-webhook", "Delete a webhook and its log", DeletedWebhookSuccess, "DELETED_WEBHOOK", 404
        ),
    )
    rotated = _described(
        "rotate-webhook-secret",
        "Give a webhook a new secret; the former one signs too for 24 hours",
        WebhookWithSecretSuccess,
        "WEBHOOK_WITH_SECRET",
        404,
    )
    _add(app, "POST", f"{_ONE}/rotate", rotate, rotated)
    tested = _described("test-webhook", "Send a test event", DeliverySuccess, "DELIVERY", 404)
    _add(app, "POST", f"{_ONE}/test", send_test, tested)
    add_get(
        app,
        f"{_ONE}/deliveries",
        show_deliveries,
        **_described(
            "list-webhook-deliveries",
            "What was sent to a webhook, newest first",
            DeliveryPageSuccess,
            "DELIVERY_PAGE",
            404,
            422,
            parameters=_PAGE_PARAMETERS,
        ),
    )
    redelivered = _described(
        "redeliver-webhook", "Send the message of a delivery again", DeliverySuccess, "DELIVERY", 404
    )
    _add(app, "POST", f"{_ONE}/deliveries/{{delivery_id}}/redeliver", redeliver, redelivered)


async def show_all(request: Request, caller: OwnersKeyHolder, services: ServicesOf) -> Response:
    forms.refuse_query(request)
    now = services.clock()
    found = await services.database.read(lambda session: endpoints.listed(session, caller.account_id))
    data = {"webhooks": [deliveries.describe_endpoint(each, now) for each in found]}
    return responses.success(request, data)


async def create(request: Request, caller: OwnersKeyHolder, services: ServicesOf) -> Response:
    sent = await _read_fields(request, caller, _CREATE_FIELDS)
    url = _url(services, sent)
    if url is None:
        raise InvalidParameter("url", "url: is required")
    events = _events(sent) or WebhookEvent.selectable()

    def work(session: Session, now: datetime) -> dict[str, Any]:
        endpoint = endpoints.create(session, caller.account_id, url, events, now)
        return {**deliveries.describe_endpoint(endpoint, now), "secret": endpoint.secret}

    return responses.success(request, await _post(services, caller, work))


async def show(request: Request, webhook_id: str, caller: OwnersKeyHolder, services: ServicesOf) -> Response:
    forms.refuse_query(request)
    found = await services.database.read(
        lambda session: endpoints.find(session, caller.account_id, webhook_id)
    )
    return responses.success(request, deliveries.describe_endpoint(found, services.clock()))


async def change(
    request: Request, webhook_id: str, caller: OwnersKeyHolder, services: ServicesOf
) -> Response:
    sent = await _read_fields(request, caller, _CHANGE_FIELDS)
    url, events, enabled = _url(services, sent), _events(sent), sent.get("enabled")
    if enabled is not None and not isinstance(enabled, bool):
        raise InvalidParameter("enabled", "enabled: must be true or false")

    def work(session: Session, now: datetime) -> dict[str, Any]:
        endpoint = endpoints.lock(session, caller.account_id, webhook_id, now)
        endpoints.change(endpoint, now, url=url, events=events, enabled=enabled)
        session.flush()
        if enabled is False:
            runs.give_up_pending(session, endpoint.id, now)
        return deliveries.describe_endpoint(endpoint, now)

    return responses.success(request, await _post(services, caller, work))


async def delete(
    request: Request, webhook_id: str, caller: OwnersKeyHolder, services: ServicesOf
) -> Response:
    forms.refuse_query(request)

    def work(session: Session) -> None:
        accounts.lock(session, caller.account_id)
        endpoints.remove(session, endpoints.find(session, caller.account_id, webhook_id))

    await services.database.run(work)
    return responses.success(request, {"webhookId": webhook_id, "deleted": True})


async def rotate(
    request: Request, webhook_id: str, caller: OwnersKeyHolder, services: ServicesOf
) -> Response:
    await _read_fields(request, caller, ())

    def work(session: Session, now: datetime) -> dict[str, Any]:
        endpoint = endpoints.lock(session, caller.account_id, webhook_id, now)
        endpoints.rotate(endpoint, now)
        return {**deliveries.describe_endpoint(endpoint, now), "secret": endpoint.secret}

    return responses.success(request, await _post(services, caller, work))


async def send_test(
    request: Request, webhook_id: str, caller: OwnersKeyHolder, services: ServicesOf
) -> Response:
    await _read_fields(request, caller, ())
    await services.engine.prepare()

    def work(session: Session, now: datetime) -> dict[str, Any]:
        endpoint = endpoints.lock(session, caller.account_id, webhook_id, now)
        request_id = responses.request_id_of(request)
        return deliveries.send_test(session, endpoint, request_id, now, services.engine)

    data = await _post(services, caller, work)
    services.engine.wake()
    return responses.success(request, data)


async def show_deliveries(
    request: Request, webhook_id: str, caller: OwnersKeyHolder, services: ServicesOf
) -> Response:
    sent = page_queries.read(request)
    status = page_queries.status_of(sent, DeliveryStatus)
    limit = page_queries.limit_of(sent, default=_DEFAULT_LIMIT, limit_max=deliveries.PAGE_MAX)

    def read(session: Session) -> dict[str, Any]:
        endpoint = endpoints.find(session, caller.account_id, webhook_id)
        shown, next_cursor = deliveries.page(
            session, endpoint, status=status, limit=limit, cursor=sent.get("cursor")
        )
        return {"deliveries": shown, "nextCursor": next_cursor}

    return responses.success(request, await services.database.read(read))


async def redeliver(
    request: Request, webhook_id: str, delivery_id: str, caller: OwnersKeyHolder, services: ServicesOf
) -> Response:
    await _read_fields(request, caller, ())
    await services.engine.prepare()

    def work(session: Session, now: datetime) -> dict[str, Any]:
        endpoint = endpoints.lock(session, caller.account_id, webhook_id, now)
        return deliveries.redeliver(session, endpoint, delivery_id, now, services.engine)

    data = await _post(services, caller, work)
    services.engine.wake()
    return responses.success(request, data)


async def _post(services: Services, caller: Caller, work: Callable[[Session, datetime], T]) -> T:
    """Run `work` in a transaction that takes a call of the rate: requests may make this server send."""

    def run(session: Session) -> T:
        now = services.clock()
        admission.take_rate(session, caller.account_id, now, services.test_rate_of(caller.is_test))
        return work(session, now)

    return await services.database.run(run)


async def _read_fields(request: Request, caller: Caller, known: Collection[str]) -> dict[str, Any]:
    """The JSON body, which may be absent. Raises `InvalidRequest`, `InvalidParameter` for unknown fields."""
    forms.refuse_query(request)
    await dependencies.admit_body(request, caller)
    content = await request.body()
    if not content:
        return {}
    sent = await asyncio.to_thread(json_bodies.read_object, content)
    for name in sent:
        if name not in known:
            shown = name[:100]
            raise InvalidParameter(shown, f"{shown} is not a parameter here.")
    return sent


def _url(services: Services, sent: dict[str, Any]) -> str | None:
    url = sent.get("url")
    if url is None:
        return None
    if not isinstance(url, str):
        raise InvalidParameter("url", "url: must be a text")
    services.webhook_sender.check_url(url, "url")
    return url


def _events(sent: dict[str, Any]) -> list[WebhookEvent] | None:
    events = sent.get("events")
    if events is None:
        return None
    if not isinstance(events, list) or not events or not all(each in _EVENTS for each in events):
        raise InvalidParameter("events", f"events: must be a list of {', '.join(_EVENTS)}")
    return [event for event in WebhookEvent.selectable() if event in events]


def _described(
    operation_id: str,
    summary: str,
    model: type[BaseModel],
    example: str,
    *statuses: int,
    parameters: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    success = openapi.success_response("Success.", model, getattr(openapi_examples, example))
    extra: dict[str, Any] = {"security": openapi.SECURITY}
    if parameters is not None:
        extra["parameters"] = parameters
    return {
        "operation_id": operation_id,
        "summary": summary,
        "tags": ["Webhooks"],
        "responses": success | openapi.error_responses(*openapi.WITH_KEY, *statuses),
        "openapi_extra": extra,
    }


def _body(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        **({"required": required} if required else {}),
    }
    content = {"application/json": {"schema": schema, "example": openapi_examples.WEBHOOK_BODY}}
    return {"requestBody": {"required": True, "content": content}}


def _add(
    app: FastAPI,
    method: str,
    path: str,
    endpoint: Callable[..., Any],
    described: dict[str, Any],
    body: dict[str, Any] | None = None,
) -> None:
    described["openapi_extra"] |= body or {}
    app.add_api_route(path, endpoint, methods=[method], response_class=Response, **described)
