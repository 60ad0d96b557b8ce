"""Random identifiers: a prefix for the kind of object, then 22 base62 characters (131 bits)."""

import secrets
import string

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_CHARACTERS = 22


def new_id(prefix: str) -> str:
    """A new identifier such as `img_0Uk3…`; `prefix` is without its underscore."""
    return f"{prefix}_{random_base62(_RANDOM_CHARACTERS)}"


def random_base62(length: int) -> str:
    """`length` uniformly random characters from the system's secure source."""
    return to_base62(secrets.randbelow(62**length), length)


def to_base62(number: int, length: int) -> str:
    """`number` >= 0 in base 62, most significant digit first, padded with zeros to `length` characters."""
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(BASE62[digit])
    return "".join(reversed(digits))
