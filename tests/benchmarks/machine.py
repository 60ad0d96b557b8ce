"""The machine that benchmarks run on: processor, limit in force, versions of libraries, load."""

import os
import platform
import re
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal, get_args

import psutil

from ml import device
from ml.device import CpuLimit

#: What the speed of networks depends on, the slowest first.
ProcessorClass = Literal["avx2", "vnni", "bf16", "amx"]

#: The instruction sets that make networks fast, by the kernel's names of any of their parts.
FEATURES = {
    "AMX": ("amx_tile",),
    "AVX-512 BF16": ("avx512_bf16",),
    "AVX-512 VNNI": ("avx512_vnni",),
    "AVX-VNNI": ("avx_vnni",),
    "AVX2": ("avx2",),
}
_CLASSES: dict[str, ProcessorClass] = {
    "AMX": "amx",
    "AVX-512 BF16": "bf16",
    "AVX-512 VNNI": "vnni",
    "AVX-VNNI": "vnni",
    "AVX2": "avx2",
}
_LIBRARIES = ("openvino", "onnxruntime", "torch", "numpy", "opencv-python-headless", "pillow", "ncnn")
_ROOT = Path(__file__).resolve().parents[2]
# More than this was busy before the benchmarks began: their figures are those of a shared machine.
_IDLE_LOAD_OF_A_CORE = 0.25
_IDLE_BUSY_PERCENT = 10.0


@dataclass(frozen=True)
class Machine:
    """`load` is the average of the last minute, `busy_percent` that of all cores in one second."""

    processor: str
    cores: int
    features: tuple[str, ...]
    limit: CpuLimit | None
    memory_gib: float
    load: float
    busy_percent: float
    versions: dict[str, str]

    @property
    def processor_class(self) -> ProcessorClass | None:
        """The class of the processor under the limit; None without AVX2."""
        own = next((name for feature, name in _CLASSES.items() if feature in self.features), None)
        if own is None or self.limit is None:
            return own
        order = get_args(ProcessorClass)
        return min(own, self.limit, key=order.index)

    @property
    def is_idle(self) -> bool:
        return self.load <= _IDLE_LOAD_OF_A_CORE * self.cores and self.busy_percent <= _IDLE_BUSY_PERCENT

    def lines(self) -> list[str]:
        """For people; the last one is a warning if the machine was not idle."""
        features = ", ".join(self.features) or "none of " + ", ".join(FEATURES)
        described = [
            f"Processor: {self.processor}, {self.cores} cores, {self.memory_gib:.0f} GiB; {features}",
            f"Limit (BGERASER_CPU_LIMIT): {self.limit or 'none'}",
            "Versions: " + ", ".join(f"{name} {version}" for name, version in self.versions.items()),
            f"Load at the start: {self.load:.1f}, {self.busy_percent:.0f} % of the cores busy",
        ]
        if self.limit is not None:
            described.append("The limit is one of OpenVINO and torch; the peers' libraries do not obey it.")
        if not self.is_idle:
            described.append(
                "Warning: the machine was not idle. Compare the figures of a row with each other only."
            )
        return described


def describe() -> Machine:
    """This machine, now. Takes a second to see how busy it is. Raises ValueError for an unknown limit."""
    flags = device.cpu_flags()
    return Machine(
        processor=processor_name(),
        cores=_cores(),
        features=features_of(flags),
        limit=cpu_limit(),
        memory_gib=psutil.virtual_memory().total / 1024**3,
        load=os.getloadavg()[0],
        busy_percent=psutil.cpu_percent(interval=1.0),
        versions=_versions(),
    )


def cpu_limit() -> CpuLimit | None:
    """BGERASER_CPU_LIMIT. Raises ValueError for an unknown one."""
    limit = os.environ.get("BGERASER_CPU_LIMIT") or None
    for known in get_args(CpuLimit):
        if limit == known:
            return known  # type: ignore[no-any-return]  # get_args is untyped
    if limit is not None:
        raise ValueError(f"BGERASER_CPU_LIMIT must be one of {', '.join(get_args(CpuLimit))}, not {limit!r}")
    return None


def features_of(flags: frozenset[str]) -> tuple[str, ...]:
    """Those of `FEATURES` that a processor with the kernel's `flags` has."""
    return tuple(name for name, parts in FEATURES.items() if flags.intersection(parts))


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    if cpuinfo.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), flags=re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _versions() -> dict[str, str]:
    versions = {"bgeraser": f"{metadata.version('bgeraser')}{_commit()}", "Python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _commit() -> str:
    """`+` and the commit, with `-dirty` for uncommitted changes; empty without Git."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--exclude=*"],
            cwd=_ROOT,
            capture_output=True,
            text=True,
        )
    except OSError:
        return ""
    return f"+{described.stdout.strip()}" if described.returncode == 0 else ""
