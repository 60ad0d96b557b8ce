"""JSON bodies that may carry files as base64 and long lists, read without decoding either.

Lists of parameters and long strings are cut out first, so that what is left is small enough for
`json_bodies.read_object`: a hundred thousand points are far more structure than it allows.
"""

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from api.errors import InvalidParameter, InvalidRequest
from api.http import json_bodies
from api.http.long_texts import LongText

#: Strings above this are cut out. It is far above any value that is not a file.
LONG_BYTES = 8 * 1024
SHORT_BYTES_MAX = 1024 * 1024  # of everything that is not cut out
_SHOWN_NAME_LENGTH = 100
# Each stroke has a few strings, each point a pair of brackets.
_TOKENS_MAX = 500_000
_SEARCHED_AT_ONCE = 64 * 1024  # a search holds the interpreter lock
_TOKEN = re.compile(rb'["\[\]{}]')
_QUOTE, _OBJECT, _LIST, _BACKSLASH = b'"{[\\'
_IN_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_WHITESPACE_MAX = 64
_COLON = re.compile(rb"[ \t\r\n]*+:")


@dataclass(frozen=True)
class ShortenedJson:
    """A JSON object in which each long string is a placeholder, and the strings by placeholder."""

    content: bytes
    long_texts: Mapping[str, LongText]
    value: Mapping[str, Any]


def read_object(content: bytes | bytearray) -> dict[str, Any]:
    """The JSON object in `content`, whose long strings are `LongText`. For a thread.

    Raises `InvalidRequest`, and `InvalidParameter` for a name that occurs twice in one object.
    """
    shortened = shorten(content)
    return {name: put_back(each, shortened.long_texts) for name, each in shortened.value.items()}


def shorten(content: bytes | bytearray) -> ShortenedJson:
    """The JSON object in `content` for a parser that is not limited itself. Raises as `read_object`."""
    short, long_texts = _cut_out(content)
    value = json_bodies.read_object(short)
    json.loads(short, object_pairs_hook=_refuse_repeated)
    return ShortenedJson(short, long_texts, value)


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
        end = _end_of_string(content, start)
        if end - start > LONG_BYTES:
            if _COLON.match(content, end + 1, end + 1 + _WHITESPACE_MAX) is not None:
                raise InvalidRequest(f"The request's JSON has a name of more than {LONG_BYTES:,} bytes.")
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


def _end_of_string(content: bytes | bytearray, start: int) -> int:
    """Where the string that begins at `start` has its closing quote. Raises `InvalidRequest`."""
    end = content.find(b'"', start)
    if end == start or (end > start and content[end - 1] != _BACKSLASH):
        return end  # Files as base64 have no quotes.
    at = start
    while end >= 0:
        found = _IN_STRING.match(content, at, at + _SEARCHED_AT_ONCE)
        assert found is not None
        if found.end() < len(content) and content[found.end()] == _QUOTE:
            return found.end()
        if found.end() == at:
            break
        at = found.end()
    raise InvalidRequest("The request's body is not valid JSON.")


def cut_out_lists(content: bytearray, path: tuple[bytes, ...] = ()) -> tuple[bytearray, dict[str, LongText]]:
    """The content with a placeholder for each list that is a value of one object, and their texts.

    The object is the outermost one, or the one that `path` leads to from there. What is cut out is valid only
    if its own parser finds it so. The rest is parsed strictly, so that it does not matter where lists were
    cut out of content that is not JSON. Raises `InvalidRequest`, `InvalidParameter`. For a thread.
    """
    prefix = secrets.token_hex(16)  # unpredictable: no text in the body can be mistaken for a placeholder
    rest, lists, at = bytearray(), dict[str, LongText](), 0
    for start, end in _lists(content, path):
        placeholder = f"{prefix}{len(lists)}"
        lists[placeholder] = LongText(content, start, end)
        rest += content[at:start]
        rest += f'"{placeholder}"'.encode()
        at = end
    if not lists:
        return content, lists
    rest += content[at:]
    return rest, lists


def _lists(content: bytearray, path: tuple[bytes, ...]) -> Iterator[tuple[int, int]]:
    """Start and end of each list that is a value of the object at `path`."""
    depth = at = start = 0
    entered = 0  # how many of the objects around here lead to the one at `path`
    name, list_name = bytearray(), bytearray()
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
            end = _end_of_string(content, at)
            name = content[at : min(end, at + _SHOWN_NAME_LENGTH)]
            at = end + 1
        elif token in (_OBJECT, _LIST):
            if token == _OBJECT and depth == entered <= len(path) and (depth == 0 or name == path[depth - 1]):
                entered += 1
            elif token == _LIST and depth == entered == len(path) + 1:
                start, list_name = found.start(), name
            depth += 1
        else:
            depth -= 1
            entered = max(0, min(entered, depth))
            if start and depth == len(path) + 1:
                yield start, at
                start = 0
    if start:
        shown = list_name.decode(errors="replace")
        raise InvalidParameter(shown, f"{shown} has too many values.")
    raise InvalidRequest("The request's JSON has too many values.")


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
