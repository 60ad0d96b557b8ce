"""rembg's own server and command, in a virtual environment of its own, on the checkpoint that we use."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

VERSION = "2.0.86"


def _environment(directory: Path) -> Path:
    """rembg pins a FastAPI of its own, so it cannot share ours. Built once."""
    home = directory / f"rembg-{VERSION}"
    if not (home / "ready").exists():
        print("  building the peer's environment (once) …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        subprocess.run([home / "bin/pip", "install", "--quiet", f"rembg[cpu,cli]=={VERSION}"], check=True)
        (home / "ready").touch()
    return home


def folder_command(directory: Path, checkpoint: Path) -> tuple[list[str], dict[str, str]]:
    """`rembg p` without its folders, and its environment."""
    home = _environment(directory)
    command = [str(home / "bin/rembg"), "p", "--model", "isnet-general-use"]
    return command, _settings(directory, checkpoint)


def _settings(directory: Path, checkpoint: Path) -> dict[str, str]:
    """The environment in which rembg finds the checkpoint."""
    models = directory / "rembg-models"
    models.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(checkpoint, models / checkpoint.name)
    return os.environ | {"U2NET_HOME": str(models), "MODEL_CHECKSUM_DISABLED": "1"}


@contextmanager
def serving(directory: Path, checkpoint: Path) -> Iterator[str]:
    """`rembg s` on a free port; yields its address once a first picture went through."""
    home = _environment(directory)
    environment = _settings(directory, checkpoint)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(home / "bin/rembg"), "s", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait(address: str, process: "subprocess.Popen[bytes]") -> None:
    # Its first start compiles numba code for more than a minute.
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError("the peer's server ended before it answered")
        try:
            httpx.get(f"{address}/openapi.json", timeout=5)
        except httpx.HTTPError:
            time.sleep(0.5)
        else:
            return
    raise RuntimeError("the peer's server did not start within five minutes")
