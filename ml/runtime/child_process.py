"""Child processes: each has one end of a `Wire`, and never outlives the thread that started it."""

import contextlib
import ctypes
import faulthandler
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from ml.runtime.wire import Wire

#: Variables that a child is given: those of the system, and settings of libraries.
_NAMES = {
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT"),
    *("VIRTUAL_ENV", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE"),
}
_PREFIXES = (
    *("LC_", "LD_", "DYLD_", "XDG_", "MALLOC_", "GLIBC_", "PYTHON", "CUDA_", "NVIDIA_", "TORCH_", "PYTORCH_"),
    *("OMP_", "KMP_", "MKL_", "OPENBLAS_", "ONEDNN_", "DNNL_", "OPENVINO_", "OV_", "ORT_"),
)


def start(
    module: str, environment: Mapping[str, str], stderr: int | None = None
) -> tuple["subprocess.Popen[bytes]", Wire]:
    """Run `python -m module`, whose `main` calls `enter`, and return it with our end of its wire.

    Unlike multiprocessing's spawn, this does not import the server's main module again. `stderr` is as for
    `subprocess.Popen`. Raises OSError if the system refuses to.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            process = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
                [sys.executable, "-P", "-m", module, str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=stderr,
                env=environment,
            )
        except OSError:
            ours.close()
            raise
    return process, Wire(ours)


def kill(process: "subprocess.Popen[bytes]") -> str:
    """Kill it if it still runs, wait for it, and return how it ended."""
    process.kill()
    status = process.wait()
    return signal.Signals(-status).name if -status in set(signal.Signals) else f"exit status {status}"


def environment(*prefixes: str) -> dict[str, str]:
    """What a child is given of this process's environment, and the import path.

    Only what it needs: others, of any name, may hold secrets. `prefixes` name further variables.
    """
    allowed = (*_PREFIXES, *prefixes)
    inherited = {
        name: value for name, value in os.environ.items() if name in _NAMES or name.startswith(allowed)
    }
    return {**inherited, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}


def enter(oom_score: int = 0) -> Wire:
    """In the child: tie it to its parent, and return its end of the wire.

    It ignores the parent's signals and ends with it: the wire closes, and on Linux the kernel kills it.
    When memory runs out, one with a higher `oom_score` (0..1000) is killed first.
    """
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    # Ctrl-C and service managers signal the whole group; the server lets running calls finish and then kills
    # us.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would contain users' pictures
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(str(oom_score))
    if os.getppid() != parent:  # it died before the death signal was set
        os._exit(0)
    return Wire(socket.socket(fileno=descriptor))
