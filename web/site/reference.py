"""Content of the API reference page, generated from the tool catalogue and the table of errors."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from starlette.staticfiles import StaticFiles

from api.errors import ERROR_TABLE
from api.http import tool_docs
from api.http.openapi import HEADERS
from ml.catalogue import TOOLS

MEANINGS = {
    "INVALID_REQUEST": "The request is malformed.",
    "MISSING_IMAGE": "None of image, image_url and image_id was sent.",
    "MULTIPLE_SOURCES": "More than one of image, image_url and image_id was sent.",
    "INVALID_API_KEY": "The API key is missing, unknown or revoked.",
    "INSUFFICIENT_CREDITS": "No credits are left in this period.",
    "FORBIDDEN": "The signature is invalid, or the account is closed.",
    "NOT_FOUND": "The resource does not exist or belongs to another account.",
    "METHOD_NOT_ALLOWED": "The Allow header lists the allowed methods.",
    "EXPIRED": "The signed address has expired.",
    "IDEMPOTENCY_IN_PROGRESS": "The first request with this Idempotency-Key is still running.",
    "FILE_TOO_LARGE": "A file is larger than 25 MiB, or the request larger than 52 MiB (a batch: 1 GiB).",
    "STORAGE_FULL": "The account has no storage left.",
    "UNSUPPORTED_FORMAT": "The file is not JPEG, PNG, WebP, AVIF, HEIC, BMP, GIF or TIFF, judged by its first"
    " bytes.",
    "INVALID_PARAMETER": "A parameter is invalid; param names it.",
    "UNREADABLE_IMAGE": "The image is damaged or truncated.",
    "IMAGE_TOO_LARGE": "More than 50 megapixels of input or 64 megapixels of output.",
    "NOTHING_FOUND": "No foreground was found, or nothing at the clicked point.",
    "MASK_EMPTY": "The mask selects nothing.",
    "IDEMPOTENCY_MISMATCH": "The Idempotency-Key was used for a different request.",
    "RATE_LIMITED": "Too many calls a minute or at once; wait for Retry-After.",
    "PROCESSING_FAILED": "The worker crashed. Try again.",
    "INTERNAL_ERROR": "An internal error. Try again, and report the request ID if it persists.",
    "MODEL_UNAVAILABLE": "The checkpoint is not installed; the message contains the install command.",
    "OVERLOADED": "The queue is full; wait for Retry-After.",
    "SERVICE_UNAVAILABLE": "The database or memory is temporarily unavailable.",
    "PROCESSING_TIMEOUT": "The call takes, or would take, longer than allowed; run it as a job.",
}


def template_values(schema: dict[str, Any]) -> dict[str, Any]:
    """The values of the template, apart from the code samples. `schema` is the OpenAPI document."""
    responses = schema["paths"]["/api/tools/bg-removal"]["post"]["responses"]
    refusal = responses["422"]["content"]["application/json"]["examples"]["INVALID_PARAMETER"]["value"]
    codes = {(status, code) for status, code in ERROR_TABLE.values()}
    return {
        "tools": [(tool, tool_docs.rows_of(tool)) for tool in TOOLS.values()],
        "common": tool_docs.common_rows(),
        "errors": [(status, code, MEANINGS[code]) for status, code in sorted(codes)],
        "headers": HEADERS,
        "routes": _routes(schema),
        "success": _pretty(responses["200"]["content"]["application/json"]["example"]),
        "failure": _pretty(refusal),
    }


def _routes(schema: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Method, path and summary of each route. The tools have their own sections."""
    return [
        (method.upper(), path, operation["summary"])
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
        if not path.startswith("/api/tools/")
    ]


def _pretty(example: Any) -> str:
    return json.dumps(example, indent=2, ensure_ascii=False)


@lru_cache(maxsize=1)
def swagger_files() -> StaticFiles:
    """Swagger UI's files, which fastapi-offline ships."""
    import fastapi_offline

    return StaticFiles(directory=Path(fastapi_offline.__file__).parent / "static")
