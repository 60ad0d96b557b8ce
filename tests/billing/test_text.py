"""Text that every supported database can store."""

import pytest

from billing.text import is_storable_text


@pytest.mark.parametrize("text", ["", "plain", "Zoë 日本 🎨", "e\u0301", "a\u00a0b", "\u200b"])
def test_printable_text_is_storable(text: str) -> None:
    assert is_storable_text(text)


@pytest.mark.parametrize("text", ["a\0b", "line\nbreak", "\x7f", "\x9f", "\ud800", "x\udfff"])
def test_control_characters_and_lone_surrogates_are_not_storable(text: str) -> None:
    assert not is_storable_text(text)
