"""Reading forms: from a request's body to a tool's parameters and files.

Called after authentication and the limits, because reading is expensive. No image is decoded here: only the
size and the first bytes of files are checked.
"""

import asyncio
import binascii
import re
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BeforeValidator, ValidationError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from api.errors import FileTooLarge, InvalidParameter, InvalidRequest, MissingImage, MultipleSources
from api.http import json_calls, multipart
from api.http.multipart import Part
from api.images import service as images
from ml.errors import UnsupportedFormat
from ml.params import Params, first_problem
from ml.tool import Tool

E = TypeVar("E", bound=Exception)

_P = TypeVar("_P", bound=Params)
_FIELDS_MAX = 64
_MULTIPART_LIMITS = multipart.Limits(
    files=3, fields=_FIELDS_MAX, file_bytes=images.FILE_LIMIT_BYTES, text_bytes=4 * 1024 * 1024
)
_IDEMPOTENCY_KEY = "Idempotency-Key"
_IDEMPOTENCY_KEY_LENGTH_MAX = 255
_SHOWN_NAME_LENGTH = 100
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
# Unescaping a mebibyte holds the interpreter lock for tens of milliseconds. It is done in pieces, and for one
# form at a time, so that the event loop never waits for more than one piece.
_UNESCAPED_AT_ONCE_BYTES = 32 * 1024
_unescaping = threading.Lock()
_GZIP = b"\x1f\x8b"
_HOW_TO_SEND = "Send the image and its parameters as multipart/form-data, as in: curl -F image=@photo.jpg"

IMAGE = "image"
IMAGE_ID = "image_id"
CALLBACK_URL = "callback_url"
IMAGE_ALIASES = ("image_file", "file")
_JSON = b"application/json"


@dataclass(frozen=True)
class ToolForm:
    """The form of a tool's call. `image` is in `files`, `urls` or `stored_ids`.

    `urls` and `stored_ids` have URLs and ids of stored images by the form name of the file that each
    replaces; `id_fields` has the form names of those ids by the same names.
    """

    params: Params
    files: dict[str, bytes]
    urls: dict[str, str]
    stored_ids: dict[str, str]
    id_fields: Mapping[str, str]
    #: Where the end of a job is announced.
    callback_url: str | None


@dataclass(frozen=True)
class UploadForm:
    """The form of an upload: the image, or the URL to fetch it from."""

    content: bytes | None
    url: str | None


@dataclass
class _Fields:
    """A form's fields by name, each name at most once. Ids and URLs are by the file that they replace."""

    texts: dict[str, str]
    files: dict[str, bytes]
    urls: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)


async def read_tool_form(request: Request, tool: Tool) -> ToolForm:
    """The body of a tool's call. Raises `RequestError`s, `UnsupportedFormat`."""
    files = {field.name for field in tool.files}
    id_fields = {field.name: field.id_field for field in tool.files if field.id_field} | {IMAGE: IMAGE_ID}
    names, lists = parameter_names(tool.params), list_names(tool.params)
    fields = await _read_fields(request, names | {CALLBACK_URL}, files, id_fields, lists)
    callback_url = fields.texts.pop(CALLBACK_URL, "") or None
    names_of_ids = {file: id_fields.get(file, file) for file in fields.ids}
    for file, name in names_of_ids.items():
        if file != IMAGE and (file in fields.files or file in fields.urls):
            raise InvalidParameter(name, f"{name}: send either {file} or the id of a stored image.")
    for file in fields.urls:
        if file != IMAGE and file in fields.files:
            raise InvalidParameter(url_field(file), f"{url_field(file)}: send either {file} or its URL.")
    params = validated(tool.params, fields.texts)
    return ToolForm(params, fields.files, fields.urls, fields.ids, names_of_ids, callback_url)


async def read_upload_form(request: Request) -> UploadForm:
    """The body of an upload: one image or its URL, and nothing else."""
    fields = await _read_fields(request, set(), set(), {}, set())
    if fields.ids:
        raise InvalidParameter(IMAGE, "image: this image is stored already.")
    return UploadForm(fields.files.get(IMAGE), fields.urls.get(IMAGE))


async def read_image_form(request: Request) -> bytes:
    """The body of an upload that must be a file of a form."""
    fields = _by_field(await _read(request), set(), set())
    _require_one_source(fields)
    _check_file(IMAGE, fields.files[IMAGE])
    return fields.files[IMAGE]


def url_field(file: str) -> str:
    """The form name of the URL that replaces this file."""
    return f"{file}_url"


