"""rembg's own server and command, in a virtual environment of its own, on the checkpoint that we use."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.benchmarks.report import DIRECTORY
from tests.support import checkpoints
from tests.support.server import free_port

VERSION = "2.0.86"
_START_SECONDS = 900.0
MODEL = "isnet-general-use"
#: For the sections of reports.
SERVER, COMMAND = "rembg s", "rembg p"
ABOUT = f"bg-removal with ISNet on the same weights as rembg {VERSION}"


@dataclass(frozen=True)
class PeerServer:
    """`started_seconds` is how long it took until it answered."""

    address: str
    pid: int
    started_seconds: float

    def cut_out(self, client: httpx.Client, photo: bytes) -> bytes:
        """The cut-out of a JPEG as PNG."""
        answer = client.post(
            f"{self.address}/api/remove",
            data={"model": MODEL},
            files={"file": ("photo.jpg", photo, "image/jpeg")},
        )
        assert answer.status_code == 200, answer.text
        return answer.content


def folder_command() -> tuple[list[str], dict[str, str]]:
    """`rembg p` without its folders, and its environment."""
    return [str(_home() / "bin/rembg"), "p", "--model", MODEL], _settings()


@contextmanager
def serving() -> Iterator[PeerServer]:
    """`rembg s` on a free port, once it answers. It loads the network at the first call."""
    port = free_port()
    command = [str(_home() / "bin/rembg"), "s", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
    environment = _settings()
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(address, process)
        yield PeerServer(address, process.pid, time.perf_counter() - began)
    finally:
        process.terminate()
        process.wait(timeout=20)


def _home() -> Path:
    """rembg pins a FastAPI of its own, so it cannot share ours. Built once."""
    home = DIRECTORY.absolute() / f"rembg-{VERSION}"
    if not (home / "ready").exists():
        print("  building the peer's environment (once) …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        subprocess.run([home / "bin/pip", "install", "--quiet", f"rembg[cpu,cli]=={VERSION}"], check=True)
        (home / "ready").touch()
    return home


def _settings() -> dict[str, str]:
    """The environment in which rembg finds the checkpoint."""
    models = DIRECTORY.absolute() / "rembg-models"
    models.mkdir(parents=True, exist_ok=True)
    checkpoint = checkpoints.models_dir() / f"{MODEL}.onnx"
    shutil.copyfile(checkpoint, models / checkpoint.name)
    return os.environ | {"U2NET_HOME": str(models), "MODEL_CHECKSUM_DISABLED": "1"}


def _wait(address: str, process: "subprocess.Popen[bytes]") -> None:
    # Its first start compiles numba code for more than a minute, on a busy machine for several.
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError("the peer's server ended before it answered")
        with suppress(httpx.HTTPError):
            httpx.get(f"{address}/openapi.json", timeout=5)
            return
        time.sleep(0.05)
    raise RuntimeError("the peer's server did not start")
