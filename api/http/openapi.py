"""The OpenAPI description: forms from each tool's `Params`, errors from the error table, shared headers."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from api.errors import ERROR_TABLE, retryable_codes
from api.http import forms, openapi_bodies, openapi_webhooks
from api.http import openapi_examples as examples_of
from api.http.schemas import Failure, JobAcceptedSuccess, ToolSuccess, UploadSuccess
from ml.catalogue import TOOLS
from ml.tool import Tool

_COMPONENTS = "#/components/schemas/{model}"
_FILE = {"type": "string", "format": "binary"}
#: Bodies that are an image.
PICTURES = {f"image/{kind}": {"schema": _FILE} for kind in ("png", "jpeg", "webp", "avif")}
_DESCRIPTION = (
    "Send an image, get an image. Every successful call costs 1 credit, any other answer costs nothing."
    " Authenticate with `Authorization: Bearer bge_live_…` or `X-Api-Key`."
    " A test key, `bge_test_…`, costs nothing: its results have at most 512 pixels a side and a watermark."
)
_EXAMPLE_CODE_MESSAGES = {
    "INVALID_PARAMETER": "quality: Input should be less than or equal to 100",
    "RATE_LIMITED": "The plan allows 20 calls a minute; try again in 3 s.",
}
_EXAMPLE_CODE_PARAMS = {"INVALID_PARAMETER": "quality"}
JOB_HEADERS = {
    "Location": "The job's `statusUrl`.",
    "Preference-Applied": "respond-async",
}
#: Headers that are not whole numbers.
_TEXT_HEADERS = frozenset(
    {"Cache-Control", "ETag", "RateLimit", "RateLimit-Policy", "X-Request-Id", "X-Type", *JOB_HEADERS}
)
_TRUE_HEADERS = frozenset({"Idempotent-Replayed"})
HEADERS = {
    "X-Request-Id": "The id of this request; include it when you report a problem.",
    "X-Credits-Charged": "Credits this answer cost: 1 for a new success, 0 for a replay or an error.",
    "X-Credits-Remaining": "Credits left.",
    "X-RateLimit-Limit": "Calls a minute, and the burst.",
    "X-RateLimit-Remaining": "Calls that would be accepted now.",
    "X-RateLimit-Reset": "Unix seconds when the whole burst is available again.",
    "RateLimit": "The same as IETF draft: r calls left, full again in t seconds.",
    "RateLimit-Policy": "The same as IETF draft: q calls in w seconds.",
}
_RETRYABLE_CODES = retryable_codes()
RETRY_AFTER = "Whole seconds to wait, at least 1."
_REPLAYED = "true if the answer of an earlier identical request is repeated."

SECURITY: list[dict[str, list[str]]] = [{"ApiKeyBearer": []}, {"ApiKeyHeader": []}]
IDEMPOTENCY_PARAMETER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "Makes retries safe for 24 hours: the same key and request repeat the first answer.",
}


PREFER_PARAMETER = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "`respond-async`: answer 202 at once and run the call as a job (`GET /api/jobs/{jobId}`).",
}


def tool_operation(tool: Tool) -> dict[str, Any]:
    """The parts of a tool's route that FastAPI cannot infer: its form and its header."""
    form = form_schema(tool)
    files = {"image", *(field.name for field in tool.files)}
    content = {
        "multipart/form-data": {"schema": form, "example": examples_of.FORMS[tool.name]},
        "application/json": {
            "schema": openapi_bodies.json_schema(form, files, forms.list_names(tool.params)),
            "example": openapi_bodies.example(tool.name),
        },
    }
    return {
        "security": SECURITY,
        "parameters": [IDEMPOTENCY_PARAMETER, PREFER_PARAMETER],
        "requestBody": {"required": True, "content": content},
    }


def form_schema(tool: Tool) -> dict[str, Any]:
    """A tool's form as JSON Schema: its parameters, the image or its id, and its other files."""
    parameters = tool.params.model_json_schema(ref_template=_COMPONENTS)
    parameters.pop("$defs", None)
    parameters.pop("title", None)  # Generated clients name the form after the operation.
    files = {field.name: {**_FILE, "description": field.description} for field in tool.files}
    ids = {
        field.id_field: {
            "type": "string",
            "description": f"Instead of `{field.name}`: the id of a stored image.",
        }
        for field in tool.files
        if field.id_field
    }
    source = {
        "image": {**_FILE, "description": "The image; `image_file` and `file` are aliases."},
        "image_id": {"type": "string", "description": "Instead of `image`: an earlier upload or result."},
    }
    texts = {name: without_null(each) for name, each in parameters["properties"].items()}
    urls = {forms.url_field(name): openapi_bodies.url_property(name) for name in ("image", *files)}
    notice = {
        forms.CALLBACK_URL: {
            "type": "string",
            "format": "uri",
            "description": "With `Prefer: respond-async`: an https URL of a public host that receives the"
            " job's end as a signed webhook.",
        }
    }
    return {**parameters, "properties": {**source, **files, **ids, **urls, **texts, **notice}}


