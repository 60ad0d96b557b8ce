"""Names of rows: a prefix that says what a row is, then 96 random bits, never guessed and never reused."""

import secrets


def new_id(prefix: str) -> str:
    """For example `acc_9f0c…`; 24 hexadecimal digits after the prefix."""
    return f"{prefix}_{secrets.token_hex(12)}"
