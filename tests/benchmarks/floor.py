"""The least that background removal costs on this machine: decode, one run of the network, encode.

It runs in the server's own kind of worker processes, as many, with as many threads, in the same arithmetic:
only the HTTP, the accounts and everything that improves the network's matte are missing.
"""

import io
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ml.backend import Priority, ToolAnswer, ToolCall
from ml.imaging import codecs
from ml.pixels import Mask, Pixels
from ml.runtime.local import LocalBackend, LocalConfig
from ml.tools.bg_removal_params import BgRemovalParams
from tests.support import checkpoints
from tests.support.ml.backends import wait_until_all_ready

CHECKPOINT = "isnet-general-use"


def perform(call: ToolCall, engines: Any, on_step: Callable[[str, float], None]) -> ToolAnswer:
    """In a worker: the colours of the source with the network's matte as their alpha."""
    with Image.open(io.BytesIO(call.files["image"])) as opened:
        picture: Pixels = np.asarray(opened.convert("RGB"))
    height, width = picture.shape[:2]
    matte = engines.matting(CHECKPOINT).matte(picture)
    alpha: Mask = cv2.resize((matte * 255).astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR)
    content = codecs.encode(np.dstack([picture, alpha]), "png")
    return ToolAnswer(
        content=content,
        format="png",
        width=width,
        height=height,
        model=CHECKPOINT,
        device="cpu",
        source_width=width,
        source_height=height,
        precision=engines.precision(CHECKPOINT),
    )


@contextmanager
def working() -> Iterator[Callable[[bytes], ToolAnswer]]:
    """From a JPEG to its answer, by any number of callers at once. Every worker is warm."""
    with tempfile.TemporaryDirectory() as cache:
        config = LocalConfig(
            models_dir=checkpoints.models_dir(),
            cache_dir=Path(cache),
            perform=f"{__name__}:perform",
            max_wait_seconds=math.inf,
            long_seconds=math.inf,
        )
        backend = LocalBackend(config)
        backend.start()
        try:
            wait_until_all_ready(backend, backend.worker_count)
            yield lambda photo: _answer(backend, photo)
        finally:
            backend.close()


def _answer(backend: LocalBackend, photo: bytes) -> ToolAnswer:
    call = ToolCall("bg-removal", BgRemovalParams(model="quality"), {"image": photo}, Priority.PAID)
    return backend.submit(call).answer.result()
