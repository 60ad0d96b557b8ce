"""Which processor engines run on: `cpu` or `cuda`."""

import ctypes
import sys
from typing import Literal

Device = Literal["cpu", "cuda"]


class NoCudaDevice(RuntimeError):
    """`cuda` was asked for and this machine has no usable NVIDIA device: better to stop than to be slow."""


def resolve(wanted: str) -> Device:
    """The device for `auto`, `cpu` or `cuda`. Raises `NoCudaDevice` rather than falling back in silence.

    `cuda` means only that the driver sees a device: engines whose library has no NVIDIA path run on the
    processor all the same, and each answer says which it was.
    """
    if wanted == "cpu":
        return "cpu"
    if wanted not in ("auto", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, not {wanted!r}")
    count = cuda_device_count()
    if wanted == "cuda" and count == 0:
        raise NoCudaDevice("The device is set to cuda, but the NVIDIA driver finds no device here.")
    return "cuda" if count else "cpu"


def cuda_device_count() -> int:
    """Devices that the NVIDIA driver sees; asked directly, because importing torch for it takes seconds."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
