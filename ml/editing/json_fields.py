"""JSON in form fields: which values a caller's text may hold."""

import math
from typing import Any

from pydantic_core import from_json


def read_json(text: str) -> Any:
    """The value of JSON text.

    Raises ValueError for text that is not JSON (NaN and Infinity are not), and for what JSON allows but a
    program should not meet: half of a surrogate pair, nesting beyond 200 levels, and whole numbers of
    thousands of digits.
    """
    return from_json(text, allow_inf_nan=False, cache_strings="none")


def is_finite_number(value: Any) -> bool:
    """JSON knows no infinity, but 1e999 becomes one, and whole numbers may be too long for any float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
