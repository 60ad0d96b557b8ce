"""Which editor runs are free."""

import pytest

from api.editor import pricing
from ml.catalogue import TOOLS

STROKES = '[{"points":[[9,9]],"size":4}]'


@pytest.mark.parametrize(
    ("tool", "form", "is_free"),
    [
        ("crop", {"rotate": "90"}, True),
        *(("brush", {"op": op, "strokes": STROKES}, True) for op in ("erase", "restore", "blur")),
        ("brush", {"op": "paint", "color": "red", "strokes": STROKES}, True),
        ("brush", {"op": "heal", "strokes": STROKES}, False),
        ("bg-removal", {"bg_color": "red"}, False),
        ("magic-select", {"auto": "true"}, False),
        ("generative-fill", {"strokes": STROKES}, False),
        ("generative-expand", {"left": "5"}, False),
        ("upscale", {}, False),
    ],
)
def test_only_edits_without_a_network_are_free(tool: str, form: dict[str, str], is_free: bool) -> None:
    params = TOOLS[tool].params.model_validate(form)
    assert pricing.is_free_edit(tool, params) is is_free
