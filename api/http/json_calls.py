"""The JSON body of a tool's call or an upload: the form's fields by the same names.

A file is an object such as `{"url": …}`, `{"base64": …}` or `{"image_id": …}`. Lists are the values that a
form sends as JSON text, and stay text here: they are cut out of the body, because a hundred thousand points
are far more structure than `json_bodies` allows.
"""

import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from api.errors import InvalidParameter, InvalidRequest, MultipleSources
from api.http import base64_files, json_forms
from api.http.long_texts import LongText
from ml.imaging.strokes import MAX_TEXT_CHARACTERS

#: Keys of the object that stands for a file.
URL, BASE64, IMAGE_ID = "url", "base64", "image_id"
_WAYS = (URL, BASE64, IMAGE_ID)
_DATA_URL = "data:"
_NAME_LENGTH_SHOWN = 100
# Each stroke has a few strings, each point a pair of brackets.
_TOKENS_MAX = 500_000
_SEARCHED_AT_ONCE = 64 * 1024  # a search holds the interpreter lock
_TOKEN = re.compile(rb'["\[\]{}]')
_QUOTE, _OPENING, _LIST = ord('"'), b"[{", ord("[")


@dataclass
class JsonFields:
    """`texts` by field name. `encoded` (base64), `urls` and `ids` by the name of the file."""

    texts: dict[str, str] = field(default_factory=dict)
    encoded: dict[str, LongText] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)


def read(
    content: bytearray, files: Mapping[str, str], text_names: set[str], list_names: set[str]
) -> JsonFields:
    """The fields of the JSON object in `content`. For a thread.

    `files`: the file's own name by each of its names. `list_names`: the texts that may be lists. Raises
    `InvalidRequest`, `InvalidParameter`, `MultipleSources`; unknown and repeated names are refused.
    """
    rest, lists = _cut_out_lists(content)
    fields = JsonFields()
    sent: dict[str, str] = {}
    for name, entry in json_forms.read_object(rest).items():
        value, shown = entry, name[:_NAME_LENGTH_SHOWN]
        if name not in files and name not in text_names:
            raise InvalidParameter(shown, f"{shown} is not a parameter here.")
        if isinstance(value, str) and value in lists:
            value = lists[value]
            if name not in list_names:
                raise InvalidParameter(shown, f"{shown} must not be a list.")
        if name not in files:
            fields.texts[name] = _text(name, value)
        elif value is not None:
            file = files[name]
            if file in sent:
                raise MultipleSources(
                    f"{name} and {sent[file]} are names of the same file: send one of them."
                )
            sent[file] = name
            _read_file(fields, name, file, value)
    return fields


async def decoded(fields: JsonFields) -> dict[str, bytes]:
    """The files that came as base64. Raises `InvalidParameter`, `FileTooLarge`."""
    return {name: await base64_files.decode(text, name) for name, text in fields.encoded.items()}


def _text(name: str, value: Any) -> str:
    """A value as a form sends it; empty for null."""
    match value:
        case None:
            return ""
        case str():
            return value
        case LongText():
            return _long_text(name, value)
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
    raise InvalidParameter(name, f"{name} must be a text, a number, true, false, a list or null.")


def _long_text(name: str, value: LongText) -> str:
    if len(value) > MAX_TEXT_CHARACTERS:
        raise InvalidParameter(name, f"{name} is too long.")
    try:
        return value.text()
    except ValueError:
        raise InvalidParameter(name, f"{name} is not valid text.") from None


def _read_file(fields: JsonFields, name: str, file: str, value: Any) -> None:
    if isinstance(value, dict) and len(value) > 1 and set(value) <= set(_WAYS):
        raise MultipleSources(f"Send {name} in one way: these are {' and '.join(value)}.")
    if not isinstance(value, dict) or len(value) != 1 or not set(value) <= set(_WAYS):
        raise InvalidParameter(
            name,
            f'{name} must be an object with one of url, base64 or image_id, as in {{"url": "https://…"}}.',
        )
    ((way, sent),) = value.items()
    if not isinstance(sent, str | LongText) or not len(sent):
        raise InvalidParameter(name, f"{name}: {way} must be a text that is not empty.")
    if isinstance(sent, str) and "\0" in sent:
        raise InvalidParameter(name, f"{name}: {way} contains a NUL character.")
    if way == BASE64 or _is_data_url(sent):
        fields.encoded[file] = LongText.of(sent) if isinstance(sent, str) else sent
    elif isinstance(sent, LongText):
        raise InvalidParameter(name, f"{name}: {way} is too long.")
    elif way == URL:
        fields.urls[file] = sent
    else:
        fields.ids[file] = sent


def _is_data_url(sent: str | LongText) -> bool:
    first = sent if isinstance(sent, str) else next(sent.pieces(), b"").decode("ascii", "replace")
    return first.lstrip()[: len(_DATA_URL)].lower() == _DATA_URL


def _cut_out_lists(content: bytearray) -> tuple[bytearray, dict[str, str]]:
    """The content with a placeholder for each list that is a value of the whole object, and their texts.

    What is cut out is valid only if its own parser finds it so. The rest is parsed strictly, so that it does
    not matter where lists were cut out of content that is not JSON.
    """
    prefix = secrets.token_hex(16)  # unpredictable: no text in the body can be mistaken for a placeholder
    rest, lists, at = bytearray(), dict[str, str](), 0
    for start, end in _lists(content):
        if end - start > MAX_TEXT_CHARACTERS:
            raise InvalidRequest(f"The request's JSON has a list of more than {MAX_TEXT_CHARACTERS:,} bytes.")
        placeholder = f"{prefix}{len(lists)}"
        try:
            lists[placeholder] = content[start:end].decode()
        except UnicodeDecodeError:
            raise InvalidRequest("The request's body is not valid JSON.") from None
        rest += content[at:start]
        rest += f'"{placeholder}"'.encode()
        at = end
    if not lists:
        return content, lists
    rest += content[at:]
    return rest, lists


def _lists(content: bytearray) -> Iterator[tuple[int, int]]:
    """Start and end of each list that is a value of the outermost object."""
    depth = at = start = 0
    for _ in range(_TOKENS_MAX):
        window_end = min(at + _SEARCHED_AT_ONCE, len(content))
        found = _TOKEN.search(content, at, window_end)
        if found is None:
            if window_end == len(content):
                return
            at = window_end
            continue
        at = found.end()
        token = content[found.start()]
        if token == _QUOTE:
            at = json_forms.end_of_string(content, at) + 1
        elif token in _OPENING:
            depth += 1
            if depth == 2 and token == _LIST:
                start = found.start()
        else:
            depth -= 1
            if depth == 1 and start:
                yield start, at
                start = 0
    raise InvalidRequest("The request's JSON has too many values.")
