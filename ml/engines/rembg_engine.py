"""The matting engine of rembg's checkpoints; imported on first use."""

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
# For networks with dynamic input sizes.
_USUAL_SIDE_PIXELS = 1024


class RembgMatting:
    """`ml.engines.matting.MattingEngine` of the checkpoint in `checkpoint_file`.

    Raises ModelUnavailable if rembg is not installed. Nothing is downloaded: rembg downloads missing
    files, so it is called only for existing ones.
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
        # At the network's size, rembg's own resizing has no effect.
        square = Image.fromarray(resize_for_network(picture, *self._size))
        mask: Image.Image = self._session.predict(square)[0]
        return np.asarray(mask.convert("L"), np.float32) / np.float32(255)


def check_installed() -> None:
    """Raise ModelUnavailable if rembg is not installed. Imports nothing."""
    if any(importlib.util.find_spec(library) is None for library in ("rembg", "onnxruntime")):
        raise ModelUnavailable("rembg", _INSTALL)


def import_sessions() -> Any:
    """The module `rembg.session_factory`. Raises ModelUnavailable if rembg is not installed.

    Importing the package also imports its alpha matting, whose numba code takes more than a minute to compile
    the first time, so the sessions are imported without the package's `__init__`.
    """
    check_installed()
    spec = importlib.util.find_spec("rembg")
    assert spec is not None
    name = "rembg.session_factory"
    if name in sys.modules:
        return sys.modules[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from its dependencies
        if "rembg" in sys.modules:
            return importlib.import_module(name)
        package = types.ModuleType("rembg")
        package.__path__ = list(spec.submodule_search_locations or ())
        sys.modules["rembg"] = package
        try:
            return importlib.import_module(name)
        finally:
            del sys.modules["rembg"]  # a later import gets the whole package


@contextmanager
def _home(models_dir: Path) -> Iterator[None]:
    """Make rembg load <name>.onnx from `models_dir`, which it takes from the environment only."""
    before = os.environ.get("U2NET_HOME")
    os.environ["U2NET_HOME"] = str(models_dir)
    try:
        yield
    finally:
        if before is None:
            del os.environ["U2NET_HOME"]
        else:
            os.environ["U2NET_HOME"] = before
