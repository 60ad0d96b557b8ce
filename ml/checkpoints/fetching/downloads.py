"""Downloads a file over HTTP and resumes interrupted downloads."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from ml.checkpoints.types import SourceFailed


@dataclass(frozen=True)
class Patience:
    """How long a download may take."""

    connect_seconds: float = 20.0
    silence_seconds: float = 60.0  # without data
    total_seconds: float = math.inf

    @property
    def timeout(self) -> httpx.Timeout:
        return httpx.Timeout(self.silence_seconds, connect=self.connect_seconds)


PATIENT = Patience()
#: For what is useful, but must not delay a start.
BRIEF = Patience(connect_seconds=3.0, silence_seconds=10.0, total_seconds=60.0)


def download(
    url: str,
    target: Path,
    size_bytes: int,
    received: Callable[[int], None],
    patience: Patience = PATIENT,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Download to `target`, resuming a partial file. `received` is called with the bytes on disk.

    Raises SourceFailed; a partial file is kept for the next attempt.
    """
    have = target.stat().st_size if target.exists() else 0
    if have > size_bytes:
        have = 0
    if have == size_bytes:
        return
    deadline = clock() + patience.total_seconds
    # Compression would make offsets meaningless.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with httpx.stream(
            "GET", url, headers=headers, follow_redirects=True, timeout=patience.timeout
        ) as answer:
            have = _start(answer, have)
            with target.open("ab" if have else "wb") as file:
                received(have)
                for piece in answer.iter_raw():  # as it arrives: nothing is lost if the connection breaks
                    file.write(piece)
                    have += len(piece)
                    if have > size_bytes:
                        raise SourceFailed(f"the server sends more than the {size_bytes} bytes expected")
                    received(have)
                    if have < size_bytes and clock() > deadline:
                        raise SourceFailed(
                            f"it takes more than {patience.total_seconds:.0f} s; {have / 1e6:.1f} MB are kept"
                        )
    except httpx.HTTPError as error:
        kept = f"; {have / 1e6:.1f} MB are kept, run the command again to resume" if have else ""
        raise SourceFailed(f"{_describe_error(error)}{kept}") from None
    if have < size_bytes:
        raise SourceFailed(
            f"the server sent only {have} of {size_bytes} bytes; run the command again to resume"
        )


def _describe_error(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.ConnectError):
        return "no connection"
    if isinstance(error, httpx.TimeoutException):
        return "the server did not respond in time"
    return f"the download broke off ({type(error).__name__})"


def _start(answer: httpx.Response, have: int) -> int:
    """The offset at which this response starts: the requested one, or 0 for the whole file."""
    if answer.status_code == httpx.codes.OK:
        return 0
    if answer.status_code == httpx.codes.PARTIAL_CONTENT:
        if answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            return have
        raise SourceFailed("the server resumes at a different offset than requested")
    raise SourceFailed(f"the server answers {answer.status_code}")
