"""Cursors name a row exactly, and nothing else is one."""

from datetime import timedelta

import pytest

from api import page_cursors
from api.errors import InvalidParameter
from tests.support.load import NOON


def test_a_cursor_names_its_row_to_the_microsecond() -> None:
    moment = NOON + timedelta(microseconds=123_457)
    assert page_cursors.position_of(page_cursors.after(moment, "job_1")) == (moment, "job_1")


@pytest.mark.parametrize(
    "cursor", ["", "x", "é", "AAAA", "MDo", "MDoA", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk6YQ"]
)
def test_anything_else_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidParameter, match="nextCursor"):
        page_cursors.position_of(cursor)
