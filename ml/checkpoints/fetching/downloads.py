"""A file from its publisher's own address, continued where an earlier try stopped."""

from collections.abc import Callable
from pathlib import Path

import httpx

from ml.checkpoints.types import SourceFailed

_TIMEOUT = httpx.Timeout(60.0, connect=20.0)  # seconds; of silence, not of the whole download


def download(url: str, target: Path, size_bytes: int, received: Callable[[int], None]) -> None:
    """Bring `target` to `size_bytes`, keeping what it has already. `received` is told the bytes on disk.

    Raises SourceFailed; what has arrived by then stays, for the next try.
    """
    have = target.stat().st_size if target.exists() else 0
    if have > size_bytes:
        have = 0
    if have == size_bytes:
        return
    # Compression would make offsets meaningless.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=_TIMEOUT) as answer:
            have = _start(answer, have)
            with target.open("ab" if have else "wb") as file:
                received(have)
                for piece in answer.iter_raw():  # as it comes: nothing is lost when it breaks off
                    file.write(piece)
                    have += len(piece)
                    if have > size_bytes:
                        raise SourceFailed(f"the server sends more than the {size_bytes} bytes expected")
                    received(have)
    except httpx.HTTPError as error:
        kept = f"; {have / 1e6:.1f} MB are kept, run it again to continue" if have else ""
        raise SourceFailed(f"{_describe_error(error)}{kept}") from None
    if have < size_bytes:
        raise SourceFailed(f"the server sent only {have} of {size_bytes} bytes; run it again to continue")


def _describe_error(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.ConnectError):
        return "no connection"
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return f"the download broke off ({type(error).__name__})"


def _start(answer: httpx.Response, have: int) -> int:
    """From which byte this answer goes on: the one asked for, or 0 if the server sends all of it anew."""
    if answer.status_code == httpx.codes.OK:
        return 0
    if answer.status_code == httpx.codes.PARTIAL_CONTENT:
        if answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            return have
        raise SourceFailed("the server continues at another place than asked for")
    raise SourceFailed(f"the server answers {answer.status_code}")