async def _read_fields(
    request: Request,
    text_names: set[str],
    file_names: set[str],
    id_fields: Mapping[str, str],
    lists: set[str],
) -> _Fields:
    """The fields of a form or of a JSON object, whose one image is checked. `file_names`: further files."""
    files = file_names | {IMAGE}
    ids = {name: file for file, name in id_fields.items()}
    urls = {url_field(file): file for file in files}
    text_names = text_names | set(ids) | set(urls)
    if parse_options_header(request.headers.get("content-type"))[0] == _JSON:
        fields = await _read_json(request, text_names, files, lists)
    else:
        fields = _by_field(await _read(request), text_names, file_names)
    for sent, names in ((fields.urls, urls), (fields.ids, ids)):
        for name, file in names.items():
            value = fields.texts.pop(name, "")
            if value and file in sent:
                raise MultipleSources(f"Send {file} in one way: {name} was sent besides.")
            if value:
                sent[file] = value
    _require_one_source(fields)
    for name, content in fields.files.items():
        _check_file(name, content)
    return fields


async def _read_json(request: Request, text_names: set[str], files: set[str], lists: set[str]) -> _Fields:
    check_encoding(request, parse_options_header(request.headers.get("content-type"))[1])
    content = bytearray()
    async for piece in request.stream():
        content += piece
    names = {name: name for name in files} | dict.fromkeys(IMAGE_ALIASES, IMAGE)
    read = await asyncio.to_thread(json_calls.read, content, names, text_names, lists)
    return _Fields(read.texts, await json_calls.decoded(read), read.urls, read.ids)


def idempotency_key(request: Request) -> str | None:
    """The caller's `Idempotency-Key`, 1 to 255 printable characters; None without one."""
    values = request.headers.getlist(_IDEMPOTENCY_KEY)
    if not values:
        return None
    key = values[0]
    if len(values) > 1 or not key or len(key) > _IDEMPOTENCY_KEY_LENGTH_MAX or not key.isprintable():
        message = f"Send one key of 1 to {_IDEMPOTENCY_KEY_LENGTH_MAX} printable characters."
        raise InvalidParameter(_IDEMPOTENCY_KEY, message)
    return key


def refuse_query(request: Request) -> None:
    """Reject query parameters instead of ignoring them."""
    for name in request.query_params:
        raise InvalidParameter(_shown(name), f"{_shown(name)}: parameters are sent as form fields.")


def parameter_names(params: type[Params]) -> set[str]:
    return {field.alias or name for name, field in params.model_fields.items()}


def list_names(params: type[Params]) -> set[str]:
    """The parameters whose text is a list in JSON, which a JSON body may send as the list itself."""
    return {
        field.alias or name
        for name, field in params.model_fields.items()
        if field.annotation not in (str, str | None)
        or any(isinstance(each, BeforeValidator) for each in field.metadata)
    }


async def _read(request: Request) -> list[Part]:
    """The parts of the form. Raises `InvalidRequest`, `FileTooLarge` and the errors of reading the body."""
    media_type, options = parse_options_header(request.headers.get("content-type"))
    check_encoding(request, options)
    if media_type == b"multipart/form-data":
        if not options.get(b"boundary"):
            raise InvalidRequest(
                "Content-Type has no boundary. Let your HTTP client set this header: it knows the boundary."
            )
        try:
            return await multipart.read_parts(request.stream(), options[b"boundary"], _MULTIPART_LIMITS)
        except FileTooLarge as error:
            # The error of the image itself needs no parameter name; those of other files do.
            error.param = None if error.param in (IMAGE, *IMAGE_ALIASES) else error.param
            raise
    if media_type not in (b"application/x-www-form-urlencoded", b""):
        raise InvalidRequest(_unsupported_type_message(media_type))
    content = await request.body()
    if media_type == b"" and content:
        raise InvalidRequest(f"The request has no Content-Type. {_HOW_TO_SEND}")
    return await asyncio.to_thread(_read_urlencoded, content)


