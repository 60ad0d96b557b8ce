"""HTTP responses: JSON, the image itself or an error, with headers for credits and rate."""

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
from api.calls.types import CallFailed, CallResult
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
    as_api_error,
    is_retryable,
    status_and_code,
)
from api.http.removebg import errors as removebg_errors
from api.images.media_types import MEDIA_TYPES
from api.memberships import roles
from api.payments import packs
from billing.errors import AddressUnverified, InsufficientCredits

#: Retry-After of an error that does not have its own.
_RETRY_AFTER_SECONDS = 5
_RETRIED_STATUSES = frozenset({409, 429, 503})
_WINDOW_SECONDS = 60
_HEADER_VALUE_LENGTH_MAX = 1024
#: Fields that have other headers already.
_NOT_REPEATED = frozenset({"creditsCharged", "creditsRemaining"})


def request_id_of(request: Request) -> str:
    """The id that the middleware gave this request."""
    request_id: str = request.state.request_id
    return request_id


def account_status_of(request: Request) -> AccountStatus | None:
    """The account status that the answer's headers report; None on routes without a price."""
    return getattr(request.state, "account_status", None)


def set_account_status(request: Request, account_status: AccountStatus) -> None:
    request.state.account_status = account_status


def success(request: Request, data: Any) -> Response:
    return stored_body(request, response_bodies.success(data, request_id_of(request)), is_replay=False)


def stored_body(request: Request, body: bytes, *, is_replay: bool) -> Response:
    """A success whose JSON body is encoded already."""
    headers = {**account_headers(request), **_replay_headers(is_replay)}
    return json_response(body, 200, headers)


def call_result(request: Request, result: CallResult) -> Response:
    """A call's JSON answer; a replay is the first answer byte for byte."""
    return json_response(result.body, result.status, call_headers(request, result))


def job_accepted(request: Request, result: CallResult) -> Response:
    """The answer 202 to a call that was accepted as a job."""
    assert result.data is not None
    response = call_result(request, result)
    response.headers["Location"] = result.data["statusUrl"]
    response.headers["Preference-Applied"] = "respond-async"
    return response


def batch_accepted(request: Request, result: CallResult) -> Response:
    """The answer 202 to a batch."""
    assert result.data is not None
    response = call_result(request, result)
    response.headers["Location"] = result.data["statusUrl"]
    return response


def prefers_job(request: Request) -> bool:
    """Whether `Prefer` has `respond-async` (RFC 7240). Other preferences are ignored, as the RFC allows."""
    preferences = ",".join(request.headers.getlist("prefer")).split(",")
    return any(each.partition(";")[0].strip().lower() == "respond-async" for each in preferences)


def picture_result(request: Request, result: CallResult, content: bytes) -> Response:
    """The image itself, with the fields of the JSON answer in headers."""
    data = dict(result.data or {})
    headers = {
        **call_headers(request, result),
        **_metadata_headers(data),
        **file_headers(data["imageId"], data["format"]),
        "Cache-Control": "no-store",
    }
    return Response(content, headers=headers)


def head_of_stream(media_type: str, headers: dict[str, str]) -> Response:
    """The answer to HEAD where GET streams: its length is not known, and another one must not be sent."""
    response = Response(media_type=media_type, headers=headers)
    del response.headers["Content-Length"]
    return response


def wants_picture(request: Request) -> bool:
    """Whether `Accept` prefers an image to JSON. JSON wins a tie, and `*/*` means JSON."""
    best_picture = best_json = 0.0
    for media_type, weight in accepted(request):
        if media_type.startswith("image/"):
            best_picture = max(best_picture, weight)
        elif media_type in ("application/json", "application/*"):
            best_json = max(best_json, weight)
    return best_picture > best_json


def accepted(request: Request) -> list[tuple[str, float]]:
    """The media types in `Accept`, in lower case, with their weights."""
    found = []
    for entry in ",".join(request.headers.getlist("accept")).split(","):
        media_type, *parameters = (part.strip().lower() for part in entry.split(";"))
        weight = next((_weight(value[2:]) for value in parameters if value.startswith("q=")), 1.0)
        found.append((media_type, weight))
    return found


def error(request: Request, raised: Exception, data: Any = None) -> Response:
    """The response for any exception, in the one error shape; `data` adds details."""
    if isinstance(raised, CallFailed):
        set_account_status(request, raised.account_status)
        raised = raised.error
    known = as_known_error(raised, is_of_member=is_of_member(request))
    request.state.error_code = status_and_code(known)[1]
    if removebg_errors.applies(request.scope.get("path", ""), known):
        status, body = removebg_errors.failure(known)
    else:
        status, body = response_bodies.failure(
            known, request_id_of(request), data, top_up_url=top_up_url(request, known)
        )
    headers = account_headers(request)
    if (seconds := retry_after_seconds(known)) is not None:
        headers["Retry-After"] = str(seconds)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return json_response(body, status, headers)


