"""Which processor engines run on, `cpu`, `cuda` (NVIDIA) or `mps` (Apple), and what this CPU supports."""

import ctypes
import os
import platform
import sys
from pathlib import Path
from typing import Literal

Device = Literal["cpu", "cuda", "mps"]
#: The arithmetic of a network. `int8`: its sensitive layers are computed in floats.
Precision = Literal["f32", "bf16", "int8"]
#: `auto`: the fastest that keeps the network's results.
PrecisionChoice = Literal["auto", "f32", "bf16", "int8"]
#: The instruction sets that engines may use at most, so that one machine can stand for weaker ones.
CpuLimit = Literal["avx2", "vnni", "bf16"]

# oneDNN's names of them. OpenVINO and torch compute with oneDNN; onnxruntime is not limited.
_ISA_SETTING = "ONEDNN_MAX_CPU_ISA"
_ISA_LIMITS: dict[CpuLimit, str] = {
    "avx2": "AVX2",
    "vnni": "AVX512_CORE_VNNI",
    "bf16": "AVX512_CORE_BF16",
}
_ISAS_WITHOUT_BF16 = (_ISA_LIMITS["avx2"], _ISA_LIMITS["vnni"])


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


def limit_environment(limit: CpuLimit | None) -> dict[str, str]:
    """Environment variables by which a process obeys `limit`, if set before engines are imported."""
    return {} if limit is None else {_ISA_SETTING: _ISA_LIMITS[limit]}


def cpu_limit() -> str:
    """oneDNN's name of the limit that this process obeys; empty without one."""
    return os.environ.get(_ISA_SETTING, "")


def is_limited_below_bf16() -> bool:
    """Whether the limit forbids bf16. OpenVINO goes by the CPU there, and computes slowly or not at all."""
    return cpu_limit() in _ISAS_WITHOUT_BF16


def has_fast_bf16() -> bool:
    """Whether this CPU computes in bf16 faster than in 32 bits: AMX or AVX-512 with BF16."""
    if is_limited_below_bf16():
        return False
    flags = cpu_flags()
    return "amx_bf16" in flags or "avx512_bf16" in flags


def has_wide_int8() -> bool:
    """Whether this CPU adds products of 8-bit values in 32 bits: VNNI or AMX."""
    is_limited = cpu_limit() == _ISA_LIMITS["avx2"]
    return not is_limited and bool(cpu_flags() & {"avx512_vnni", "avx_vnni", "amx_int8"})


def cpu_flags() -> frozenset[str]:
    """The features of this CPU by the kernel's names; empty if the system is not Linux."""
    try:
        description = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    return frozenset(description.split("flags", 1)[-1].split("\n", 1)[0].split())


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
