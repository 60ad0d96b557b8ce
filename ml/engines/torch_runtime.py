"""Shared helpers of engines on torch: import, device, errors and logging."""

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

# In messages of torch's RuntimeErrors; on a GPU it has its own exception class, with one of these texts too.
_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")


def check_installed(*libraries: str) -> None:
    """Raise `ModelUnavailable` for the first library that is not installed. Imports none."""
    for library in ("torch", *libraries):
        if importlib.util.find_spec(library) is None:
            raise ModelUnavailable(library, INSTALL)


def import_torch(threads: int) -> Any:
    """The module `torch`, set to this number of threads. Raises `ModelUnavailable`."""
    check_installed()
    torch = importlib.import_module("torch")
    torch.set_num_threads(threads)
    return torch


def usable_device(torch: Any, device: Device) -> Device:
    """`device` if this build of torch supports it, else `cpu`; responses report it."""
    if device == "cuda" and not torch.cuda.is_available():
        return "cpu"
    if device == "mps" and not torch.backends.mps.is_available():
        return "cpu"
    return device


@contextmanager
def translate_memory_errors() -> Iterator[None]:
    """Raise `OutOfMemory` for the errors of torch and numpy when memory runs out."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
            raise OutOfMemory("There is not enough memory for this call at the moment.") from error
        raise


@contextmanager
def silence_libraries() -> Iterator[None]:
    """Keep the libraries' warnings and advice for developers out of the server's log."""
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
