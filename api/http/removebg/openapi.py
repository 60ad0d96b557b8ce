"""The OpenAPI entries of the drop-in, in remove.bg's own shapes."""

from typing import Any

from pydantic import BaseModel, Field

from api.http import openapi
from api.http.removebg.fields import RemoveBgFields

_TAGS = ["remove.bg drop-in"]
_FILE = {"type": "string", "format": "binary"}
_BASE64 = {
    "type": "string",
    "description": "Instead of `image_file`: the image as base64 or as a data URL. Alias: `image_base64`.",
}


class RemoveBgProblem(BaseModel):
    title: str = Field(description="What happened, for people.")
    code: str = Field(description="A stable code, for programs.")
    detail: str | None = Field(None, description="More about it; absent if the title says it all.")


class RemoveBgFailure(BaseModel):
    errors: list[RemoveBgProblem] = Field(min_length=1, max_length=1)


class RemoveBgResult(BaseModel):
    result_b64: str = Field(description="The result as base64.")
    foreground_top: int
    foreground_left: int
    foreground_width: int
    foreground_height: int


class RemoveBgSuccess(BaseModel):
    data: RemoveBgResult


class RemoveBgCredits(BaseModel):
    total: int = Field(description="Credits left.")
    subscription: int = Field(description="All but those of packs.")
    payg: int = Field(description="Those of packs.")
    enterprise: int


class RemoveBgApiInfo(BaseModel):
    free_calls: int = Field(description="0: every successful call costs 1 credit, previews too.")
    sizes: str


class RemoveBgAttributes(BaseModel):
    credits: RemoveBgCredits
    api: RemoveBgApiInfo


class RemoveBgAccountData(BaseModel):
    attributes: RemoveBgAttributes


class RemoveBgAccount(BaseModel):
    data: RemoveBgAccountData


_RATE_HEADERS = {
    name: openapi.HEADERS[name]
    for name in ("X-Request-Id", "X-Credits-Charged", "X-RateLimit-Limit", "X-RateLimit-Remaining")
} | {"X-RateLimit-Reset": openapi.HEADERS["X-RateLimit-Reset"]}
_RESULT_HEADERS = {
    **_RATE_HEADERS,
    "X-Type": "The foreground type that the call named, else other; absent with type_level=none.",
    "X-Width": "Width of the result in pixels.",
    "X-Height": "Height of the result in pixels.",
    "X-Max-Width": "Width of the same result at size=50MP.",
    "X-Max-Height": "Height of the same result at size=50MP.",
    "X-Foreground-Top": "Top of the foreground's box, in pixels of the image at the size that was asked for.",
    "X-Foreground-Left": "Left of the foreground's box.",
    "X-Foreground-Width": "Width of the foreground's box.",
    "X-Foreground-Height": "Height of the foreground's box.",
    "Idempotent-Replayed": "true if the answer of an earlier identical request is repeated.",
}
#: Examples of remove.bg's code words by status: code, title, detail.
_EXAMPLES: dict[int, tuple[tuple[str, str, str | None], ...]] = {
    400: (
        ("missing_source", "No image given", "Please provide the image as image_file, …"),
        ("multiple_sources", "Multiple image sources given", "Please provide one image only: …"),
        ("multiple_bg_sources", "Multiple background sources given", "Please provide one background only: …"),
        ("invalid_size", "Invalid size parameter given", "size: Input should be 'auto', 'preview', …"),
        ("invalid_image_url", "Invalid image_url parameter given", "image_url must be a whole URL …"),
        ("failed_image_download", "Failed to download image", "image_url could not be downloaded …"),
        ("file_too_large", "File too large", "The file is too large: at most 25 MiB."),
        (
            "invalid_file_type",
            "Invalid file type",
            "Not a JPEG, PNG, WebP, AVIF, HEIC, BMP, GIF or TIFF file.",
        ),
        ("failed_to_read_image", "There was an error reading the image", "…"),
        ("resolution_too_high", "Image resolution too high", "…"),
        ("unknown_foreground", "Could not identify foreground in image", "…"),
    ),
    402: (("insufficient_credits", "Insufficient credits", "No credits are left."),),
    403: (("auth_failed", "API Key invalid", "…"),),
    409: (("idempotency_in_progress", "The first call with this key is still running.", None),),
    429: (("rate_limit_exceeded", "Rate limit exceeded", "The plan allows 20 calls a minute; …"),),
    500: (("internal_error", "Something went wrong on our side. Nothing was charged.", None),),
    503: (("overloaded", "…", None), ("service_unavailable", "…", None), ("model_unavailable", "…", None)),
    504: (("processing_timeout", "…", None),),
}


