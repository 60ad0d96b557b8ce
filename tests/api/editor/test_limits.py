"""What is free is limited: so many a minute, so many at once."""

from datetime import UTC, datetime, timedelta

import pytest

from api.editor import pricing
from api.editor.limits import Limits
from api.editor.models import Step
from api.errors import RateLimited

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_waiting_as_long_as_it_says_succeeds() -> None:
    limits = Limits()
    for _ in range(60):
        limits.take("overlay", "ses_1", 60, NOON)
    with pytest.raises(RateLimited) as refused:
        limits.take("overlay", "ses_1", 60, NOON)
    limits.take("overlay", "ses_2", 60, NOON)
    limits.take("look", "ses_1", 60, NOON)
    seconds = refused.value.retry_after_seconds
    assert seconds is not None
    limits.take("overlay", "ses_1", 60, NOON + timedelta(seconds=seconds))


def test_so_many_at_once_and_again_when_one_ended() -> None:
    limits = Limits()
    with limits.at_once("a"):
        with limits.at_once("a"):
            with pytest.raises(RateLimited), limits.at_once("a"):
                raise AssertionError("a third one began")
            with limits.at_once("b"):
                pass
        with limits.at_once("a"):
            pass


def step(tool: str, parent_id: str | None, is_paid: bool = True) -> Step:
    return Step(
        id="stp_cut",
        project_id="prj",
        parent_id=parent_id,
        number=1,
        tool=tool,
        image_id="img",
        width=1,
        height=1,
        format="png",
        is_paid=is_paid,
        created_at=NOON,
    )


SOURCE = step("crop", None)
SOURCE.id = "stp_source"


@pytest.mark.parametrize(
    ("paid", "params", "is_free"),
    [
        (
            step("bg-removal", "stp_source"),
            {"bg_color": "red", "preset": "marketplace"},
            True,
        ),
        (step("bg-removal", "stp_source"), {"feather": "2", "shift_edge": "-1", "crop": "true"}, True),
        (step("bg-removal", "stp_source"), {"model": "fast"}, False),
        (step("bg-removal", "stp_source"), {"roi": "0 0 5 5"}, False),
        (step("bg-removal", "stp_source"), {"channels": "alpha"}, False),
        (step("bg-removal", "stp_other"), {}, False),
        (step("bg-removal", "stp_source", is_paid=False), {}, False),
        (step("crop", "stp_source"), {}, False),
    ],
)
def test_only_the_look_of_a_paid_cut_out_of_the_same_picture_is_free(
    paid: Step, params: dict[str, str], is_free: bool
) -> None:
    tool = paid.tool or ""
    assert pricing.only_changes_the_look(paid, params, source=SOURCE, tool=tool, paid_params={}) is is_free


def test_what_the_cut_out_was_made_with_is_part_of_it() -> None:
    paid = step("bg-removal", "stp_source")
    made_with = {"model": "fast", "format": "png"}
    for params, is_free in (({"model": "fast", "bg_color": "red"}, True), ({"bg_color": "red"}, False)):
        found = pricing.only_changes_the_look(
            paid, params, source=SOURCE, tool="bg-removal", paid_params=made_with
        )
        assert found is is_free
