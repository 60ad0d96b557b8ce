"""Slows down browsers whose requests keep failing, before anything is done for them.

A page that ignores `Retry-After`, or an attacker with a guest's session, would otherwise have its session and
project looked up in the database for every refused request, and so delay the requests of others.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from datetime import datetime

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import RateLimited
from api.http import responses
from api.http.dependencies import address_of
from api.rate_limit import MemoryRates

#: Error responses of one browser, at once and a minute, before further requests are refused.
ERRORS_A_MINUTE = 60
#: A refused client waits this long for its response, so that one that never pauses sends fewer requests.
DELAY_SECONDS = 1.0
_ERRORS = range(400, 600)


class ErrorLimit:
    """ASGI middleware for requests with a session; API calls have none, and rates of their own.

    `cookies` are the names that the session's cookie may have. Other cookies do not matter, because a client
    could send different ones each time.
    """

    def __init__(
        self,
        app: ASGIApp,
        clock: Callable[[], datetime],
        cookies: Collection[str],
        delay_seconds: float = DELAY_SECONDS,
    ) -> None:
        self._app = app
        self._clock = clock
        self._cookies = cookies
        self._delay_seconds = delay_seconds
        self._errors = MemoryRates()
        self._unanswered: Counter[tuple[str, int]] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        browsers = self._browsers_of(scope) if scope["type"] == "http" else []
        for browser in browsers:
            rate = self._errors.state(browser, limit=ERRORS_A_MINUTE, now=self._clock())
            # Each request that is not answered yet may fail too: a burst must not pass before it is counted.
            if rate.remaining <= self._unanswered[browser]:
                await asyncio.sleep(self._delay_seconds)
                wait_seconds = max(1, rate.retry_after_seconds)
                refusal = RateLimited("Too many failed requests. Please wait.", wait_seconds)
                await responses.error(Request(scope), refusal)(scope, receive, send)
                return

        async def count_errors(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in _ERRORS:
                for browser in browsers:
                    self._errors.take(browser, limit=ERRORS_A_MINUTE, now=self._clock())
            await send(message)

        self._unanswered.update(browsers)
        try:
            await self._app(scope, receive, count_errors if browsers else send)
        finally:
            for browser in browsers:
                self._unanswered[browser] -= 1
                if not self._unanswered[browser]:
                    del self._unanswered[browser]

    def _browsers_of(self, scope: Scope) -> list[tuple[str, int]]:
        """The address with each session cookie of a request: one for a browser, which has one session."""
        request = Request(scope)
        sent = [request.cookies[name] for name in self._cookies if name in request.cookies]
        return [(address_of(request), hash(value)) for value in sent]
