"""JSON bodies, whose structure is limited before they are parsed.

Long strings are cheap to parse, but a mebibyte of brackets becomes hundreds of thousands of objects and
blocks the event loop for a fifth of a second. All routes need only a little structure.
"""

import re
from typing import Any

from pydantic_core import from_json

from api.errors import InvalidRequest

STRUCTURE_BYTES_MAX = 8 * 1024
STRINGS_MAX = 512
# Possessive, and with an optional closing quote: an unterminated string is one match up to the end. Otherwise
# the search would start again at each quote inside it, which takes quadratic time.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


def read_object(content: bytes) -> dict[str, Any]:
    """The JSON object in `content`. Raises `InvalidRequest`.

    Lone surrogates are refused: such text can neither be stored nor sent.
    """
    if _has_too_much_structure(content):
        raise InvalidRequest("The request's JSON has too many values.")
    try:
        value = from_json(content, allow_inf_nan=False, cache_strings="none")
    except ValueError:
        raise InvalidRequest("The request's body is not valid JSON.") from None
    if not isinstance(value, dict):
        raise InvalidRequest("The request's body must be a JSON object.")
    return value


def _has_too_much_structure(content: bytes) -> bool:
    outside_strings = end = 0
    for count, string in enumerate(_STRING.finditer(content)):
        outside_strings += string.start() - end
        end = string.end()
        if count >= STRINGS_MAX or outside_strings > STRUCTURE_BYTES_MAX:
            return True
    return outside_strings + len(content) - end > STRUCTURE_BYTES_MAX
