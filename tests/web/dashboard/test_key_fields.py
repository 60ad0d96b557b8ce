"""What the fields of a key's limits mean."""

from datetime import UTC, datetime

import pytest

from api.auth.key_settings import KeySettings
from api.errors import InvalidParameter
from ml.catalogue import TOOLS
from web.dashboard import key_fields

ALL = list(TOOLS)


def test_empty_fields_and_all_tools_are_no_limit() -> None:
    assert key_fields.read(ALL, "", "") == KeySettings()
    assert key_fields.read(ALL, " ") == KeySettings()


def test_a_key_works_until_the_end_of_its_last_day() -> None:
    settings = key_fields.read(["crop"], "2027-01-31", " 12 ")
    assert settings == KeySettings(12, frozenset({"crop"}), datetime(2027, 2, 1, tzinfo=UTC))
    assert key_fields.shown_day(settings.expires_at) == "2027-01-31"
    assert key_fields.shown_day(None) is None


@pytest.mark.parametrize("day", ["tomorrow", "2027-02-30", "20270131", "31.01.2027", "9999-12-31"])
def test_a_bad_day_is_refused(day: str) -> None:
    with pytest.raises(InvalidParameter, match="such as 2027-01-31"):
        key_fields.read(ALL, day)


@pytest.mark.parametrize("limit", ["many", "-1", "1.5", "1e3", "²"])
def test_a_limit_that_is_no_number_is_refused(limit: str) -> None:
    with pytest.raises(InvalidParameter, match="whole number"):
        key_fields.read(ALL, "", limit)
