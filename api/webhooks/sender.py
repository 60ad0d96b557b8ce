"""One attempt at delivering a message: a POST to a public host, which counts by its status alone."""

import asyncio
import time
from dataclasses import dataclass
from ipaddress import ip_address

import httpcore

from api.errors import UnusableRemoteUrl
from api.remote_files.pinned_connections import HostRefused
from api.remote_files.pinned_requests import NETWORK_ERRORS, PinnedRequests
from api.remote_files.remote_urls import UnusableUrl

ATTEMPT_SECONDS = 15.0
GONE = 410
_URL_LENGTH_MAX = 2048


@dataclass(frozen=True)
class AttemptOutcome:
    """The receiver's status, or a code that says why there is none."""

    status_code: int | None
    error: str | None
    duration_ms: int

    @property
    def is_success(self) -> bool:
        return self.error is None


class WebhookSender:
    def __init__(self, requests: PinnedRequests, *, seconds: float = ATTEMPT_SECONDS) -> None:
        self._requests = requests
        self._seconds = seconds

    def close(self) -> None:
        self._requests.close()

    def check_url(self, url: str, param: str) -> None:
        """Raises `UnusableRemoteUrl` for a URL that is never sent to. Names are looked up later."""
        try:
            host = self._requests.parse(url).host
        except UnusableUrl as error:
            raise UnusableRemoteUrl(param, f"{param} {error}.") from None
        if len(url) > _URL_LENGTH_MAX:
            raise UnusableRemoteUrl(param, f"{param} is too long: at most {_URL_LENGTH_MAX} characters.")
        if _is_address(host) and not self._requests.is_allowed(host):
            raise UnusableRemoteUrl(param, f"{param} must name a public host.")

    async def post(self, url: str, headers: list[tuple[str, str]], body: bytes) -> AttemptOutcome:
        """Send the JSON `body`. Success is a 2xx status; the body of the answer is not read."""
        started = time.monotonic()
        status, error = await self._status_of(url, headers, body)
        if status is not None:
            error = _problem_of(status)
        return AttemptOutcome(status, error, round((time.monotonic() - started) * 1000))

    async def _status_of(
        self, url: str, headers: list[tuple[str, str]], body: bytes
    ) -> tuple[int | None, str | None]:
        status: int | None = None
        error: str | None = None
        all_headers = [("Content-Type", "application/json"), *headers]
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._requests.send("POST", self._requests.parse(url), all_headers, body) as answer,
            ):
                status = answer.status
        except UnusableUrl:
            error = "INVALID_URL"
        except HostRefused:
            # Not whether it is unknown or private, which would describe the network of this server.
            error = "HOST_REFUSED"
        except (TimeoutError, httpcore.TimeoutException):
            error = "TIMED_OUT"
        except NETWORK_ERRORS:
            error = "CONNECTION_FAILED"
        return status, error


def _problem_of(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    if status == GONE:
        return "GONE"
    return "REDIRECTED" if 300 <= status < 400 else "ERROR_STATUS"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
