"""The one reader of forms: from a request's body to a tool's parameters and files.

Called after the key and the limits were checked, because reading is what costs. Nothing is decoded here: of
files only the size and the first bytes are looked at.
"""

import asyncio
import binascii
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from api.errors import FileTooLarge, InvalidParameter, InvalidRequest, MissingImage, MultipleSources
from api.http import multipart
from api.http.multipart import Part
from api.images import service as images
from ml.errors import UnsupportedFormat
from ml.params import Params
from ml.tool import Tool

E = TypeVar("E", bound=Exception)

_FIELDS_MAX = 64
_MULTIPART_LIMITS = multipart.Limits(
    files=3, fields=_FIELDS_MAX, file_bytes=images.FILE_LIMIT_BYTES, text_bytes=4 * 1024 * 1024
)
_IDEMPOTENCY_KEY = "Idempotency-Key"
_IDEMPOTENCY_KEY_LENGTH_MAX = 255
_SHOWN_NAME_LENGTH = 100
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_GZIP = b"\x1f\x8b"
_HOW_TO_SEND = "Send the picture and its parameters as multipart/form-data, as in: curl -F image=@photo.jpg"

IMAGE = "image"
IMAGE_ID = "image_id"
IMAGE_ALIASES = ("image_file", "file")


@dataclass(frozen=True)
class ToolForm:
    """What a caller sent for a tool. `image` is in `files` or in `stored_ids`.

    `stored_ids` are the ids of stored pictures, by the form name of the file that each stands for;
    `id_fields` are the form names of the ids, likewise.
    """

    params: Params
    files: dict[str, bytes]
    stored_ids: dict[str, str]
    id_fields: Mapping[str, str]


@dataclass
class _Fields:
    """A form's fields by name, each name at most once."""

    texts: dict[str, str]
    files: dict[str, bytes]


async def read_tool_form(request: Request, tool: Tool) -> ToolForm:
    """The body of a tool's call. Raises `RequestError`s, `UnsupportedFormat`."""
    extra_files = {field.name for field in tool.files}
    id_fields = {IMAGE_ID: IMAGE} | {field.id_field: field.name for field in tool.files if field.id_field}
    parts = await _read(request)
    fields = _sorted_out(parts, parameter_names(tool.params) | set(id_fields), extra_files)
    sent_ids = {file: fields.texts.pop(name, "") for name, file in id_fields.items()}
    stored_ids = {file: image_id for file, image_id in sent_ids.items() if image_id}
    _require_one_source(fields, stored_ids.get(IMAGE))
    for name, file in id_fields.items():
        if file in stored_ids and file in fields.files:
            raise InvalidParameter(name, f"{name}: send either {file} or the id of a stored picture.")
    for name, content in fields.files.items():
        _check_file(name, content)
    names_of_ids = {file: name for name, file in id_fields.items()}
    return ToolForm(validated(tool.params, fields.texts), fields.files, stored_ids, names_of_ids)


async def read_image_form(request: Request) -> bytes:
    """The body of an upload: one picture and nothing else."""
    fields = _sorted_out(await _read(request), set(), set())
    _require_one_source(fields, None)
    _check_file(IMAGE, fields.files[IMAGE])
    return fields.files[IMAGE]


def idempotency_key(request: Request) -> str | None:
    """The caller's `Idempotency-Key`, 1 to 255 printable characters; None without one."""
    values = request.headers.getlist(_IDEMPOTENCY_KEY)
    if not values:
        return None
    key = values[0]
    if len(values) > 1 or not key or len(key) > _IDEMPOTENCY_KEY_LENGTH_MAX or not key.isprintable():
        message = f"One key of 1 to {_IDEMPOTENCY_KEY_LENGTH_MAX} printable characters is needed."
        raise InvalidParameter(_IDEMPOTENCY_KEY, message)
    return key


def refuse_query(request: Request) -> None:
    """Parameters in the address would be ignored, and what is ignored surprises."""
    for name in request.query_params:
        raise InvalidParameter(_shown(name), f"{_shown(name)}: parameters are sent as form fields.")


def parameter_names(params: type[Params]) -> set[str]:
    return {field.alias or name for name, field in params.model_fields.items()}


async def _read(request: Request) -> list[Part]:
    """The form's parts as they were sent. Raises `InvalidRequest`, `FileTooLarge` and what reading raises."""
    media_type, options = parse_options_header(request.headers.get("content-type"))
    _check_encoding(request, options)
    if media_type == b"multipart/form-data":
        if not options.get(b"boundary"):
            raise InvalidRequest(
                "Content-Type has no boundary. Let your HTTP client set this header: it knows the boundary."
            )
        try:
            return await multipart.read_parts(request.stream(), options[b"boundary"], _MULTIPART_LIMITS)
        except FileTooLarge as error:
            # The picture itself needs no name; other files do.
            error.param = None if error.param in (IMAGE, *IMAGE_ALIASES) else error.param
            raise
    if media_type not in (b"application/x-www-form-urlencoded", b""):
        raise InvalidRequest(_instead_of(media_type))
    content = await request.body()
    if media_type == b"" and content:
        raise InvalidRequest(f"The request has no Content-Type. {_HOW_TO_SEND}")
    return await asyncio.to_thread(_read_urlencoded, content)


