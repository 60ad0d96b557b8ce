"""The one reader of forms: from a request's body to a tool's parameters and files.

Called after the key and the limits were checked, because reading is what costs. Nothing is decoded here: of
files only the size and the first bytes are looked at.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pydantic import ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from api import images
from api.errors import ApiError, InvalidParameter, InvalidRequest, MissingImage, MultipleSources
from ml.params import Params
from ml.tool import Tool

_FILES_MAX = 3
_FIELDS_MAX = 64
_FIELD_BYTES_MAX = 4 * 1024 * 1024
_IDEMPOTENCY_KEY = "Idempotency-Key"
_IDEMPOTENCY_KEY_LENGTH_MAX = 255
_SHOWN_NAME_LENGTH = 100

IMAGE = "image"
IMAGE_ID = "image_id"
IMAGE_ALIASES = ("image_file", "file")


@dataclass(frozen=True)
class ToolForm:
    """What a caller sent for a tool. `image` is in `files` or in `stored_ids`.

    `stored_ids` are the ids of stored pictures, by the form name of the file that each stands for.
    """

    params: Params
    files: dict[str, bytes]
    stored_ids: dict[str, str]


@dataclass
class _Fields:
    """A form's fields by name, each name at most once."""

    texts: dict[str, str]
    files: dict[str, UploadFile]


async def read_tool_form(request: Request, tool: Tool) -> ToolForm:
    """The body of a tool's call. Raises `RequestError`s, `UnsupportedFormat`."""
    extra_files = {field.name for field in tool.files}
    id_fields = {IMAGE_ID: IMAGE} | {field.id_field: field.name for field in tool.files if field.id_field}
    async with _form(request) as form:
        fields = _sorted_out(form, parameter_names(tool.params) | set(id_fields), extra_files)
        sent_ids = {file: fields.texts.pop(name, "") for name, file in id_fields.items()}
        stored_ids = {file: image_id for file, image_id in sent_ids.items() if image_id}
        _require_one_source(fields, stored_ids.get(IMAGE))
        for name, file in id_fields.items():
            if file in stored_ids and file in fields.files:
                raise InvalidParameter(name, f"{name}: send either {file} or the id of a stored picture.")
        files = {name: await _read_file(name, file) for name, file in fields.files.items()}
    return ToolForm(validated(tool.params, fields.texts), files, stored_ids)


async def read_image_form(request: Request) -> bytes:
    """The body of an upload: one picture and nothing else."""
    async with _form(request) as form:
        fields = _sorted_out(form, set(), set())
        _require_one_source(fields, None)
        return await _read_file(IMAGE, fields.files[IMAGE])


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


@asynccontextmanager
async def _form(request: Request) -> AsyncIterator[FormData]:
    _check_content_type(request)
    try:
        form = await request.form(
            max_files=_FILES_MAX, max_fields=_FIELDS_MAX, max_part_size=_FIELD_BYTES_MAX
        )
    except ApiError:
        raise  # Too large or too slow; said while the body was read.
    except HTTPException as error:
        raise InvalidRequest(error.detail) from None
    except (MultiPartException, FormParserError, ValueError, LookupError):
        raise InvalidRequest("The request's body is no form that can be read.") from None
    try:
        yield form
    finally:
        await form.close()


def _check_content_type(request: Request) -> None:
    content_type, options = parse_options_header(request.headers.get("content-type"))
    if content_type not in (b"multipart/form-data", b"application/x-www-form-urlencoded", b""):
        raise InvalidRequest("Send the picture and its parameters as multipart/form-data.")
    # Other charsets would let text through that no UTF-8 answer can repeat.
    if options.get(b"charset", b"utf-8").lower() not in (b"utf-8", b"utf8"):
        raise InvalidRequest("Send form fields as UTF-8.")


def _sorted_out(form: FormData, text_names: set[str], file_names: set[str]) -> _Fields:
    """The form by field. Unknown and repeated names are refused, one of the wrong kind too."""
    fields = _Fields({}, {})
    seen: set[str] = set()
    for sent_name, value in form.multi_items():
        if sent_name in seen:
            raise InvalidParameter(_shown(sent_name), f"{_shown(sent_name)} was sent more than once.")
        seen.add(sent_name)
        name = IMAGE if sent_name in IMAGE_ALIASES else sent_name
        is_file = name == IMAGE or name in file_names
        if not is_file and name not in text_names:
            raise InvalidParameter(_shown(sent_name), f"{_shown(sent_name)} is no parameter here.")
        if isinstance(value, UploadFile) != is_file:
            if value == "":
                continue  # A file field that was left empty.
            kind = "a file" if is_file else "text"
            raise InvalidParameter(_shown(sent_name), f"{_shown(sent_name)} must be sent as {kind}.")
        if isinstance(value, str):
            fields.texts[name] = value
        elif not value.size and (name == IMAGE or not value.filename):
            continue  # Browsers send a file field that was left empty as an empty file without a name.
        elif name in fields.files:
            raise MultipleSources("Send one picture: image, image_file and file are names of the same field.")
        else:
            fields.files[name] = value
    return fields


def _require_one_source(fields: _Fields, image_id: str | None) -> None:
    if IMAGE in fields.files and image_id is not None:
        raise MultipleSources("Send either a picture or the id of a stored one.")
    if IMAGE not in fields.files and image_id is None:
        raise MissingImage("No picture came with the request. Send it as the form field image.")


async def _read_file(name: str, file: UploadFile) -> bytes:
    images.check_size(file.size or 0)
    content = await file.read()
    if not content:
        raise InvalidParameter(name, f"{name} is an empty file.")
    images.sniff(content)
    return content


def validated(params: type[Params], texts: dict[str, str]) -> Params:
    """A tool's parameters from texts by name. Raises `InvalidParameter`, naming the first at fault."""
    try:
        return params.model_validate(texts)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "parameter":
            name = str(first["ctx"]["param"])
        else:
            name = str(first["loc"][0]) if first["loc"] else ""
        raise InvalidParameter(name, f"{name}: {first['msg']}" if name else first["msg"]) from None


def _shown(name: str) -> str:
    """A name as a message may repeat it; a caller can send any length."""
    return name if len(name) <= _SHOWN_NAME_LENGTH else name[:_SHOWN_NAME_LENGTH] + "…"