def check_encoding(request: Request, options: Mapping[bytes, bytes]) -> None:
    """Raises `InvalidRequest` for a compressed body, or one in another charset than UTF-8."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise InvalidRequest("Send the body uncompressed: Content-Encoding is not supported.")
    # Other charsets could contain text that a UTF-8 answer cannot repeat.
    if options.get(b"charset", b"utf-8").lower() not in (b"utf-8", b"utf8"):
        raise InvalidRequest("Send form fields as UTF-8.")


def _unsupported_type_message(media_type: bytes) -> str:
    if media_type.startswith(b"image/") or media_type == b"application/octet-stream":
        return f"An image as the whole body is not supported. {_HOW_TO_SEND}"
    return f"{media_type.decode('latin-1')[:_SHOWN_NAME_LENGTH]} is not supported here. {_HOW_TO_SEND}"


def _read_urlencoded(content: bytes) -> list[Part]:
    """Raises `InvalidRequest`. For a thread, because its time grows with the body."""
    refuse_bare_files(content)
    if content.count(b"&") >= _FIELDS_MAX:
        raise InvalidRequest(f"The form has too many fields: at most {_FIELDS_MAX}.")
    if not content.isascii():
        raise _invalid_form()
    parts = []
    with _unescaping:
        for pair in content.split(b"&"):
            name, _, value = pair.partition(b"=")
            if name or value:
                parts.append(multipart.part_of(_unescaped(name), content=_unescaped(value)))
    return parts


def _unescaped(text: bytes) -> bytes:
    """Decode percent escapes and plus signs. Raises `InvalidRequest` for an incomplete escape."""
    decoded, start = [], 0
    while start < len(text):
        end = start + _UNESCAPED_AT_ONCE_BYTES
        if end < len(text):
            split_escape = text.rfind(b"%", end - 2, end)
            end = end if split_escape == -1 else split_escape
        decoded.append(_unescaped_piece(text[start:end]))
        start = end
        time.sleep(0)  # releases the interpreter lock
    return b"".join(decoded)


def _unescaped_piece(text: bytes) -> bytes:
    """The standard library decodes escapes in Python, but quoted-printable, which differs only in the sign
    before the two digits, in C: a mebibyte of escapes takes milliseconds instead of a second.
    """
    if _BAD_ESCAPE.search(text) is not None:
        raise _invalid_form()
    return binascii.a2b_qp(text.replace(b"+", b" ").replace(b"=", b"=3D").replace(b"%", b"="))


def _invalid_form() -> InvalidRequest:
    return InvalidRequest(f"The request's body is not a valid form. {_HOW_TO_SEND}")


def refuse_bare_files(content: bytes) -> None:
    """`curl --data-binary @photo.jpg` declares an image as a form."""
    if content.startswith(_GZIP):
        raise InvalidRequest("Send the body uncompressed: this one is gzip.")
    with suppress(UnsupportedFormat):
        images.sniff(content)
        raise InvalidRequest(f"An image as the whole body is not supported. {_HOW_TO_SEND}")


def _by_field(parts: list[Part], text_names: set[str], file_names: set[str]) -> _Fields:
    """The form by field. Refuses unknown and repeated names, and text for a file or a file for text."""
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
            raise InvalidParameter(shown, f"{shown} is not a parameter here.")
        if not part.content and (not is_file_field or name == IMAGE or not part.has_file_name):
            continue  # Browsers send an empty field as empty text or as a file without a name.
        if part.is_file and not is_file_field and not part.has_file_name:
            part.is_file = False  # Some clients send every field as application/octet-stream.
        if part.is_file != is_file_field:
            kind = "a file" if is_file_field else "text"
            raise InvalidParameter(shown, f"{shown} must be sent as {kind}.")
        if not part.is_file:
            fields.texts[name] = part.text()
        elif name in fields.files:
            raise MultipleSources("Send one image: image, image_file and file are names of the same field.")
        else:
            fields.files[name] = part.content
    return fields


def _require_one_source(fields: _Fields) -> None:
    sources = [each for each in (fields.files, fields.urls, fields.ids) if IMAGE in each]
    if len(sources) > 1:
        raise MultipleSources("Send one image: a file, its URL or the id of a stored one.")
    if not sources:
        raise MissingImage("The request has no image. Send it as image, image_url or image_id.")


def _check_file(name: str, content: bytes) -> None:
    """Raises `UnsupportedFormat`, `InvalidParameter`; they name every file except the image itself."""
    if not content:
        raise InvalidParameter(name, f"{name} is an empty file.")
    try:
        images.sniff(content)
    except UnsupportedFormat as error:
        if name != IMAGE:
            raise named(error, name) from None
        raise


def named(error: E, param: str) -> E:
    """Make `error` name `param` as the field at fault."""
    error.param = param  # type: ignore[attr-defined]  # `api.response_bodies` reads it from every error
    return error


def validated(params: type[_P], texts: dict[str, str]) -> _P:
    """Validate a tool's parameters; an empty text counts as not sent.

    Raises `InvalidParameter` for the first invalid one.
    """
    try:
        return params.model_validate({name: text for name, text in texts.items() if text})
    except ValidationError as error:
        problem_name, message = first_problem(error)
        name = _shown(problem_name)
        raise InvalidParameter(name, f"{name}: {message}" if name else message) from None


def _shown(name: str) -> str:
    """A name, truncated for messages, because callers can send any length."""
    return name if len(name) <= _SHOWN_NAME_LENGTH else name[:_SHOWN_NAME_LENGTH] + "…"
