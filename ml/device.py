"""Which processor engines run on: `cpu`, `cuda` (NVIDIA) or `mps` (Apple)."""

import ctypes
import platform
import sys
from pathlib import Path
from typing import Literal

Device = Literal["cpu", "cuda", "mps"]


class NoCudaDevice(RuntimeError):
    """The requested device is missing: fail instead of running slowly on the CPU."""


def resolve(wanted: str) -> Device:
    """The device for `auto`, `cpu`, `cuda` or `mps`. Raises `NoCudaDevice` rather than falling back silently.

    `cuda` only means that the driver sees a device: engines whose library does not support NVIDIA run on the
    CPU, and each answer reports the device that was used.
    """
    if wanted == "cpu":
        return "cpu"
    if wanted not in ("auto", "cuda", "mps"):
        raise ValueError(f"device must be auto, cpu, cuda or mps, not {wanted!r}")
    if wanted == "mps":
        if not _is_apple_silicon():
            raise NoCudaDevice("The device is set to mps, which needs Apple silicon.")
        return "mps"
    count = cuda_device_count()
    if wanted == "cuda" and count == 0:
        raise NoCudaDevice("The device is set to cuda, but the NVIDIA driver does not find a device.")
    if count:
        return "cuda"
    return "mps" if _is_apple_silicon() else "cpu"


def has_fast_bf16() -> bool:
    """Whether this CPU computes in bf16 faster than in 32 bits: AMX or AVX-512 with BF16."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split("flags", 1)[-1].split("\n", 1)[0].split()
    except OSError:  # not Linux
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags


def _is_apple_silicon() -> bool:
    return sys.platform == "darwin" and platform.machine() == "arm64"


def cuda_device_count() -> int:
    """Number of devices that the NVIDIA driver sees. Queried directly: importing torch takes seconds."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