def _check_encoding(request: Request, options: Mapping[bytes, bytes]) -> None:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise InvalidRequest("Send the body uncompressed: Content-Encoding is not supported.")
    # Other charsets would let text through that no UTF-8 answer can repeat.
    if options.get(b"charset", b"utf-8").lower() not in (b"utf-8", b"utf8"):
        raise InvalidRequest("Send form fields as UTF-8.")


def _instead_of(media_type: bytes) -> str:
    if media_type.startswith(b"image/") or media_type == b"application/octet-stream":
        return f"A picture as the bare body is not read. {_HOW_TO_SEND}"
    return f"{media_type.decode('latin-1')[:_SHOWN_NAME_LENGTH]} is not read here. {_HOW_TO_SEND}"


def _read_urlencoded(content: bytes) -> list[Part]:
    """Raises `InvalidRequest`. Runs in a thread, because its time grows with the body."""
    _refuse_bare_files(content)
    if content.count(b"&") >= _FIELDS_MAX:
        raise InvalidRequest(f"The form has too many fields: at most {_FIELDS_MAX}.")
    if not content.isascii() or _BAD_ESCAPE.search(content) is not None:
        raise InvalidRequest(f"The request's body is no form that can be read. {_HOW_TO_SEND}")
    parts = []
    for pair in content.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name or value:
            parts.append(multipart.part_of(_unescaped(name), content=_unescaped(value)))
    return parts


def _unescaped(text: bytes) -> bytes:
    """What percent escapes and plus signs stand for.

    The standard library decodes them piece by piece in Python, and quoted-printable, which differs in nothing
    but the sign before the two digits, in C: a mebibyte of escapes takes milliseconds instead of a second.
    """
    return binascii.a2b_qp(text.replace(b"+", b" ").replace(b"=", b"=3D").replace(b"%", b"="))


def _refuse_bare_files(content: bytes) -> None:
    """`curl --data-binary @photo.jpg` says that a picture is a form."""
    if content.startswith(_GZIP):
        raise InvalidRequest("Send the body uncompressed: this one begins as gzip does.")
    with suppress(UnsupportedFormat):
        images.sniff(content)
        raise InvalidRequest(f"A picture as the bare body is not read. {_HOW_TO_SEND}")


def _sorted_out(parts: list[Part], text_names: set[str], file_names: set[str]) -> _Fields:
    """The form by field. Unknown and repeated names are refused, one of the wrong kind too."""
    fields = _Fields({}, {})
    seen: set[str] = set()
    for part in parts:
        shown = _shown(part.name)
        if part.name in seen:
            raise InvalidParameter(shown, f"{shown} was sent more than once.")
        seen.add(part.name)
        name = IMAGE if part.name in IMAGE_ALIASES else part.name
        is_file_field = name == IMAGE or name in file_names
        if not is_file_field and name not in text_names:
            raise InvalidParameter(shown, f"{shown} is no parameter here.")
        if not part.content and (not is_file_field or name == IMAGE or not part.has_file_name):
            continue  # Left empty: browsers send such a field as empty text or as a file without a name.
        if part.is_file and not is_file_field and not part.has_file_name:
            part.is_file = False  # Some clients call every field's bytes octets.
        if part.is_file != is_file_field:
            kind = "a file" if is_file_field else "text"
            raise InvalidParameter(shown, f"{shown} must be sent as {kind}.")
        if not part.is_file:
            fields.texts[name] = part.text()
        elif name in fields.files:
            raise MultipleSources("Send one picture: image, image_file and file are names of the same field.")
        else:
            fields.files[name] = part.content
    return fields


def _require_one_source(fields: _Fields, image_id: str | None) -> None:
    if IMAGE in fields.files and image_id is not None:
        raise MultipleSources("Send either a picture or the id of a stored one.")
    if IMAGE not in fields.files and image_id is None:
        raise MissingImage("No picture came with the request. Send it as the form field image.")


def _check_file(name: str, content: bytes) -> None:
    """Raises `UnsupportedFormat` and others; they name every file but the picture itself."""
    if not content:
        raise InvalidParameter(name, f"{name} is an empty file.")
    try:
        images.sniff(content)
    except UnsupportedFormat as error:
        if name != IMAGE:
            raise named(error, name) from None
        raise


def named(error: E, param: str) -> E:
    """`error`, which from now on names `param` as the field at fault."""
    error.param = param  # type: ignore[attr-defined]  # `api.response_bodies` asks every error for it
    return error


def validated(params: type[Params], texts: dict[str, str]) -> Params:
    """A tool's parameters from texts by name; an empty one counts as not sent.

    Raises `InvalidParameter`, naming the first at fault.
    """
    try:
        return params.model_validate({name: text for name, text in texts.items() if text})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "parameter":
            name = str(first["ctx"]["param"])
        else:
            name = str(first["loc"][0]) if first["loc"] else ""
        name = _shown(name)
        raise InvalidParameter(name, f"{name}: {first['msg']}" if name else first["msg"]) from None


def _shown(name: str) -> str:
    """A name as a message may repeat it; a caller can send any length."""
    return name if len(name) <= _SHOWN_NAME_LENGTH else name[:_SHOWN_NAME_LENGTH] + "…"