def without_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter's schema without the `null` by which Python writes that it is absent."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    plain = {key: value for key, value in schema.items() if key not in ("anyOf", "title")}
    if len(options) == 1:
        plain |= options[0]
    elif options:
        plain["anyOf"] = options
    if plain.get("default", ...) is None:
        del plain["default"]
    return plain


def signature_parameters() -> list[dict[str, Any]]:
    described = {
        "exp": "Unix seconds at which the URL expires.",
        "kid": "The id of the key that signed.",
        "sig": "The signature.",
    }
    width = "In the URL of a preview: the greatest width of the WebP, in pixels."
    return [
        {"name": name, "in": "query", "required": True, "schema": {"type": "string"}, "description": text}
        for name, text in described.items()
    ] + [{"name": "w", "in": "query", "required": False, "schema": {"type": "integer"}, "description": width}]


def upload_operation() -> dict[str, Any]:
    url = {forms.url_field("image"): openapi_bodies.url_property("image")}
    schema = {"type": "object", "properties": {"image": _FILE, **url}}
    json_body = {
        "schema": openapi_bodies.json_schema(schema, {"image"}, ()),
        "example": openapi_bodies.example(),
    }
    body = {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": schema, "example": examples_of.UPLOAD_FORM},
            "application/json": json_body,
        },
    }
    return {"security": SECURITY, "parameters": [IDEMPOTENCY_PARAMETER], "requestBody": body}


def upload_responses() -> dict[int | str, dict[str, Any]]:
    """Every error of an upload, and the headers of its success."""
    headers = described({**HEADERS, "Idempotent-Replayed": _REPLAYED})
    success = success_response("The stored image.", UploadSuccess, examples_of.UPLOAD, headers)
    return success | error_responses(*WITH_KEY, 409, 413, 415, 422, 500, 504)


def tool_responses(tool: Tool) -> dict[int | str, dict[str, Any]]:
    """A tool's success, as JSON or as the image, and every error of a call."""
    model = tool.checkpoints[0] if tool.checkpoints else None
    example = examples_of.success(examples_of.tool_data(model))
    success = {
        "description": "The result. With `Accept: image/*`: its bytes, with the metadata in `X-*` headers.",
        "model": ToolSuccess,
        "content": {"application/json": {"example": example}, **PICTURES},
        "headers": described({**HEADERS, "Idempotent-Replayed": _REPLAYED}),
    }
    accepted = {
        "description": "With `Prefer: respond-async`: the call is a job now, and a credit is held for it.",
        "model": JobAcceptedSuccess,
        "content": {"application/json": {"example": examples_of.success(examples_of.JOB_ACCEPTED)}},
        "headers": described({**HEADERS, "Idempotent-Replayed": _REPLAYED, **JOB_HEADERS}),
    }
    errors = error_responses(*sorted({status for status, _ in ERROR_TABLE.values()}))
    return {200: success, 202: accepted, **errors}


def job_events_response() -> dict[int | str, dict[str, Any]]:
    """The answer of a job's event stream."""
    stream = {"text/event-stream": {"schema": {"type": "string"}, "example": examples_of.JOB_EVENT}}
    return {
        200: {
            "description": "An event `job` with the job's `data` for each change, until it has ended."
            " Comments keep the connection open. Send the last event's id as `Last-Event-ID` to resume.",
            "content": stream,
            "headers": described({"X-Request-Id": HEADERS["X-Request-Id"]}),
        },
        204: {"description": "The job has ended, and `Last-Event-ID` is its last event."},
    }


def success_response(
    description: str, model: type[BaseModel], example: Any, headers: dict[str, Any] | None = None
) -> dict[int | str, dict[str, Any]]:
    """A success as JSON; `example` is its `data`."""
    described_headers = headers or described({"X-Request-Id": HEADERS["X-Request-Id"]})
    content = {"application/json": {"example": examples_of.success(example)}}
    return {
        200: {"description": description, "model": model, "content": content, "headers": described_headers}
    }


def batch_operation() -> dict[str, Any]:
    """The form of a batch."""
    texts = {
        "image_ids": "Or a JSON list of ids of stored images.",
        "image_urls": "Or a JSON list of https URLs of public hosts, each fetched before its first step.",
        "tool": "The tool; its own fields are sent beside it, files only by the id of a stored image.",
        "steps": 'Or a JSON list of up to 10 steps, `{"tool": …, "params": {…}}`; each works on the result of'
        " the one before.",
        forms.CALLBACK_URL: "An https URL of a public host that gets the batch's end as a signed webhook.",
    }
    properties: dict[str, Any] = {
        "images": {"type": "array", "items": _FILE, "description": "The images; repeat the field."},
        "archive": {**_FILE, "description": "Or a ZIP of them."},
        **{name: {"type": "string", "description": text} for name, text in texts.items()},
        "retention_hours": {
            "type": "integer",
            "minimum": 1,
            "maximum": 168,
            "default": 24,
            "description": "How long results are kept after the end.",
        },
    }
    properties["tool"]["enum"] = list(TOOLS)
    schema = {"type": "object", "properties": properties, "additionalProperties": True}
    content = {"multipart/form-data": {"schema": schema, "example": examples_of.BATCH_FORM}}
    return {
        "security": SECURITY,
        "parameters": [IDEMPOTENCY_PARAMETER],
        "requestBody": {"required": True, "content": content},
    }


