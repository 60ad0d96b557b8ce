"""Calls in words."""

import pytest

from api.calls.models import CallRecord
from ml.catalogue import TOOLS
from tests.support.builders import NOON
from web.dashboard import words


def call(status: int, code: str | None) -> CallRecord:
    return CallRecord(
        request_id="req_a",
        account_id="acc_a",
        tool="crop",
        day="2026-11-22",
        started_at=NOON,
        duration_ms=1,
        status_code=status,
        code=code,
    )


@pytest.mark.parametrize(
    ("status", "code", "text"),
    [
        (200, None, "Done"),
        (422, "INVALID_PARAMETER", "Refused (422 INVALID_PARAMETER)"),
        (504, "PROCESSING_TIMEOUT", "Failed (504 PROCESSING_TIMEOUT)"),
        (500, None, "Failed (500)"),
    ],
)
def test_outcomes_are_told_in_words(status: int, code: str | None, text: str) -> None:
    assert words.outcome(call(status, code)) == text


def test_calls_are_named_by_what_they_do_and_by_their_picture() -> None:
    assert words.action("upscale", "cat.jpg") == "Enlarge, cat.jpg"
    assert words.action("upscale") == "Enlarge"
    assert words.action("retired-tool") == "retired-tool"
    assert all(words.action(tool) != tool for tool in TOOLS)


def test_one_credit_is_singular() -> None:
    assert [words.credits(number) for number in (0, 1, 1200)] == ["0 credits", "1 credit", "1,200 credits"]
