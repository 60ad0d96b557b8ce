"""Mattes by rembg, for the checkpoints that only it knows how to run; imported when first used."""

import importlib
import importlib.util
import os
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ml.device import Device
from ml.engines import onnx_runtime
from ml.engines.resizing import resize_for_network
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

    def __init__(self, checkpoint_file: Path, device: Device, threads: int) -> None:
        self.checkpoint = checkpoint_file.stem
        if not checkpoint_file.is_file():
            raise FileNotFoundError(checkpoint_file)
        sessions = import_sessions()
        with _home(checkpoint_file.parent):
            self._session = sessions.new_session(
                self.checkpoint,
                sess_opts=onnx_runtime.session_options(threads),
                providers=onnx_runtime.providers(device),
            )
        network = self._session.inner_session
        self.device = onnx_runtime.device_of(network)
        height, width = network.get_inputs()[0].shape[2:]
        fixed = isinstance(height, int) and isinstance(width, int)
        self._size = (width, height) if fixed else (_USUAL_SIDE_PIXELS, _USUAL_SIDE_PIXELS)

    def matte(self, picture: Pixels) -> Matte:
        # At the network's size rembg's own resizing, there and back, does nothing.
        square = Image.fromarray(resize_for_network(picture, *self._size))
        mask: Image.Image = self._session.predict(square)[0]
        return np.asarray(mask.convert("L"), np.float32) / np.float32(255)


def import_sessions() -> Any:
    """The module `rembg.session_factory`. Raises ModelUnavailable if rembg is not installed.

    Importing rembg itself also imports what its alpha matting needs, which compiles numba code for more than
    a minute the first time, so the sessions are imported without the package's own `__init__`.
    """
    found = importlib.util.find_spec("rembg")
    if found is None or importlib.util.find_spec("onnxruntime") is None:
        raise ModelUnavailable("rembg", _INSTALL)
    name = "rembg.session_factory"
    if name in sys.modules:
        return sys.modules[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its many dependencies
        if "rembg" in sys.modules:
            return importlib.import_module(name)
        package = types.ModuleType("rembg")
        package.__path__ = list(found.submodule_search_locations or ())
        sys.modules["rembg"] = package
        try:
            return importlib.import_module(name)
        finally:
            del sys.modules["rembg"]  # whoever imports it later gets the whole of it


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
