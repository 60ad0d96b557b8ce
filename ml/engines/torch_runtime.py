"""What every engine on torch needs: the library itself, the device, and errors that say what happened."""

import importlib
import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ml.device import Device
from ml.errors import ModelUnavailable, OutOfMemory

INSTALL = "pip install 'bgeraser[generative]'"

# As torch says it on a processor; on a graphics card it has a class of its own.
_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")


def check_installed(*libraries: str) -> None:
    """Raises `ModelUnavailable` for the first of the libraries that is not installed; imports none."""
    for library in ("torch", *libraries):
        if importlib.util.find_spec(library) is None:
            raise ModelUnavailable(library, INSTALL)


def import_torch(threads: int) -> Any:
    """The module `torch`, computing with so many threads. Raises `ModelUnavailable`."""
    check_installed()
    torch = importlib.import_module("torch")
    torch.set_num_threads(threads)
    return torch


def usable_device(torch: Any, device: Device) -> Device:
    """`device` if this build of torch can use it, else `cpu`; answers say which it was."""
    if device == "cuda" and not torch.cuda.is_available():
        return "cpu"
    if device == "mps" and not torch.backends.mps.is_available():
        return "cpu"
    return device


@contextmanager
def translate_memory_errors() -> Iterator[None]:
    """Raises `OutOfMemory` for what torch, and numpy around it, raise when there is no memory left."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
            raise OutOfMemory("There is not enough memory for this call now.") from error
        raise


@contextmanager
def silence_libraries() -> Iterator[None]:
    """Keep advice for developers out of the server's log: from warnings and from the libraries' loggers."""
    names = ("diffusers", "transformers", "huggingface_hub", "peft")
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
