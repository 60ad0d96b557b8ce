"""remove.bg's errors: `{"errors": [{"title", "code", "detail"}]}` with its statuses and code words.

Clients read `errors[0].title` and the status. Everything that the caller sent wrongly is 400 there, and an
invalid key 403. Codes that remove.bg does not have are ours in lower case.
"""

import re
from collections.abc import Mapping
from typing import Any

from api import response_bodies
from api.errors import (
    MethodNotAllowed,
    MultipleSources,
    RemoteFileUnavailable,
    UnusableRemoteUrl,
    status_and_code,
)
from api.http.removebg.paths import PATHS

_STATUSES = {401: 403, 404: 400, 410: 400, 413: 400, 415: 400, 422: 400}
#: Our code -> remove.bg's code and title. Without a title, our own message is the title.
_CODES: dict[str, tuple[str, str | None]] = {
    "INVALID_REQUEST": ("invalid_request", None),
    "MISSING_IMAGE": ("missing_source", "No image given"),
    "MULTIPLE_SOURCES": ("multiple_sources", "Multiple image sources given"),
    "INVALID_API_KEY": ("auth_failed", "API Key invalid"),
    "FORBIDDEN": ("auth_failed", None),
    "INSUFFICIENT_CREDITS": ("insufficient_credits", "Insufficient credits"),
    "FILE_TOO_LARGE": ("file_too_large", "File too large"),
    "UNSUPPORTED_FORMAT": ("invalid_file_type", "Invalid file type"),
    "UNREADABLE_IMAGE": ("failed_to_read_image", "There was an error reading the image"),
    "IMAGE_TOO_LARGE": ("resolution_too_high", "Image resolution too high"),
    "NOTHING_FOUND": ("unknown_foreground", "Could not identify foreground in image"),
    "RATE_LIMITED": ("rate_limit_exceeded", "Rate limit exceeded"),
}
_DOWNLOAD_CODES = {"image_url": "failed_image_download", "bg_image_url": "failed_bg_download"}
_KEY_HEADER = "Idempotency-Key"
#: Our names of what a call names at fault, and remove.bg's.
_NAMES = {
    "image": "image_file",
    "bg_image": "bg_image_file",
    "shadow": "shadow_type",
    _KEY_HEADER: "idempotency_key",
}
# Messages begin with the name that they are about, or do not have it.
_NAME_AT_START = re.compile(r"(?:bg_image|shadow)\b")


class MultipleBackgrounds(MultipleSources):
    """More than one of bg_color, bg_image_url and bg_image_file."""


def applies(path: str, error: Exception) -> bool:
    """Whether an error at this path is answered in remove.bg's shape.

    What is wrong with the route itself, such as an unsupported method, keeps our own.
    """
    return path in PATHS and not isinstance(error, MethodNotAllowed)


def failure(error: Exception) -> tuple[int, bytes]:
    """Status and body of an error."""
    return _body(status_and_code(error)[0], response_bodies.error_fields(error), error)


def replayed_failure(status: int, error: Mapping[str, Any]) -> tuple[int, bytes]:
    """Status and body of a stored failure that is replayed: `error` is its `error` object."""
    return _body(status, error, None)


def _body(status: int, fields: Mapping[str, Any], error: Exception | None) -> tuple[int, bytes]:
    code, title = _code_and_title(fields, error)
    message = _message(fields)
    entry = {"title": title or message, "code": code, **({"detail": message} if title else {})}
    return _STATUSES.get(status, status), response_bodies.encode({"errors": [entry]})


def _message(fields: Mapping[str, Any]) -> str:
    """Our message with remove.bg's name of the parameter at fault."""
    message, own_name = str(fields["message"]), fields["param"]
    if own_name is None:
        return message
    name = own_name if own_name == _KEY_HEADER else _NAMES.get(own_name, own_name)
    message = _NAME_AT_START.sub(name, message, count=1) if _NAME_AT_START.match(message) else message
    return message if name in message else f"{name}: {message}"


def _code_and_title(fields: Mapping[str, Any], error: Exception | None) -> tuple[str, str | None]:
    own_code, own_name = str(fields["code"]), fields["param"]
    name = None if own_name is None else _NAMES.get(own_name, own_name)
    if isinstance(error, MultipleBackgrounds):
        return "multiple_bg_sources", "Multiple background sources given"
    if isinstance(error, RemoteFileUnavailable):
        title = (
            "Failed to download background image" if name == "bg_image_url" else "Failed to download image"
        )
        return _DOWNLOAD_CODES.get(name or "", "failed_image_download"), title
    if isinstance(error, UnusableRemoteUrl):
        return f"invalid_{name}", f"Invalid {name} parameter given"
    if own_code == "INVALID_PARAMETER" and name is not None:
        return f"invalid_{name}", f"Invalid {name} parameter given"
    return _CODES.get(own_code, (own_code.lower(), None))
