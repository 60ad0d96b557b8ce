"""Upscaling through real workers, from uploaded to returned bytes."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from ml.backend import EngineState, ToolCall
from ml.catalogue import TOOLS
from ml.errors import Cancelled, TooSlow
from ml.runtime.local import LocalBackend, LocalConfig
from tests.support import checkpoints
from tests.support.ml.backends import Listener, children_pids, running
from tests.support.ml.photos import jpeg_bytes, open_bytes, photo, png_bytes
from tests.support.waiting import PATIENCE_SECONDS, wait_until


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBackend]:
    cache = tmp_path_factory.mktemp("cache")
    config = LocalConfig(checkpoints.models_dir(), cache, device="cpu", workers=1, warm_up=False)
    with running(config) as started:
        yield started


def _call(image: bytes, **params: str) -> ToolCall:
    return ToolCall("upscale", TOOLS["upscale"].params.model_validate(params), {"image": image})


def _state(backend: LocalBackend) -> EngineState:
    (state,) = [state for state in backend.state().engines if state.tool == "upscale"]
    return state


def test_a_call_expected_to_exceed_its_limit_is_refused_with_the_estimate(backend: LocalBackend) -> None:
    # 16 megapixels of one colour: a small file, and some twelve minutes by the first figure.
    image = png_bytes(np.full((4000, 4000), 80, np.uint8))
    listener = Listener()
    with pytest.raises(TooSlow, match=r"about \d{3} seconds .* stopped after 300"):
        backend.submit(_call(image, mode="quality"), listener).answer.result(PATIENCE_SECONDS)
    assert "upscaling" not in {progress.stage for progress in listener.heard}


def test_a_cutout_is_upscaled_and_reports_progress_and_speed(backend: LocalBackend) -> None:
    alpha = np.zeros((200, 300), np.uint8)
    cv2.circle(alpha, (150, 100), 80, 255, -1, cv2.LINE_AA)
    listener = Listener()
    cutout = png_bytes(np.dstack([photo("coffee")[:200, :300], alpha]))
    found = backend.submit(_call(cutout, scale="2"), listener).answer.result(PATIENCE_SECONDS)
    assert (found.format, found.width, found.height, found.model) == ("png", 600, 400, "span-x2")
    assert open_bytes(found.content).shape == (400, 600, 4)
    fractions = [progress.fraction for progress in listener.heard if progress.stage == "upscaling"]
    assert fractions == sorted(fractions)
    assert len(fractions) > 1
    # The state is looked up every few seconds only.
    wait_until(lambda: _state(backend).seconds_per_megapixel is not None)
    assert set(_state(backend).installed) == {"span-x2", "span-x4", "realesrgan-x4plus"}


def test_a_running_call_is_cancelled_without_losing_its_worker(backend: LocalBackend) -> None:
    before = children_pids()
    listener = Listener()
    ticket = backend.submit(_call(jpeg_bytes(photo("astronaut")), mode="quality", scale="4"), listener)
    # Compiling is over and a tile done; the next ones, seconds long, are under way.
    listener.wait_for(lambda progress: progress.fraction > 0.11)
    ticket.cancel()
    with pytest.raises(Cancelled):
        ticket.answer.result(PATIENCE_SECONDS)
    image = jpeg_bytes(photo("chelsea")[:64, :64])
    assert backend.submit(_call(image)).answer.result(PATIENCE_SECONDS).width == 128
    assert children_pids() == before
