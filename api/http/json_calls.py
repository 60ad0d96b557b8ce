"""The JSON body of a tool's call or an upload: the form's fields by the same names.

A file is an object such as `{"url": …}`, `{"base64": …}` or `{"image_id": …}`. Lists are the values that a
form sends as JSON text, and stay text here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from api.errors import InvalidParameter, MultipleSources
from api.http import base64_files, json_forms
from api.http.long_texts import LongText
from ml.imaging.strokes import MAX_TEXT_CHARACTERS

#: Keys of the object that stands for a file.
URL, BASE64, IMAGE_ID = "url", "base64", "image_id"
_WAYS = (URL, BASE64, IMAGE_ID)
_DATA_URL = "data:"
_NAME_LENGTH_SHOWN = 100


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
    rest, lists = json_forms.cut_out_lists(content)
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
