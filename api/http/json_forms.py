"""JSON bodies that may carry files as base64, read without decoding their long strings.

Long strings are cut out first, so that what is left is small enough for `json_bodies.read_object`.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.errors import InvalidParameter, InvalidRequest
from api.http import json_bodies
from api.http.long_texts import LongText

#: Strings above this are cut out. It is far above any value that is not a file.
LONG_BYTES = 8 * 1024
SHORT_BYTES_MAX = 1024 * 1024  # of everything that is not cut out
_ESCAPED_QUOTES_MAX = 1024  # in one string
_BACKSLASHES_MAX = 64  # in a row
_BACKSLASH = ord("\\")
_SHOWN_NAME_LENGTH = 100


@dataclass(frozen=True)
class ShortenedJson:
    """A JSON object in which each long string is a placeholder, and the strings by placeholder."""

    content: bytes
    long_texts: Mapping[str, LongText]


def read_object(content: bytes | bytearray) -> dict[str, Any]:
    """The JSON object in `content`, whose long strings are `LongText`. For a thread.

    Raises `InvalidRequest`, and `InvalidParameter` for a name that occurs twice in one object.
    """
    value, shortened = _read(content)
    return {name: put_back(each, shortened.long_texts) for name, each in value.items()}


def shorten(content: bytes | bytearray) -> ShortenedJson:
    """The JSON object in `content` for a parser that is not limited itself. Raises as `read_object`."""
    return _read(content)[1]


def _read(content: bytes | bytearray) -> tuple[dict[str, Any], ShortenedJson]:
    short, long_texts = _cut_out(content)
    value = json_bodies.read_object(short)
    json.loads(short, object_pairs_hook=_refuse_repeated)
    return value, ShortenedJson(short, long_texts)


def _cut_out(content: bytes | bytearray) -> tuple[bytes, dict[str, LongText]]:
    """The content with a placeholder for each long string, and the strings by placeholder."""
    # Unpredictable, so that no text in the body can be mistaken for one.
    prefix = secrets.token_hex(16)
    cut: list[LongText] = []
    at = 0
    for _ in range(json_bodies.STRINGS_MAX + 1):
        start = content.find(b'"', at) + 1
        if not start:
            break
        end = end_of_string(content, start)
        if end - start > LONG_BYTES:
            cut.append(LongText(content, start, end, "json"))
        at = end + 1
    else:
        raise InvalidRequest("The request's JSON has too many values.")
    if len(content) - sum(text.end - text.start for text in cut) > SHORT_BYTES_MAX:
        raise InvalidRequest("The request's JSON has too many values.")
    short = bytearray()
    at = 0
    for number, text in enumerate(cut):
        short += content[at : text.start]
        short += f"{prefix}{number}".encode()
        at = text.end
    short += content[at:]
    return bytes(short), {f"{prefix}{number}": text for number, text in enumerate(cut)}


def end_of_string(content: bytes | bytearray, start: int) -> int:
    """Where the string that begins at `start` has its closing quote. Raises `InvalidRequest`."""
    at = start
    for _ in range(_ESCAPED_QUOTES_MAX):
        end = content.find(b'"', at)
        if end < 0:
            break
        escape = end
        while escape > start and content[escape - 1] == _BACKSLASH and end - escape <= _BACKSLASHES_MAX:
            escape -= 1
        if end - escape > _BACKSLASHES_MAX:
            break
        if (end - escape) % 2 == 0:
            return end
        at = end + 1
    raise InvalidRequest("The request's body is not valid JSON.")


def put_back(value: Any, long_texts: Mapping[str, LongText]) -> Any:
    """`value` with the long strings in place of their placeholders."""
    if isinstance(value, str):
        return long_texts.get(value, value)
    if isinstance(value, list):
        return [put_back(each, long_texts) for each in value]
    if isinstance(value, dict):
        return {name: put_back(each, long_texts) for name, each in value.items()}
    return value


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            shown = name[:_SHOWN_NAME_LENGTH]
            raise InvalidParameter(shown, f"{shown} was sent more than once.")
        seen.add(name)
