"""The body of `POST /v1.0/removebg`: multipart, urlencoded or JSON, each with the same fields."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from python_multipart.multipart import parse_options_header

from api.errors import InvalidParameter, InvalidRequest, MissingImage, MultipleSources
from api.http import base64_files, forms, json_forms, multipart
from api.http.long_texts import LongText
from api.http.removebg import fields
from api.http.removebg.errors import MultipleBackgrounds
from api.http.removebg.fields import BASE64_FIELDS, FILE_FIELDS, TEXT_FIELDS, RemoveBgFields
from api.images import service as images
from ml.errors import UnsupportedFormat
from ml.imaging import codecs

_FIELDS_MAX = 64
_TEXT_BYTES_MAX = 8 * 1024
_NAME_BYTES_MAX = 256
_MULTIPART_LIMITS = multipart.Limits(
    files=3,
    fields=_FIELDS_MAX,
    file_bytes=images.FILE_LIMIT_BYTES,
    text_bytes=40 * 1024 * 1024,  # 25 MiB as base64, with line breaks
)
#: Charsets that clients name although they send ASCII, in which all of them agree. Texts are read as UTF-8.
_ASCII_CHARSETS = frozenset({b"us-ascii", b"iso-8859-1", b"windows-1252"})
_BACKGROUNDS = ("bg_color", "bg_image_url", "bg_image_file")


@dataclass(frozen=True)
class RemoveBgBody:
    """`files` has the image and the background that came with the request, by remove.bg's names.

    An image as base64 is in it as `image_file`. Those named by URL are not fetched yet.
    """

    fields: RemoveBgFields
    files: dict[str, bytes]


#: A file, a text that is known to be short, or one that may be long.
_Value = bytes | str | LongText


async def read(request: Request) -> RemoveBgBody:
    """The request's body; exactly one image source is in it.

    Raises `RequestError`s, `UnsupportedFormat` and the errors of reading the body.
    """
    values = await _read_values(request)
    sources = [name for name in ("image_file", *sorted(BASE64_FIELDS), "image_url") if name in values]
    if not sources:
        raise MissingImage("Please provide the image as image_file, image_file_b64 or image_url.")
    if len(sources) > 1:
        raise MultipleSources(f"Please provide one image only: these are {' and '.join(sources)}.")
    backgrounds = [name for name in _BACKGROUNDS if name in values]
    if len(backgrounds) > 1:
        raise MultipleBackgrounds(
            f"Please provide one background only: these are {' and '.join(backgrounds)}."
        )
    read_fields = fields.read({name: text for name, text in values.items() if isinstance(text, str)})
    files = {name: value for name, value in values.items() if isinstance(value, bytes)}
    long_text = values.get(sources[0])
    if isinstance(long_text, LongText):
        files["image_file"] = await base64_files.decode(long_text, sources[0])
    for name, content in files.items():
        _check_picture(name, content)
    return RemoveBgBody(read_fields, files)


async def _read_values(request: Request) -> dict[str, _Value]:
    media_type, options = parse_options_header(request.headers.get("content-type"))
    if options.get(b"charset", b"").lower() in _ASCII_CHARSETS:
        del options[b"charset"]
    forms.check_encoding(request, options)
    if media_type == b"multipart/form-data":
        boundary = options.get(b"boundary")
        if not boundary:
            raise InvalidRequest("Content-Type has no boundary: let your HTTP client set this header.")
        parts = await multipart.read_parts(request.stream(), boundary, _MULTIPART_LIMITS)
        return _by_name((part.name, _value_of_part(part)) for part in parts)
    if media_type not in (b"application/json", b"application/x-www-form-urlencoded", b""):
        raise InvalidRequest(
            "Send multipart/form-data, application/x-www-form-urlencoded or application/json."
        )
    content = bytearray()
    async for piece in request.stream():
        content += piece
    if media_type == b"" and content:
        raise InvalidRequest("The request has no Content-Type.")
    reader = _read_json if media_type == b"application/json" else _read_urlencoded
    return await asyncio.to_thread(reader, content)


def _by_name(pairs: Iterable[tuple[str, _Value | None]]) -> dict[str, _Value]:
    """The known fields that are not empty; unknown ones are ignored. Raises `InvalidParameter`."""
    values: dict[str, _Value] = {}
    seen: set[str] = set()
    for name, value in pairs:
        if name not in FILE_FIELDS | BASE64_FIELDS | TEXT_FIELDS:
            continue
        if name in seen:
            raise InvalidParameter(name, f"{name} was sent more than once.")
        seen.add(name)
        if value is None or len(value) == 0:
            continue
        values[name] = _as_field(name, value)
    return values


def _as_field(name: str, value: _Value) -> _Value:
    """`value` as the kind that the field `name` has. Raises `InvalidParameter`."""
    if name in FILE_FIELDS:
        if not isinstance(value, bytes):
            hint = "; base64 is sent as image_file_b64" if name == "image_file" else ""
            raise InvalidParameter(name, f"{name} must be sent as a file of a multipart form{hint}.")
        return value
    if name in BASE64_FIELDS:
        if isinstance(value, bytes):
            return LongText(value, 0, len(value))
        return LongText.of(value) if isinstance(value, str) else value
    if len(value) > _TEXT_BYTES_MAX:
        raise InvalidParameter(name, f"{name} is too long: at most {_TEXT_BYTES_MAX:,} bytes.")
    try:
        text = value.decode() if isinstance(value, bytes) else value
        text = text.text() if isinstance(text, LongText) else text
    except ValueError:
        raise InvalidParameter(name, f"{name} is not UTF-8 text.") from None
    if "\0" in text:
        raise InvalidParameter(name, f"{name} contains a NUL character.")
    return text


def _value_of_part(part: multipart.Part) -> _Value | None:
    if part.is_file:
        if not part.content and part.has_file_name and part.name in FILE_FIELDS:
            raise InvalidParameter(part.name, f"{part.name} is an empty file.")
        return part.content
    return LongText(part.content, 0, len(part.content))


def _read_json(content: bytearray) -> dict[str, _Value]:
    values = json_forms.read_object(content)
    return _by_name((name, _value_of_json(name, value)) for name, value in values.items())


def _value_of_json(name: str, value: Any) -> _Value | None:
    match value:
        case None | str() | LongText():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
    if name in FILE_FIELDS | BASE64_FIELDS | TEXT_FIELDS:
        raise InvalidParameter(name, f"{name} must be a text, a number, true, false or null.")
    return None


def _read_urlencoded(content: bytearray) -> dict[str, _Value]:
    forms.refuse_bare_files(bytes(content[: codecs.SNIFF_BYTES]))
    pairs: list[tuple[str, _Value]] = []
    at = 0
    for _ in range(_FIELDS_MAX):
        if at >= len(content):
            break
        end = content.find(b"&", at)
        end = len(content) if end < 0 else end
        equals = content.find(b"=", at, end)
        equals = end if equals < 0 else equals
        if equals - at <= _NAME_BYTES_MAX:  # Longer names are unknown ones.
            try:
                name = LongText(content, at, equals, "urlencoded").text()
            except ValueError:
                raise InvalidRequest("The request's body is not a valid form.") from None
            pairs.append((name, LongText(content, min(equals + 1, end), end, "urlencoded")))
        at = end + 1
    else:
        raise InvalidRequest(f"The form has too many fields: at most {_FIELDS_MAX - 1}.")
    return _by_name(pairs)


def _check_picture(name: str, content: bytes) -> None:
    try:
        images.sniff(content)
    except UnsupportedFormat as error:
        raise forms.named(error, name) from None
