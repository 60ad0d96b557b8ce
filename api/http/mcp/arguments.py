"""From the arguments that an agent sends to a call's parameters and files.

The names are those of form fields, except for files: an object of one of url, base64 and image_id.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.errors import InvalidParameter, MissingImage, MultipleSources, NotFound
from api.http import base64_files, forms, json_forms
from api.http.long_texts import LongText
from api.http.mcp.exchange import Exchange
from api.http.mcp.tools import BASE64, IDEMPOTENCY_KEY, IMAGE, IMAGE_ID, URL
from api.http.remote_sources import RemoteSource
from api.images import service as images
from ml.errors import UnsupportedFormat
from ml.params import Params
from ml.tool import Tool

_SOURCES = (URL, BASE64, IMAGE_ID)
_TEXT_BYTES_MAX = 4 * 1024 * 1024
_SHORT_TEXT_LENGTH_MAX = 4096
_IDEMPOTENCY_KEY_LENGTH_MAX = 255
_SHOWN_LENGTH = 100


@dataclass(frozen=True)
class EditArguments:
    """`files` has every file by its name, apart from those of `urls`, which are not fetched yet.

    `stored_ids` has the ids of files that were stored before.
    """

    params: Params
    files: dict[str, bytes]
    urls: dict[str, RemoteSource]
    stored_ids: dict[str, str]
    idempotency_key: str | None


async def read_edit(exchange: Exchange, tool: Tool, sent: Mapping[str, Any]) -> EditArguments:
    """The arguments of a tool of the catalogue, its files decoded or read.

    Raises `RequestError`s and `UnsupportedFormat`.
    """
    values = _by_name(exchange, sent)
    file_names = {IMAGE, *(field.name for field in tool.files)}
    _refuse_unknown(values, file_names | forms.parameter_names(tool.params) | {IDEMPOTENCY_KEY})
    key = _idempotency_key(values)
    sources = {name: _source(name, values[name], _SOURCES) for name in file_names if name in values}
    if IMAGE not in sources:
        raise MissingImage("The call has no image: give its url, base64 or image_id.")
    params = await asyncio.to_thread(_params, tool, values)
    files = await _read_files(exchange, sources)
    stored_ids = {name: value for name, (source, value) in sources.items() if source == IMAGE_ID}
    params = await images.with_mask_mode(exchange.services, exchange.caller.account_id, params, stored_ids)
    return EditArguments(params, files, _urls(sources), stored_ids, key)


async def read_upload(exchange: Exchange, sent: Mapping[str, Any]) -> tuple[bytes | RemoteSource, str | None]:
    """The image of an upload or where to fetch it, and its idempotency key. Raises as `read_edit`."""
    values = _by_name(exchange, sent)
    _refuse_unknown(values, {IMAGE, IDEMPOTENCY_KEY})
    key = _idempotency_key(values)
    if IMAGE not in values:
        raise MissingImage("The call has no image: give its url or base64.")
    sources = {IMAGE: _source(IMAGE, values[IMAGE], (URL, BASE64))}
    files = await _read_files(exchange, sources)
    return files[IMAGE] if IMAGE in files else _urls(sources)[IMAGE], key


def refuse_all(exchange: Exchange, sent: Mapping[str, Any]) -> None:
    """Raise `InvalidParameter` for any argument of a tool that has none."""
    _refuse_unknown(_by_name(exchange, sent), set())


def _by_name(exchange: Exchange, sent: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that have a value."""
    values = {name: json_forms.put_back(value, exchange.long_texts) for name, value in sent.items()}
    return {name: value for name, value in values.items() if value is not None and value != ""}


def _refuse_unknown(values: Mapping[str, Any], known: set[str]) -> None:
    for name in values:
        if name not in known:
            shown = _shown(name)
            raise InvalidParameter(shown, f"{shown} is not a parameter of this tool.")


def _idempotency_key(values: Mapping[str, Any]) -> str | None:
    key = values.get(IDEMPOTENCY_KEY)
    if key is None:
        return None
    if not isinstance(key, str) or len(key) > _IDEMPOTENCY_KEY_LENGTH_MAX or not key.isprintable():
        message = f"Send one key of 1 to {_IDEMPOTENCY_KEY_LENGTH_MAX} printable characters."
        raise InvalidParameter(IDEMPOTENCY_KEY, message)
    return key


def _source(name: str, value: Any, sources: tuple[str, ...]) -> tuple[str, Any]:
    """Which of `sources` the object `value` has, and its text."""
    hint = f"an object with one of {', '.join(sources)}"
    if not isinstance(value, dict):
        raise InvalidParameter(name, f"{name} must be {hint}.")
    given = {source: text for source, text in value.items() if text is not None and text != ""}
    for source in given:
        if source not in sources:
            shown = _shown(source)
            raise InvalidParameter(f"{name}.{shown}", f"{name} must be {hint}: {shown} is not one of them.")
    if len(given) > 1:
        raise MultipleSources(f"{name} must be {hint}: these are {' and '.join(given)}.")
    for source, text in given.items():
        if not isinstance(text, str | LongText):
            raise InvalidParameter(f"{name}.{source}", f"{name}.{source} must be text.")
        if source != BASE64 and (isinstance(text, LongText) or len(text) > _SHORT_TEXT_LENGTH_MAX):
            raise InvalidParameter(f"{name}.{source}", f"{name}.{source} is too long.")
        return source, text
    if name == IMAGE:
        raise MissingImage(f"The image is empty: it must be {hint}.")
    raise InvalidParameter(name, f"{name} is empty: it must be {hint}.")


def _params(tool: Tool, values: Mapping[str, Any]) -> Params:
    names = forms.parameter_names(tool.params)
    return forms.validated(tool.params, {name: _text(name, values[name]) for name in names if name in values})


def _text(name: str, value: Any) -> str:
    """A value as the text that a form would have."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int() | float():
            return str(value)
        case LongText() if len(value) <= _TEXT_BYTES_MAX:
            try:
                return value.text()
            except ValueError:
                raise InvalidParameter(name, f"{name} is not valid text.") from None
        case list() | dict() if not _has_long_text(value):
            return json.dumps(value, separators=(",", ":"))
    raise InvalidParameter(name, f"{name} is too long.")


def _has_long_text(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_long_text, value.values()))
    return any(map(_has_long_text, value)) if isinstance(value, list) else isinstance(value, LongText)


async def _read_files(exchange: Exchange, sources: Mapping[str, tuple[str, Any]]) -> dict[str, bytes]:
    """The files that need not be fetched, by name."""
    files: dict[str, bytes] = {}
    for name, (source, value) in sources.items():
        param = f"{name}.{source}"
        if source == IMAGE_ID:
            try:
                account_id = exchange.caller.account_id
                files[name] = await images.read_for_call(exchange.services, account_id, value)
            except NotFound as error:
                raise forms.named(error, param) from None
        elif source == BASE64:
            text = value if isinstance(value, LongText) else LongText.of(value)
            files[name] = await base64_files.decode(text, param)
            _check_picture(param, files[name])
    return files


def _urls(sources: Mapping[str, tuple[str, Any]]) -> dict[str, RemoteSource]:
    return {
        name: RemoteSource(f"{name}.{URL}", value)
        for name, (source, value) in sources.items()
        if source == URL
    }


def _check_picture(param: str, content: bytes) -> None:
    try:
        images.sniff(content)
    except UnsupportedFormat as error:
        raise forms.named(error, param) from None


def _shown(name: str) -> str:
    """A name, truncated for messages, because callers can send any length."""
    return name if len(name) <= _SHOWN_LENGTH else f"{name[:_SHOWN_LENGTH]}…"
