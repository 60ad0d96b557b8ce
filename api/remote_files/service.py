"""Fetching one picture from a URL that a caller sent.

Only https, unless the operator allows http, and only public hosts (`pinned_connections`). Redirects are
followed one by one under the same rules. No proxy, cookie or credential of this server is ever used, and a
refusal says what is wrong with the URL, but of what answered there only whether another try may succeed.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpcore

from api.errors import (
    FileTooLarge,
    RateLimited,
    RemoteFileUnavailable,
    RemoteHostUnavailable,
    ServerBusy,
    UnusableRemoteUrl,
)
from api.remote_files.pinned_connections import HostRefused
from api.remote_files.pinned_requests import NETWORK_ERRORS, PinnedRequests
from api.remote_files.remote_urls import RemoteUrl, UnusableUrl
from ml.errors import UnsupportedFormat
from ml.imaging import codecs

FETCH_SECONDS = 10.0
REDIRECTS_MAX = 3
AT_ONCE_MAX = 64
# Each chunk of a chunked answer takes the event loop some 0.1 ms, however short it is.
_PIECES_MAX = 1000
_PIECE_BYTES_MIN = 256  # on average, of any more pieces
_PIECES_AT_ONCE = 32

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TOO_MANY_REQUESTS = 429
_SERVER_ERROR_MIN = 500
_ERROR_STATUS = "does not lead to a file: the address answered with an error"
_HEADERS = [("Accept", "image/*"), ("Accept-Encoding", "identity")]


class RemoteFiles:
    """Fetches pictures for callers, within limits for each account and for the process."""

    def __init__(self, requests: PinnedRequests, *, seconds: float = FETCH_SECONDS) -> None:
        self._requests = requests
        self._seconds = seconds
        self._fetching: Counter[str] = Counter()

    def close(self) -> None:
        self._requests.close()

    async def fetch(
        self,
        url: str,
        param: str,
        *,
        account_id: str,
        concurrent: int,
        limit_bytes: int,
        on_bytes: Callable[[int], None] = lambda _count: None,
    ) -> bytes:
        """The picture at `url`, which the caller sent as the parameter `param`: at most `limit_bytes`.

        An account fetches at most `concurrent` files at once. `on_bytes` gets the number of bytes received so
        far and may raise. Raises `UnusableRemoteUrl`, `RemoteFileUnavailable` (if another try may succeed,
        `RemoteHostUnavailable`), `FileTooLarge`, `RateLimited` and `ServerBusy`.
        """
        parsed = self._parse(url, param)
        with self._slot(account_id, concurrent):
            try:
                async with asyncio.timeout(self._seconds):
                    return await self._follow(parsed, _Reader(param, limit_bytes, on_bytes))
            except TimeoutError:
                raise _host_unavailable(
                    param, f"could not be downloaded within {self._seconds:g} seconds"
                ) from None
            except HostRefused:
                raise UnusableRemoteUrl(param, f"{param} must name a public host that exists.") from None
            except NETWORK_ERRORS:
                raise _host_unavailable(param, "could not be downloaded: the connection failed") from None

    def _parse(self, url: str, param: str) -> RemoteUrl:
        try:
            return self._requests.parse(url)
        except UnusableUrl as error:
            raise UnusableRemoteUrl(param, f"{param} {error}.") from None

    @contextmanager
    def _slot(self, account_id: str, concurrent: int) -> Iterator[None]:
        if self._fetching[account_id] >= concurrent:
            raise RateLimited(f"At most {concurrent} of your URLs are downloaded at once.", 1)
        if self._fetching.total() >= AT_ONCE_MAX:
            raise ServerBusy("The server is downloading too many files at the moment. Please try again.")
        self._fetching[account_id] += 1
        try:
            yield
        finally:
            self._fetching[account_id] -= 1
            if not self._fetching[account_id]:
                del self._fetching[account_id]

    async def _follow(self, url: RemoteUrl, reader: "_Reader") -> bytes:
        location: str | None = None
        for _ in range(REDIRECTS_MAX + 1):
            try:
                async with self._requests.send("GET", url, _HEADERS) as answer:
                    if answer.status not in _REDIRECTS:
                        return await reader.read(answer)
                    location = _header(answer, b"location") or ""
                url = self._requests.redirected(url, location)
            except (HostRefused, UnusableUrl):
                if location is None:
                    raise  # The URL itself is refused, not what it leads to.
                raise _unavailable(reader.param, "leads to an address that is not allowed") from None
        raise _unavailable(reader.param, f"is redirected more than {REDIRECTS_MAX} times")


@dataclass(frozen=True)
class _Reader:
    """Reads the picture in the answer to one fetch, for the parameter `param`."""

    param: str
    limit_bytes: int
    on_bytes: Callable[[int], None]

    async def read(self, answer: httpcore.Response) -> bytes:
        if answer.status == _TOO_MANY_REQUESTS or answer.status >= _SERVER_ERROR_MIN:
            raise _host_unavailable(self.param, _ERROR_STATUS)
        if answer.status != 200:
            raise _unavailable(self.param, _ERROR_STATUS)
        declared = _header(answer, b"content-length") or ""
        if declared.isdecimal():
            self._check_size(int(declared[:20]))
        pieces: list[bytes] = []
        received_bytes = count = 0
        is_picture = False
        async for piece in answer.aiter_stream():
            received_bytes += len(piece)
            count += 1
            if count > _PIECES_MAX + received_bytes // _PIECE_BYTES_MIN:
                raise _unavailable(self.param, "could not be downloaded: it is sent in too small pieces")
            if count % _PIECES_AT_ONCE == 0:
                await asyncio.sleep(0)  # Pieces that have arrived already do not let others run.
            self._check_size(received_bytes)
            self.on_bytes(received_bytes)
            pieces.append(piece)
            if not is_picture and received_bytes >= codecs.SNIFF_BYTES:
                # Stop as soon as it is clear that this is not a picture.
                pieces = [b"".join(pieces)]
                self._check_picture(pieces[0])
                is_picture = True
        content = await asyncio.to_thread(b"".join, pieces)
        if not is_picture:
            self._check_picture(content)
        return content

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self.limit_bytes:
            error = FileTooLarge(f"The file is too large: at most {self.limit_bytes // 1024**2} MiB.")
            error.param = self.param
            raise error

    def _check_picture(self, content: bytes) -> None:
        try:
            codecs.sniff(content[: codecs.SNIFF_BYTES])
        except UnsupportedFormat:
            problem = f"does not lead to a {codecs.INPUT_FORMATS_TITLE} file"
            raise _unavailable(self.param, problem) from None


def _header(answer: httpcore.Response, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in answer.headers if key.lower() == name), None)


def _unavailable(param: str, problem: str) -> RemoteFileUnavailable:
    return RemoteFileUnavailable(param, f"{param} {problem}.")


def _host_unavailable(param: str, problem: str) -> RemoteHostUnavailable:
    return RemoteHostUnavailable(param, f"{param} {problem}.")
