"""Which processor engines run on: `cpu`, `cuda` (NVIDIA) or `mps` (Apple)."""

import ctypes
import platform
import sys
from pathlib import Path
from typing import Literal

Device = Literal["cpu", "cuda", "mps"]


class NoCudaDevice(RuntimeError):
    """A device was asked for that this machine does not have: better to stop than to be slow."""


def resolve(wanted: str) -> Device:
    """The device for `auto`, `cpu`, `cuda` or `mps`. Raises `NoCudaDevice` rather than falling back silently.

    `cuda` means only that the driver sees a device: engines whose library has no NVIDIA path run on the
    processor all the same, and each answer says which it was.
    """
    if wanted == "cpu":
        return "cpu"
    if wanted not in ("auto", "cuda", "mps"):
        raise ValueError(f"device must be auto, cpu, cuda or mps, not {wanted!r}")
    if wanted == "mps":
        if not _is_apple_silicon():
            raise NoCudaDevice("The device is set to mps, which only Apple's own processors have.")
        return "mps"
    count = cuda_device_count()
    if wanted == "cuda" and count == 0:
        raise NoCudaDevice("The device is set to cuda, but the NVIDIA driver finds no device here.")
    if count:
        return "cuda"
    return "mps" if _is_apple_silicon() else "cpu"


def has_fast_bf16() -> bool:
    """Whether this processor computes in bf16 faster than in 32 bits: AMX or AVX-512 with BF16."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split("flags", 1)[-1].split("\n", 1)[0].split()
    except OSError:  # no Linux
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags


def _is_apple_silicon() -> bool:
    return sys.platform == "darwin" and platform.machine() == "arm64"


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
