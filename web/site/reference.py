"""What the readable API reference says, from the catalogue and the one table of errors."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from starlette.staticfiles import StaticFiles

from api.errors import ERROR_TABLE
from api.http import tool_docs
from api.http.openapi import HEADERS
from ml.catalogue import TOOLS

_MEANINGS = {
    "INVALID_REQUEST": "The form cannot be read.",
    "MISSING_IMAGE": "Neither image nor image_id came.",
    "MULTIPLE_SOURCES": "Both image and image_id came.",
    "INVALID_API_KEY": "No key, an unknown one, or one that was revoked.",
    "INSUFFICIENT_CREDITS": "No credits are left in this period.",
    "FORBIDDEN": "A signature that is wrong, or a closed account.",
    "NOT_FOUND": "No such thing, or not yours.",
    "METHOD_NOT_ALLOWED": "Allow says which methods are.",
    "EXPIRED": "A signed address past its time.",
    "IDEMPOTENCY_IN_PROGRESS": "The first request with this key still runs.",
    "FILE_TOO_LARGE": "Over 25 MiB a file or 52 MiB a request.",
    "STORAGE_FULL": "The account's stored pictures take all its room.",
    "UNSUPPORTED_FORMAT": "Not JPEG, PNG, WebP, AVIF or HEIC, by the first bytes.",
    "INVALID_PARAMETER": "param names it.",
    "UNREADABLE_IMAGE": "Damaged or cut short.",
    "IMAGE_TOO_LARGE": "Too many pixels: 50 megapixels in, 64 out.",
    "NOTHING_FOUND": "No foreground, or nothing under the click.",
    "MASK_EMPTY": "The mask covers nothing.",
    "IDEMPOTENCY_MISMATCH": "Another request under the same Idempotency-Key.",
    "RATE_LIMITED": "Too many calls a minute or at once; Retry-After says when.",
    "PROCESSING_FAILED": "The worker was lost. Try again.",
    "INTERNAL_ERROR": "A fault of ours. Try again; name the request id if it stays.",
    "MODEL_UNAVAILABLE": "The checkpoint is not installed; the message has the command.",
    "OVERLOADED": "Too much is waiting; Retry-After says when.",
    "SERVICE_UNAVAILABLE": "The database or memory is short for a moment.",
    "PROCESSING_TIMEOUT": "It takes, or would take, longer than allowed.",
}


def facts(schema: dict[str, Any]) -> dict[str, Any]:
    """What the template shows besides the first call. `schema`: the OpenAPI description."""
    answered = schema["paths"]["/api/tools/bg-removal"]["post"]["responses"]
    refused = answered["422"]["content"]["application/json"]["examples"]["INVALID_PARAMETER"]["value"]
    codes = {(status, code) for status, code in ERROR_TABLE.values()}
    return {
        "tools": [(tool, tool_docs.rows_of(tool)) for tool in TOOLS.values()],
        "common": tool_docs.common_rows(),
        "errors": [(status, code, _MEANINGS[code]) for status, code in sorted(codes)],
        "headers": HEADERS,
        "routes": _routes(schema),
        "success": _pretty(answered["200"]["content"]["application/json"]["example"]),
        "failure": _pretty(refused),
    }


def _routes(schema: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Method, path and summary of every route but the tools', which have sections of their own."""
    return [
        (method.upper(), path, operation["summary"])
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
        if not path.startswith("/api/tools/")
    ]


def _pretty(example: Any) -> str:
    return json.dumps(example, indent=2, ensure_ascii=False)


def meanings() -> set[str]:
    """The codes that are explained."""
    return set(_MEANINGS)


@lru_cache(maxsize=1)
def swagger_files() -> StaticFiles:
    """Swagger UI's own files, from the package that carries them."""
    import fastapi_offline

    return StaticFiles(directory=Path(fastapi_offline.__file__).parent / "static")
