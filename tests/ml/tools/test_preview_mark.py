"""Results as marked previews."""

import numpy as np
import pytest

from ml.backend import ToolCall
from ml.runtime import run_call
from ml.tools import preview_mark
from ml.tools.preview_mark import PreviewMarkParams
from tests.support.ml.cutouts import engines
from tests.support.ml.photos import open_bytes, png_bytes


@pytest.mark.parametrize(
    ("size", "reduced"),
    [
        ((3000, 2000), (1024, 683)),
        ((500, 4000), (128, 1024)),
        ((300, 200), (300, 200)),
        ((9000, 1), (1024, 1)),
    ],
)
def test_a_preview_is_never_longer_than_its_side(size: tuple[int, int], reduced: tuple[int, int]) -> None:
    assert preview_mark.reduced_size(size, 1024) == reduced


@pytest.mark.parametrize("channels", [3, 4])
def test_a_picture_is_reduced_and_marked(channels: int) -> None:
    picture = np.full((300, 400, channels), 200, np.uint8)
    params = PreviewMarkParams(side=160, text="Preview")
    call = ToolCall("preview-mark", params, {"image": png_bytes(picture)})
    answer = run_call.perform(call, engines(), lambda _stage, _fraction: None)
    assert (answer.width, answer.height) == (160, 120)
    made = open_bytes(answer.content)
    assert (made[:60, :, :3] == 200).all()
    assert made[-20:, 60:, :3].min() < 120
