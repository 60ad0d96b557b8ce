"""JSON in form fields: what a stranger's text may hold, and what it may not."""

import json
import math
from typing import Any


def read_json(text: str) -> Any:
    """The value of JSON text. Raises ValueError for all that is none: NaN and Infinity too."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def is_finite_number(value: Any) -> bool:
    """JSON knows no infinity, but 1e999 becomes one, and whole numbers may be too long for any float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")
