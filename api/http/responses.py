"""Answers as HTTP sends them: JSON, the picture itself or an error; headers tell of credits and rate."""

import errno
import json
import math
from datetime import datetime
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api import response_bodies
from api.calls.account_status import AccountStatus
from api.calls.types import CallAnswer
from api.errors import (
    ApiError,
    FileTooLarge,
    Forbidden,
    InvalidApiKey,
    InvalidParameter,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    ServiceUnavailable,
)
from api.images.service import MEDIA_TYPES

#: What a refusal says when the error itself does not know when to come back.
_RETRY_AFTER_SECONDS = 5
_RETRIED_STATUSES = frozenset({409, 429, 503})
_WINDOW_SECONDS = 60
_HEADER_VALUE_LENGTH_MAX = 1024
#: Told by headers of their own.
_NOT_REPEATED = frozenset({"creditsCharged", "creditsRemaining"})


def request_id_of(request: Request) -> str:
    """The id that the envelope gave this request."""
    request_id: str = request.state.request_id
    return request_id


def account_status_of(request: Request) -> AccountStatus | None:
    """What is known of the caller; None before the key was checked, and on routes without a price."""
    return getattr(request.state, "standing", None)


def success(request: Request, data: Any) -> Response:
    body = response_bodies.success(data, request_id_of(request))
    return _json(body, 200, account_headers(request))


def call_answer(request: Request, answer: CallAnswer) -> Response:
    """The JSON body of a call's answer, the first one's byte for byte if it is a replay."""
    return _json(answer.body, answer.status_code, _call_headers(request, answer))


def picture_answer(request: Request, answer: CallAnswer, content: bytes) -> Response:
    """The picture itself; what the JSON would have told about it stands in headers."""
    data = json.loads(answer.body)["data"]
    headers = {
        **_call_headers(request, answer),
        **_metadata_headers(data),
        **file_headers(data["imageId"], data["format"]),
        "Cache-Control": "no-store",
    }
    return Response(content, headers=headers)


def wants_picture(request: Request) -> bool:
    """Whether `Accept` prefers a picture to JSON. JSON wins a tie, and whoever accepts anything gets JSON."""
    best_picture, best_json = 0.0, 0.0
    for entry in ",".join(request.headers.getlist("accept")).split(","):
        media_type, *parameters = (part.strip().lower() for part in entry.split(";"))
        weight = next((_weight(value[2:]) for value in parameters if value.startswith("q=")), 1.0)
        if media_type.startswith("image/"):
            best_picture = max(best_picture, weight)
        elif media_type in ("application/json", "application/*"):
            best_json = max(best_json, weight)
    return best_picture > best_json


def error(request: Request, raised: Exception, data: Any = None) -> Response:
    """The answer for anything that was raised, in the one shape all errors have; `data` says more."""
    known = as_known_error(raised)
    status, body = response_bodies.failure(known, request_id_of(request), data)
    headers = account_headers(request)
    if status in _RETRIED_STATUSES:
        seconds = getattr(known, "retry_after_seconds", None) or _RETRY_AFTER_SECONDS
        headers["Retry-After"] = str(max(1, math.ceil(seconds)))
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return _json(body, status, headers)


def as_known_error(raised: Exception) -> Exception:
    """FastAPI's, Starlette's and the disk's errors as ours; any other as it is."""
    if isinstance(raised, ApiError):
        return raised
    if isinstance(raised, RequestValidationError):
        first = raised.errors()[0]
        name = str(first["loc"][-1])
        return InvalidParameter(name, f"{name}: {first['msg']}")
    if isinstance(raised, HTTPException):
        return _http_error(raised)
    if isinstance(raised, OSError) and raised.errno in (errno.ENOSPC, errno.EDQUOT):
        return ServiceUnavailable("The server's disk is full. Nothing was charged; please try again later.")
    if isinstance(raised, OSError) and raised.errno == errno.ENAMETOOLONG:
        return NotFound("There is nothing at this address.")
    return raised


def _http_error(raised: HTTPException) -> Exception:
    by_status: dict[int, Exception] = {
        401: InvalidApiKey(raised.detail),
        403: Forbidden(raised.detail),
        404: NotFound("There is nothing at this address."),
        405: MethodNotAllowed("This address does not know this method."),
        413: FileTooLarge(raised.detail),
        503: ServiceUnavailable(raised.detail),
    }
    if raised.status_code in by_status:
        return by_status[raised.status_code]
    return InvalidRequest(raised.detail) if raised.status_code < 500 else raised


def account_headers(request: Request) -> dict[str, str]:
    """Credits and rate in both styles; RateLimit as in draft-ietf-httpapi-ratelimit-headers-10."""
    standing = account_status_of(request)
    if standing is None:
        return {}
    headers = {"X-Credits-Charged": str(standing.credits_charged)}
    if standing.credits_remaining is not None:
        headers["X-Credits-Remaining"] = str(standing.credits_remaining)
    if (rate := standing.rate) is not None:
        now: datetime = request.app.state.services.clock()
        full_in_seconds = max(0, math.ceil((rate.reset_at - now).total_seconds()))
        headers["X-RateLimit-Limit"] = str(rate.limit)
        headers["X-RateLimit-Remaining"] = str(rate.remaining)
        headers["X-RateLimit-Reset"] = str(rate.reset_unix_seconds)
        headers["RateLimit-Policy"] = f'"calls";q={rate.limit};w={_WINDOW_SECONDS}'
        headers["RateLimit"] = f'"calls";r={rate.remaining};t={full_in_seconds}'
    return headers


def file_headers(image_id: str, format: str) -> dict[str, str]:
    """What a picture is sent with: its exact type, and no way for a browser to run what it may contain."""
    return {
        "Content-Type": MEDIA_TYPES[format],
        "Content-Disposition": f'attachment; filename="{image_id}.{format}"',
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    }


def _call_headers(request: Request, answer: CallAnswer) -> dict[str, str]:
    headers = {**account_headers(request), "Vary": "Accept"}
    if answer.is_replay:
        headers["Idempotent-Replayed"] = "true"
    return headers


def _metadata_headers(data: dict[str, Any]) -> dict[str, str]:
    """`imageId` becomes `X-Image-Id`; lists and objects become JSON, unless too long for a header."""
    headers = {}
    for name, value in data.items():
        if value is None or value == [] or name in _NOT_REPEATED:
            continue
        text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        if len(text) <= _HEADER_VALUE_LENGTH_MAX and text.isascii() and text.isprintable():
            kebab = "".join(f"-{letter}" if letter.isupper() else letter for letter in name).title()
            headers[f"X-{kebab}"] = text
    return headers


def _json(body: bytes, status: int, headers: dict[str, str]) -> Response:
    return Response(body, status, {**headers, "Cache-Control": "no-store"}, media_type="application/json")


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