def set_is_of_member(request: Request, is_of_member: bool) -> None:
    """Whether the request acts for somebody else's account, whose credits only its owner can buy."""
    request.state.is_of_member = is_of_member


def is_of_member(request: Request) -> bool:
    return getattr(request.state, "is_of_member", False)


def top_up_url(request: Request, error: Exception) -> str | None:
    """Where the caller can buy credits; None if `error` is not that there are none, or none are sold.

    None for a member of an account too, whom that page would refuse.
    """
    if not isinstance(error, InsufficientCredits) or isinstance(error, AddressUnverified):
        return None
    if is_of_member(request):
        return None
    services = request.app.state.services
    if not packs.cached_offers(services):
        return None
    return f"{services.public_url or str(request.base_url).rstrip('/')}{packs.PAGE}"


def retry_after_seconds(error: Exception) -> int | None:
    """Whole seconds after which the same request may succeed; None if waiting does not help."""
    if status_and_code(error)[0] not in _RETRIED_STATUSES or not is_retryable(error):
        return None
    return max(1, math.ceil(getattr(error, "retry_after_seconds", None) or _RETRY_AFTER_SECONDS))


def as_known_error(raised: Exception, *, is_of_member: bool = False) -> Exception:
    """FastAPI's, Starlette's and the operating system's errors as API errors; others unchanged.

    A member is told to ask the account's owner, where the owner would have to buy credits or confirm the
    address.
    """
    if is_of_member:
        raised = roles.as_told_to_member(raised)
    if isinstance(raised, ApiError):
        return raised
    if isinstance(raised, RequestValidationError):
        first = raised.errors()[0]
        name = str(first["loc"][-1])
        return InvalidParameter(name, f"{name}: {first['msg']}")
    if isinstance(raised, HTTPException):
        return _http_error(raised)
    return as_api_error(raised)


def _http_error(raised: HTTPException) -> Exception:
    by_status: dict[int, Exception] = {
        401: InvalidApiKey(raised.detail),
        403: Forbidden(raised.detail),
        404: NotFound("There is nothing at this address."),
        405: MethodNotAllowed("This address does not support this method."),
        413: FileTooLarge(raised.detail),
        503: ServiceUnavailable(raised.detail),
    }
    if raised.status_code in by_status:
        return by_status[raised.status_code]
    return InvalidRequest(raised.detail) if raised.status_code < 500 else raised


def account_headers(request: Request) -> dict[str, str]:
    """Credits and rate in both styles; RateLimit as in draft-ietf-httpapi-ratelimit-headers-10."""
    account_status = account_status_of(request)
    if account_status is None:
        return {}
    headers = {"X-Credits-Charged": str(account_status.credits_charged)}
    if account_status.credits_remaining is not None:
        headers["X-Credits-Remaining"] = str(account_status.credits_remaining)
    if (rate := account_status.rate) is not None:
        now: datetime = request.app.state.services.clock()
        full_in_seconds = max(0, math.ceil((rate.reset_at - now).total_seconds()))
        headers["X-RateLimit-Limit"] = str(rate.limit)
        headers["X-RateLimit-Remaining"] = str(rate.remaining)
        headers["X-RateLimit-Reset"] = str(rate.reset_unix_seconds)
        headers["RateLimit-Policy"] = f'"calls";q={rate.limit};w={_WINDOW_SECONDS}'
        headers["RateLimit"] = f'"calls";r={rate.remaining};t={full_in_seconds}'
    return headers


def file_headers(image_id: str, format: str) -> dict[str, str]:
    """Headers of an image: its exact type, and a policy that keeps browsers from running its content."""
    return {
        "Content-Type": MEDIA_TYPES[format],
        "Content-Disposition": f'attachment; filename="{image_id}.{format}"',
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    }


def call_headers(request: Request, result: CallResult) -> dict[str, str]:
    """Headers of every answer to a call."""
    return {**account_headers(request), "Vary": "Accept", **_replay_headers(result.is_replay)}


def _replay_headers(is_replay: bool) -> dict[str, str]:
    return {"Idempotent-Replayed": "true"} if is_replay else {}


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


def json_response(body: bytes, status: int, headers: dict[str, str]) -> Response:
    """A JSON body that is encoded already; no cache may keep it."""
    return Response(body, status, {**headers, "Cache-Control": "no-store"}, media_type="application/json")


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