def _failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: _failure(status) for status in statuses}


def _failure(status: int) -> dict[str, Any]:
    headers = dict(_RATE_HEADERS)
    if status in (409, 429, 503):
        headers["Retry-After"] = openapi.RETRY_AFTER
    examples = {
        code: {
            "value": {"errors": [{"title": title, "code": code, **({"detail": detail} if detail else {})}]}
        }
        for code, title, detail in _EXAMPLES[status]
    }
    return {
        "description": ", ".join(f"`{code}`" for code, _, _ in _EXAMPLES[status]),
        "model": RemoveBgFailure,
        "content": {"application/json": {"examples": examples}},
        "headers": openapi.described(headers),
    }


def _body() -> dict[str, Any]:
    texts = RemoveBgFields.model_json_schema()["properties"]
    common = {"image_file_b64": _BASE64, **texts}
    files = {
        "image_file": {**_FILE, "description": "The image."},
        "bg_image_file": {**_FILE, "description": "An image behind the foreground, cut to fill the result."},
    }
    whole = {"type": "object", "properties": {**files, **common}}
    without_files = {"type": "object", "properties": common}
    return {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": whole, "example": {"image_file": "@photo.jpg", "size": "auto"}},
            "application/x-www-form-urlencoded": {
                "schema": without_files,
                "example": {"image_url": "https://example.com/photo.jpg", "size": "auto"},
            },
            "application/json": {
                "schema": without_files,
                "example": {"image_url": "https://example.com/photo.jpg", "size": "auto"},
            },
        },
    }


#: What `FastAPI.add_api_route` gets for `POST /v1.0/removebg`.
REMOVE: dict[str, Any] = {
    "operation_id": "removebg",
    "summary": "Remove the background, as remove.bg's API does",
    "description": (
        "For clients written for remove.bg: only the base URL and the key change. Runs the same tool as"
        " `POST /api/tools/bg-removal`, with the same credits, limits and retries. Unknown fields are"
        " ignored."
    ),
    "tags": _TAGS,
    "responses": {
        200: {
            "description": "The result's bytes; JSON if `Accept` prefers application/json.",
            "model": RemoveBgSuccess,
            "content": {
                "application/json": {
                    "example": {
                        "data": {
                            "result_b64": "iVBORw0KGgo…",
                            "foreground_top": 12,
                            "foreground_left": 34,
                            "foreground_width": 400,
                            "foreground_height": 300,
                        }
                    }
                },
                **{
                    kind: {"schema": _FILE}
                    for kind in ("image/png", "image/jpeg", "image/webp", "application/zip")
                },
            },
            "headers": openapi.described(_RESULT_HEADERS),
        },
        **_failures(400, 402, 403, 409, 429, 500, 503, 504),
    },
    "openapi_extra": {
        "security": openapi.SECURITY,
        "parameters": [openapi.IDEMPOTENCY_PARAMETER],
        "requestBody": _body(),
    },
}
_EXAMPLE_ACCOUNT = {
    "data": {
        "attributes": {
            "credits": {"total": 14, "subscription": 14, "payg": 0, "enterprise": 0},
            "api": {"free_calls": 0, "sizes": "all"},
        }
    }
}
#: And for `GET /v1.0/account`.
ACCOUNT: dict[str, Any] = {
    "operation_id": "removebg-account",
    "summary": "Credits, as remove.bg's API shows them",
    "tags": _TAGS,
    "responses": {
        200: {
            "description": "The credits left.",
            "model": RemoveBgAccount,
            "content": {"application/json": {"example": _EXAMPLE_ACCOUNT}},
            "headers": openapi.described({"X-Request-Id": openapi.HEADERS["X-Request-Id"]}),
        },
        **_failures(400, 403, 429, 500, 503),
    },
    "openapi_extra": {"security": openapi.SECURITY},
}
