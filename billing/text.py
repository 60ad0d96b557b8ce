"""Checks that text can be stored by every supported database."""

import unicodedata

#: Control characters, NUL among them, which PostgreSQL refuses; lone surrogates, which UTF-8 cannot encode.
_UNSTORABLE = frozenset({"Cc", "Cs"})


def is_storable_text(text: str) -> bool:
    """Whether `text` has no control characters and no lone surrogates.

    JSON documents can contain both, so text from one needs this check.
    """
    return not any(unicodedata.category(character) in _UNSTORABLE for character in text)
