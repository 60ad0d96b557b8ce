"""Mattes by rembg, for the checkpoints that only it knows how to run.

rembg is imported when first used: its first import on a machine compiles numba code for more than a minute.
"""

import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ml.device import Device
from ml.engines.resizing import resized
from ml.errors import ModelUnavailable
from ml.pixels import Matte, Pixels

_INSTALL = "pip install 'bgeraser[rembg]'"
# For a network that takes pictures of any size.
_USUAL_SIDE_PIXELS = 1024


class RembgMatting:
    """`ml.engines.matting.MattingEngine` of one checkpoint, which lies in `checkpoint_file`.

    Raises ModelUnavailable if rembg is not installed. Nothing is ever downloaded: rembg downloads what it
    does not find, so it is called only for a file that is there.
    """

    def __init__(self, checkpoint_file: Path, cache_dir: Path, device: Device, threads: int) -> None:
        self.checkpoint = checkpoint_file.stem
        if not checkpoint_file.is_file():
            raise FileNotFoundError(checkpoint_file)
        sessions = import_rembg(cache_dir)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = ["CPUExecutionProvider"]
        if device == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            providers.insert(0, "CUDAExecutionProvider")
        with _home(checkpoint_file.parent):
            self._session = sessions.new_session(self.checkpoint, sess_opts=options, providers=providers)
        network = self._session.inner_session
        self.device: Device = "cuda" if "CUDAExecutionProvider" in network.get_providers() else "cpu"
        height, width = network.get_inputs()[0].shape[2:]
        fixed = isinstance(height, int) and isinstance(width, int)
        self._size = (width, height) if fixed else (_USUAL_SIDE_PIXELS, _USUAL_SIDE_PIXELS)

    def matte(self, picture: Pixels) -> Matte:
        # At the network's size rembg's own resizing, there and back, does nothing.
        square = Image.fromarray(resized(picture, *self._size))
        mask: Image.Image = self._session.predict(square)[0]
        return np.asarray(mask.convert("L"), np.float32) / np.float32(255)


def import_rembg(cache_dir: Path) -> Any:
    """rembg's sessions, with numba's compiled code kept in `cache_dir`. Raises ModelUnavailable.

    Called once where a checkpoint is installed, it spares the first call the compiling.
    """
    # Without onnxruntime, importing rembg ends the whole process.
    if any(importlib.util.find_spec(name) is None for name in ("rembg", "onnxruntime")):
        raise ModelUnavailable("rembg", _INSTALL)
    if "numba" not in sys.modules:
        # numba reads it once, and its own default is beside the sources, where nothing may be writable.
        os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_dir / "numba"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its many dependencies
        from rembg import session_factory
    return session_factory


@contextmanager
def _home(models_dir: Path) -> Iterator[None]:
    """Have rembg look for <name>.onnx in `models_dir` itself; it takes no path as an argument."""
    before = os.environ.get("U2NET_HOME")
    os.environ["U2NET_HOME"] = str(models_dir)
    try:
        yield
    finally:
        if before is None:
            del os.environ["U2NET_HOME"]
        else:
            os.environ["U2NET_HOME"] = before
