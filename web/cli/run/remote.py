"""Runs pictures through the API of a server, within the limits of the account's plan."""

import asyncio
import contextlib
import hashlib
import json
import random
import secrets
import time
from collections import deque
from typing import Any
from urllib.parse import urlsplit

import httpx

from web.cli.run.parameters import FILE_LIMIT_BYTES, RunParameters
from web.cli.run.types import PictureFailed, Result, RunStopped

#: More calls at once than this gain nothing, and each has a picture in memory.
_DEFAULT_PARALLEL = 8
#: How often a connection is tried before the server counts as unreachable; long enough for a restart.
_CONNECTION_ATTEMPTS = 6
#: How often a call is sent that the server fails at.
_CALL_ATTEMPTS = 3
_LONGEST_BACKOFF_SECONDS = 16.0
#: How long a picture may wait for the rate, the concurrency or the server's queue, all in all.
_PATIENCE_SECONDS = 900.0
_RETRY_AFTER_SECONDS = 5
_LONGEST_RETRY_AFTER_SECONDS = 120
#: Longer than the server lets a call run.
_TIMEOUT = httpx.Timeout(330.0, connect=10.0)
_WAITING_STATUSES = frozenset({409, 429, 503})
#: Answers that do not depend on the picture: the next one would get the same.
_LASTING_CODES = frozenset(
    {"INVALID_API_KEY", "INSUFFICIENT_CREDITS", "FORBIDDEN", "NOT_FOUND", "METHOD_NOT_ALLOWED"}
    | {"MODEL_UNAVAILABLE"}
)
_IMAGES = "/api/images/"
#: Stored results that are deleted at once if the account's storage is full.
_DELETED_AT_ONCE = 20