def batch_accepted_response(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """The answer 202 to a batch."""
    headers = {**HEADERS, "Idempotent-Replayed": _REPLAYED, "Location": "The batch's `statusUrl`."}
    accepted = success_response("The batch.", model, examples_of.BATCH, described(headers))
    return {202: accepted[200], **error_responses(*WITH_KEY, 402, 404, 409, 413, 422)}


def file_response(media_type: str, description: str) -> dict[int | str, dict[str, Any]]:
    """An answer that is a file."""
    content: dict[str, Any] = {"schema": _FILE}
    if media_type == "text/csv":
        content = {"schema": {"type": "string"}, "example": examples_of.BATCH_MANIFEST}
    headers = described({"X-Request-Id": HEADERS["X-Request-Id"]})
    return {200: {"description": description, "content": {media_type: content}, "headers": headers}}


def picture_response() -> dict[int | str, dict[str, Any]]:
    """The answer of a download."""
    headers = described(
        {
            "X-Request-Id": HEADERS["X-Request-Id"],
            "ETag": "Send it as `If-None-Match` to get 304 while the image is the same.",
            "Cache-Control": "How long a browser may keep it.",
        }
    )
    return {
        200: {"description": "The image's bytes.", "content": PICTURES, "headers": headers},
        304: {"description": "The image is the one that `If-None-Match` names."},
    }


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of `statuses`, each with its codes and an example of every code."""
    codes: dict[int, list[str]] = {}
    for status, code in ERROR_TABLE.values():
        if code not in codes.setdefault(status, []):
            codes[status].append(code)
    return {status: _error_response(status, codes[status]) for status in sorted(statuses)}


#: Statuses of errors that any request may get, and any request with a key.
ANY_REQUEST = (400, 500, 503)
WITH_KEY = (*ANY_REQUEST, 401, 403, 429)


def install(
    app: FastAPI, tools: list[Tool], public_url: str | None = None, contact_email: str | None = None
) -> None:
    """Set the OpenAPI description of `app`, which is built on first use.

    Without a public URL the server is the one that the document came from.
    """

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            page = examples_of.restore_nulls(
                get_openapi(
                    title="bgeraser",
                    version=app.version,
                    description=_DESCRIPTION,
                    routes=app.routes,
                    servers=[{"url": public_url or "/"}],
                    contact=None if contact_email is None else {"email": contact_email},
                )
            )
            _drop_foreign_errors(page)
            components = page.setdefault("components", {})
            components["securitySchemes"] = {
                "ApiKeyBearer": {"type": "http", "scheme": "bearer"},
                "ApiKeyHeader": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            }
            components.setdefault("schemas", {}).update(openapi_bodies.COMPONENTS)
            for tool in tools:
                definitions = tool.params.model_json_schema(ref_template=_COMPONENTS).get("$defs", {})
                components.setdefault("schemas", {}).update(definitions)
            page["webhooks"] = openapi_webhooks.described(components["schemas"], _COMPONENTS)
            app.openapi_schema = examples_of.restore_nulls(page)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the page


def _drop_foreign_errors(page: dict[str, Any]) -> None:
    """Remove FastAPI's own validation error, which it declares on every route with a parameter."""
    foreign = ("HTTPValidationError", "ValidationError")
    for operations in page["paths"].values():
        for described in operations.values():
            content = described["responses"].get("422", {}).get("content", {}).get("application/json", {})
            if content.get("schema", {}).get("$ref", "").endswith(foreign[0]):
                del described["responses"]["422"]
    for name in foreign:
        page.get("components", {}).get("schemas", {}).pop(name, None)


def _error_response(status: int, codes: list[str]) -> dict[str, Any]:
    headers = dict(HEADERS)
    if status in (409, 429, 503):
        headers["Retry-After"] = RETRY_AFTER
    examples = {
        code: {
            "value": {"success": False, "error": _example_error(code), "requestId": examples_of.REQUEST_ID}
        }
        for code in codes
    }
    return {
        "description": ", ".join(f"`{code}`" for code in codes),
        "model": Failure,
        "content": {"application/json": {"examples": examples}},
        "headers": described(headers),
    }


def _example_error(code: str) -> dict[str, Any]:
    message = _EXAMPLE_CODE_MESSAGES.get(code, "…")
    return {
        "code": code,
        "message": message,
        "param": _EXAMPLE_CODE_PARAMS.get(code, examples_of.NULL),
        "retryable": code in _RETRYABLE_CODES,
    }


def described(headers: dict[str, str]) -> dict[str, Any]:
    """Headers by name, from their descriptions."""
    return {name: {"description": text, "schema": _header_schema(name)} for name, text in headers.items()}


def _header_schema(name: str) -> dict[str, Any]:
    if name in _TRUE_HEADERS:
        return {"type": "string", "enum": ["true"]}
    return {"type": "string" if name in _TEXT_HEADERS else "integer"}
