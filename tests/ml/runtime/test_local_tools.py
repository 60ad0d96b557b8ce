"""The real tools through real worker processes, as a server runs them."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ml.backend import ToolAnswer, ToolCall
from ml.catalogue import TOOLS
from ml.errors import PictureTooLarge, UnreadablePicture
from ml.runtime.local import LocalBackend, LocalConfig
from tests.support.ml.backends import Listener, running
from tests.support.ml.photos import jpeg_bytes, open_bytes, photo, png_bytes
from tests.support.waiting import PATIENCE_SECONDS

MODELS_DIR = Path(os.environ.get("BGERASER_MODELS_DIR", "data/models"))


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBackend]:
    config = LocalConfig(MODELS_DIR, tmp_path_factory.mktemp("cache"), device="cpu", workers=2)
    with running(config) as started:
        yield started


def answer(backend: LocalBackend, tool: str, image: bytes, **params: str) -> ToolAnswer:
    call = ToolCall(tool, TOOLS[tool].params.model_validate(params), {"image": image})
    return backend.submit(call).answer.result(PATIENCE_SECONDS)


def test_concurrent_crops_of_many_photos_are_exact(backend: LocalBackend) -> None:
    names = ["astronaut", "chelsea", "coffee", "rocket"] * 5
    boxes = [(10 + 7 * number, 20 + 3 * number, 50 + number, 40 + 2 * number) for number in range(len(names))]

    def crop(name: str, box: tuple[int, int, int, int]) -> ToolAnswer:
        x, y, width, height = map(str, box)
        return answer(backend, "crop", png_bytes(photo(name)), x=x, y=y, width=width, height=height)

    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(crop, names, boxes))
    for name, (x, y, width, height), found in zip(names, boxes, answers, strict=True):
        assert (found.width, found.height) == (width, height)
        expected = photo(name)[y : y + height, x : x + width]
        np.testing.assert_array_equal(open_bytes(found.content), expected)


def test_a_damaged_image_is_refused_and_the_next_one_processed(backend: LocalBackend) -> None:
    whole = jpeg_bytes(photo("coffee"))
    with pytest.raises(UnreadablePicture):
        answer(backend, "crop", whole[: len(whole) // 2], x="0", y="0", width="10", height="10")
    assert answer(backend, "crop", whole, x="0", y="0", width="10", height="10").width == 10


def test_an_image_too_large_is_refused_by_its_header(backend: LocalBackend) -> None:
    # 60 megapixels of one colour: a few kilobytes.
    bomb = png_bytes(np.zeros((6000, 10_000), np.uint8))
    with pytest.raises(PictureTooLarge):
        answer(backend, "crop", bomb, x="0", y="0", width="10", height="10")


def test_a_cutout_reports_its_progress_and_its_speed(backend: LocalBackend) -> None:
    listener = Listener()
    call = ToolCall("bg-removal", TOOLS["bg-removal"].params(), {"image": jpeg_bytes(photo("coffee"))})
    found = backend.submit(call, listener).answer.result(PATIENCE_SECONDS)
    assert (found.format, found.width, found.height) == ("png", found.source_width, found.source_height)
    assert found.model is not None
    fractions = [progress.fraction for progress in listener.heard]
    assert fractions == sorted(fractions)
    (state,) = [state for state in backend.state().engines if state.tool == "bg-removal"]
    assert state.seconds_per_megapixel is not None
    assert state.device == found.device
    assert found.model in state.installed


def test_state_lists_the_commands_for_missing_checkpoints(tmp_path: Path) -> None:
    (found,) = [
        state
        for state in LocalBackend(LocalConfig(tmp_path, tmp_path)).state().engines
        if state.tool == "bg-removal"
    ]
    assert found.installed == ()
    assert found.missing
    assert all("bgeraser models pull" in message for message in found.missing)
