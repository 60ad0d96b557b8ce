"""Which editor runs are free."""

from datetime import UTC, datetime

import pytest

from api.editor import pricing
from api.editor.models import Step

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def step(tool: str, parent_id: str | None) -> Step:
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
        (step("crop", "stp_source"), {}, False),
    ],
)
def test_only_restyling_a_paid_cutout_of_the_same_image_is_free(
    paid: Step, params: dict[str, str], is_free: bool
) -> None:
    tool = paid.tool or ""
    assert pricing.only_changes_the_look(paid, params, source=SOURCE, tool=tool, paid_params={}) is is_free


def test_parameters_that_change_the_cutout_itself_are_billed() -> None:
    paid = step("bg-removal", "stp_source")
    made_with = {"model": "fast", "format": "png"}
    for params, is_free in (({"model": "fast", "bg_color": "red"}, True), ({"bg_color": "red"}, False)):
        found = pricing.only_changes_the_look(
            paid, params, source=SOURCE, tool="bg-removal", paid_params=made_with
        )
        assert found is is_free
