"""Random identifiers."""

import re

from billing.identifiers import BASE62, new_id, random_base62, to_base62


def test_an_identifier_is_its_prefix_and_22_base62_characters() -> None:
    assert re.fullmatch(r"img_[0-9A-Za-z]{22}", new_id("img"))


def test_identifiers_are_distinct() -> None:
    assert len({new_id("acc") for _ in range(1000)}) == 1000


def test_every_base62_digit_occurs() -> None:
    assert set(random_base62(10_000)) == set(BASE62)


def test_numbers_are_padded_and_sort_as_their_text() -> None:
    assert to_base62(0, 3) == "000"
    assert to_base62(61, 3) == "00z"
    assert to_base62(62, 3) == "010"
    texts = [to_base62(number, 3) for number in range(0, 62**3, 997)]
    assert texts == sorted(texts)
