"""What text may be stored."""

import unicodedata

#: Control characters, NUL among them, which PostgreSQL does not store; lone surrogates, which are no UTF-8.
_UNSTORABLE = frozenset({"Cc", "Cs"})


def is_storable_text(text: str) -> bool:
    """Whether every database stores `text`, and a line of a page or a log shows it: no control characters,
    no lone surrogates. JSON documents can spell both, so text that came in one needs this check.
    """
    return not any(unicodedata.category(character) in _UNSTORABLE for character in text)