class ApiRunner:
    """Calls have idempotency keys made of what is asked, so that a second run within 24 hours pays nothing.

    `is_fresh`: the keys are new ones, so that the server works, and charges, again.
    """

    def __init__(self, url: str, key: str, parameters: RunParameters, is_fresh: bool = False) -> None:
        """Raises RunStopped for an unusable address or key."""
        self._url = _checked_url(url)
        self._parameters = parameters
        self._salt = secrets.token_hex(16) if is_fresh else ""
        self._resume_at = 0.0  # monotonic; until then the server wants no calls
        self._stored: deque[str] = deque()  # ids of the results that were downloaded
        key = key.strip()
        if not key or not key.isascii() or not key.isprintable():
            raise RunStopped("The API key is not valid.")
        self._authorization = {"Authorization": f"Bearer {key}"}
        # Without the key: signed addresses need none.
        self._client = httpx.AsyncClient(timeout=_TIMEOUT, headers={"User-Agent": "bgeraser"})
        self._parallel = 1
        self._is_ending = asyncio.Event()

    @property
    def parallel(self) -> int:
        return self._parallel

    @property
    def file_limit_bytes(self) -> int:
        return FILE_LIMIT_BYTES

    async def open(self, jobs: int | None) -> int:
        """Ask for the plan's limits, and return the available credits. Raises RunStopped."""
        try:
            response = await self._send("GET", "/api/account")
        except PictureFailed as failure:
            raise RunStopped(f"{self._url}: {failure.message}") from None
        try:
            data = response.json()["data"]
            limit, credits = int(data["limits"]["concurrentCalls"]), int(data["credits"]["available"])
        except (ValueError, KeyError, TypeError):
            raise RunStopped(f"{self._url} is not the address of a bgeraser server.") from None
        self._parallel = max(1, min(limit, jobs or _DEFAULT_PARALLEL))
        return credits

    async def run(self, content: bytes) -> Result:
        """Raises PictureFailed, RunStopped."""
        key = self._idempotency_key(content)
        files = {"image": ("image", content)}
        files |= {name: (name, file) for name, file in self._parameters.files.items()}
        response = await self._send(
            "POST",
            f"/api/tools/{self._parameters.tool.name}",
            headers={"Idempotency-Key": key, "Accept": "application/json"},
            data=self._parameters.texts,
            files=files,
        )
        try:
            data: dict[str, Any] = response.json()["data"]
            address, format, size_bytes = str(data["imageUrl"]), str(data["format"]), int(data["bytes"])
            image_id = str(data["imageId"])
        except (ValueError, KeyError, TypeError):
            raise PictureFailed("INVALID_ANSWER", "the server's answer cannot be read") from None
        if response.headers.get("Idempotent-Replayed") == "true":
            # The stored answer has what the first call was charged, and what was left then.
            data["creditsCharged"] = 0
            data.pop("creditsRemaining", None)
        if not format.isalnum():
            raise PictureFailed("INVALID_ANSWER", "the server's answer names no format")
        result = await self._download(address)
        if len(result) != size_bytes:
            raise PictureFailed("INVALID_ANSWER", "the result was not received completely")
        self._stored.append(image_id)
        return Result(result, format, data)

    def start_no_more(self) -> None:
        """Results that may have been paid are still fetched; calls that wait for the rate are not sent."""
        self._is_ending.set()

    async def close(self) -> None:
        await self._client.aclose()

    async def _download(self, address: str) -> bytes:
        # From the server that was named, whatever it calls itself: its public address may lead elsewhere.
        signed = address.rpartition(_IMAGES)[2]
        return (await self._send("GET", _IMAGES + signed, is_signed=True)).content

    async def _send(
        self,
        method: str,
        path: str,
        *,
        is_signed: bool = False,
        headers: dict[str, str] | None = None,
        **body: Any,
    ) -> httpx.Response:
        """The successful answer. Waits and tries again where that may help.

        Raises PictureFailed, RunStopped.
        """
        headers = (headers or {}) | ({} if is_signed else self._authorization)
        patience_ends_at = time.monotonic() + _PATIENCE_SECONDS
        failures = broken = 0
        may_be_paid = is_signed  # for a stored result, a call was paid
        while True:
            await self._wait_until_wanted(may_be_paid)
            if self._is_ending.is_set() and not may_be_paid:
                raise RunStopped("The run is stopping.")
            try:
                # A stored result may lead to the bucket it is in.
                response = await self._client.request(
                    method, self._url + path, headers=headers, follow_redirects=is_signed, **body
                )
            except httpx.TransportError as error:
                broken += 1
                may_be_paid |= not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if broken >= _CONNECTION_ATTEMPTS:
                    raise RunStopped(f"{self._url} cannot be reached: {_text(error)}.") from None
                await asyncio.sleep(_backoff_seconds(broken))
                continue
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise RunStopped(f"{self._url} cannot be used: {_text(error)}.") from None
            if response.status_code == 200:
                return response
            failure = _failure(response)
            if failure.code in _LASTING_CODES and not is_signed:
                raise RunStopped(f"{failure.message} ({failure.code})")
            if failure.code == "STORAGE_FULL" and await self._free_storage():
                continue
            if not _is_retryable(response):
                raise failure
            if response.status_code in _WAITING_STATUSES:
                if time.monotonic() >= patience_ends_at:
                    raise failure
                seconds = _retry_after_seconds(response)
                if response.status_code == 409:  # the same picture is being processed for another call
                    may_be_paid = True
                    await asyncio.sleep(seconds)
                else:
                    # It concerns the account or the whole server, so every call of this run obeys.
                    self._resume_at = max(self._resume_at, time.monotonic() + seconds)
                continue
            failures += 1
            may_be_paid = True  # a proxy may have given up while the server went on
            if failures >= _CALL_ATTEMPTS:
                raise failure
            await asyncio.sleep(_backoff_seconds(failures))

    async def _wait_until_wanted(self, may_be_paid: bool) -> None:
        """Wait for the time that the server named, or for the end of the run if nothing was paid yet."""
        while (seconds := self._resume_at - time.monotonic()) > 0:
            seconds += random.uniform(0.0, 0.2)  # noqa: S311 (not all at the same moment)
            if may_be_paid:
                await asyncio.sleep(seconds)
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_ending.wait(), seconds)
                return

    async def _free_storage(self) -> bool:
        """Delete results that were downloaded. False if there are none."""
        # The last ones of the other calls may not be written yet: their only copy may be the server's.
        count = min(_DELETED_AT_ONCE, len(self._stored) - (self._parallel - 1))
        ids = [self._stored.popleft() for _ in range(count)]
        for image_id in ids:
            await self._client.delete(f"{self._url}{_IMAGES}{image_id}", headers=self._authorization)
        return bool(ids)

    def _idempotency_key(self, content: bytes) -> str:
        """Equal for equal requests. The account is not in it: each has its own keys on the server."""
        parameters = self._parameters
        asked = [
            "bgeraser run",
            parameters.tool.name,
            sorted(parameters.texts.items()),
            sorted((name, hashlib.sha256(file).hexdigest()) for name, file in parameters.files.items()),
            hashlib.sha256(content).hexdigest(),
            self._salt,
        ]
        return "run-" + hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or "?" in url or "#" in url or parts.username is not None:
        raise RunStopped(f"{url!r} is not the address of a server, such as https://images.example.com.")
    return url.rstrip("/")


def _failure(response: httpx.Response) -> PictureFailed:
    """The error that an answer describes, also one of a proxy in between."""
    try:
        error = response.json()["error"]
        return PictureFailed(str(error["code"]), str(error["message"]), error.get("param"))
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    if response.is_redirect:
        where = response.headers.get("Location", "another address")
        return PictureFailed("NOT_FOUND", f"The server redirects to {where}; use that address.")
    if response.status_code in (404, 405):
        return PictureFailed("NOT_FOUND", f"{response.url.copy_with(query=None)} does not exist.")
    return PictureFailed("INVALID_ANSWER", f"the server answered with status {response.status_code}")


def _is_retryable(response: httpx.Response) -> bool:
    try:
        return bool(response.json()["error"]["retryable"])
    except (ValueError, KeyError, TypeError):
        return response.status_code == 429 or response.status_code >= 500


def _retry_after_seconds(response: httpx.Response) -> int:
    text = response.headers.get("Retry-After", "")
    seconds = int(text) if text.isdecimal() else _RETRY_AFTER_SECONDS
    return min(max(seconds, 1), _LONGEST_RETRY_AFTER_SECONDS)


def _backoff_seconds(failures: int) -> float:
    jitter = random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
    return min(2.0 ** (failures - 1), _LONGEST_BACKOFF_SECONDS) * jitter


def _text(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__
