"""What agents get: an answer's fields as structured content and as text, and a preview to look at."""

import asyncio
import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import structlog
from mcp.types import CallToolResult, ContentBlock, ImageContent, TextContent

from api import response_bodies
from api.calls.types import CallFailed, CallResult
from api.calls.unbilled_admission import Claimant
from api.errors import ApiError
from api.http import dependencies, responses
from api.http.mcp.exchange import Exchange
from api.images import previews
from api.images import service as images
from api.images.models import Image
from api.networks import network_of
from ml.errors import MlError

log = structlog.get_logger()

PREVIEW_SIDE_PIXELS = 512
_PREVIEW_SECONDS = 10.0
#: Longer fields, such as the runs of a mask, would fill an agent's context and are left out.
_FIELD_BYTES_MAX = 16 * 1024


async def success(exchange: Exchange, result: CallResult) -> CallToolResult:
    """The answer of a call; that of a replayed failure is a refusal."""
    request_id = responses.request_id_of(exchange.request)
    if result.error is not None:
        return _refusal(dict(result.error), request_id)
    status = result.account_status
    data, left_out = await asyncio.to_thread(_short_fields, result.data or {})
    if left_out:
        names = " and ".join(left_out)
        warning = f"Too long to be repeated here: {names}. The REST API answers with the whole value."
        data["warnings"] = [*data["warnings"], warning]
    data |= {"creditsCharged": status.credits_charged, "requestId": request_id, "replayed": result.is_replay}
    if status.credits_remaining is not None:
        data["creditsRemaining"] = status.credits_remaining
    preview = None if result.image_id is None else await _preview(exchange, result.image_id)
    return structured(data, *([] if preview is None else [preview]))


def structured(data: Mapping[str, Any], *further: ContentBlock) -> CallToolResult:
    """`data` as structured content, and as text for clients that only show text."""
    content: list[ContentBlock] = [TextContent(text=json.dumps(data)), *further]
    return CallToolResult(content=content, structured_content=dict(data))


def refusal(exchange: Exchange, error: Exception) -> CallToolResult:
    """A tool error with our code, message and parameter. An unforeseen one is logged and not described."""
    if isinstance(error, CallFailed):
        error = error.error
    known = responses.as_known_error(error, is_of_member=responses.is_of_member(exchange.request))
    fields = response_bodies.error_fields(known, responses.top_up_url(exchange.request, known))
    if fields["code"] == "INTERNAL_ERROR":
        log.error("unforeseen error", exc_info=error)
    retry_after_seconds = responses.retry_after_seconds(known)
    if retry_after_seconds is not None:
        fields["retryAfterSeconds"] = retry_after_seconds
    return _refusal(fields, responses.request_id_of(exchange.request))


def _refusal(fields: dict[str, Any], request_id: str) -> CallToolResult:
    result = structured({"error": fields, "requestId": request_id})
    result.is_error = True
    return result


def _short_fields(data: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The fields that are short enough, and the names of the others."""
    kept, left_out = {}, []
    for name, value in data.items():
        if isinstance(value, list | dict) and len(response_bodies.encode(value)) > _FIELD_BYTES_MAX:
            left_out.append(name)
        else:
            kept[name] = value
    return kept, left_out


async def _preview(exchange: Exchange, image_id: str) -> ImageContent | None:
    """A WebP of the result that fits a square of `PREVIEW_SIDE_PIXELS`; None if none can be had now.

    The call has been paid for, so nothing that goes wrong here may fail it.
    """
    services, caller = exchange.services, exchange.caller
    network = network_of(dependencies.address_of(exchange.request))
    claimant = Claimant(caller.account_id, network, caller.priority)
    try:
        async with asyncio.timeout(_PREVIEW_SECONDS):
            image = await services.database.read(
                lambda session: images.find(session, services, caller.account_id, image_id)
            )
            content = await previews.read(services, image, _width(image), claimant)
    except (ApiError, MlError, OSError, TimeoutError) as error:
        log.info("an answer has no preview", image_id=image_id, reason=repr(error))
        return None
    return ImageContent(data=b64encode(content).decode(), mime_type="image/webp")


def _width(image: Image) -> int:
    if image.width is None or image.height is None or image.height <= image.width:
        return PREVIEW_SIDE_PIXELS
    return max(1, PREVIEW_SIDE_PIXELS * image.width // image.height)
