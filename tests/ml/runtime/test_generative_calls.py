"""Prompted calls in real workers: progress per step, cancellation, and exhausted memory."""

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml.backend import ToolCall
from ml.errors import Cancelled
from ml.generative_config import GenerativeConfig
from ml.runtime.local import LocalBackend, LocalConfig
from ml.tools.generative_fill import GenerativeFillParams
from tests.support import checkpoints
from tests.support.ml import photos, tiny_pipelines
from tests.support.ml.backends import Listener, children_pids, running
from tests.support.waiting import PATIENCE_SECONDS

PHOTO = photos.photo("coffee")[100:180, 200:300]
MASK = np.zeros(PHOTO.shape[:2], np.uint8)
MASK[30:50, 40:60] = 255


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipelines.save_sd(tmp_path_factory.mktemp("pipeline") / "tiny")


@pytest.fixture(scope="module")
def backend(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBackend]:
    config = LocalConfig(
        checkpoints.models_dir(),
        tmp_path_factory.mktemp("cache"),
        device="cpu",
        workers=1,
        warm_up=False,
        cancel_grace_seconds=30.0,  # so that only a stop between two steps can be in time
        generative=GenerativeConfig(inpaint_checkpoint=str(folder)),
    )
    with running(config) as backend:
        yield backend


def call(**form: str) -> ToolCall:
    params = GenerativeFillParams.model_validate({"prompt": "a cat", "seed": "1", "format": "png", **form})
    files = {"image": photos.png_bytes(PHOTO), "mask": photos.png_bytes(MASK)}
    return ToolCall("generative-fill", params, files)


def test_steps_are_reported_as_they_finish(backend: LocalBackend) -> None:
    listener = Listener()
    answer = backend.submit(call(steps="30"), listener).answer.result(PATIENCE_SECONDS)
    assert answer.fields["seed"] == 1
    painting = [heard.fraction for heard in listener.heard if heard.stage == "painting"]
    assert len(painting) > 3
    assert painting == sorted(painting)
    stages = list(dict.fromkeys(heard.stage for heard in listener.heard if heard.queue_position == 0))
    # Encoding may be over before it is reported: a finished call reports nothing more.
    working = [stage for stage in stages if stage != "writing the image"]
    assert working[-3:] == ["reading the mask", "loading", "painting"]


def test_cancelling_between_two_steps_keeps_the_worker(backend: LocalBackend) -> None:
    before = children_pids()
    listener = Listener()
    ticket = backend.submit(call(steps="150"), listener)
    listener.wait_for(lambda progress: progress.stage == "painting")
    ticket.cancel()
    with pytest.raises(Cancelled):
        ticket.answer.result(PATIENCE_SECONDS)
    answer = backend.submit(call(steps="2")).answer.result(PATIENCE_SECONDS)
    assert np.asarray(Image.open(io.BytesIO(answer.content))).shape == PHOTO.shape
    assert children_pids() == before


#: In a process of its own, whose memory can be limited for a moment.
_RUN_OUT = """
import resource, sys
from pathlib import Path
import numpy as np
import psutil
from ml.engines.cache import EngineCache
from ml.engines.diffusion import PromptOptions
from ml.errors import OutOfMemory
from ml.generative_config import GenerativeConfig

place = Path(sys.argv[1])
config = GenerativeConfig(inpaint_checkpoint=sys.argv[1], inpaint_steps=1)
engine = EngineCache(place, place.parent, "cpu", 4 << 30, threads=1, generative=config).inpainter()

def paint(side):
    picture, mask = np.zeros((side, side, 3), np.uint8), np.full((side, side), 255, np.uint8)
    return engine.repaint(picture, mask, PromptOptions("a cat"), lambda _: None)

paint(64)
_, most = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + (int(sys.argv[2]) << 20), most))
try:
    paint(2048)
except OutOfMemory as error:
    print("refused:", error)
resource.setrlimit(resource.RLIMIT_AS, (most, most))
print("again:", paint(64).shape)
"""


@pytest.mark.parametrize("spare_mib", [20, 250], ids=["in numpy", "in torch"])
def test_running_out_of_memory_is_reported_and_the_engine_survives(folder: Path, spare_mib: int) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _RUN_OUT, str(folder), str(spare_mib)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [
        "refused: There is not enough memory for this call at the moment.",
        "again: (64, 64, 3)",
    ]
