"""A browser whose requests keep failing is refused before anything is done for it."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from api.http.cors import Cors
from api.http.middleware.error_limit import ERRORS_A_MINUTE, ErrorLimit
from api.http.middleware.request_context import RequestContext
from api.metrics import Metrics
from tests.support.waiting import run_ready_tasks

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINE, OTHER = {"Cookie": "session=mine"}, {"Cookie": "session=other"}


class Server:
    """An application that answers with the status in the path, and counts the requests that reach it."""

    def __init__(self) -> None:
        self.reached = 0
        self.now = NOON
        self.gate = asyncio.Event()

        async def answer(request: Request) -> JSONResponse:
            self.reached += 1
            return JSONResponse({}, request.path_params["status"])

        async def wait(_request: Request) -> JSONResponse:
            self.reached += 1
            await self.gate.wait()
            return JSONResponse({}, 404)

        app = Starlette(routes=[Route("/{status:int}", answer), Route("/waiting", wait)])
        limited = ErrorLimit(app, lambda: self.now, ["session", "__Host-session"], delay_seconds=0)
        self._transport = httpx.ASGITransport(RequestContext(limited, Metrics(), has_tls=False, cors=Cors()))

    async def get(self, status: int | str, headers: dict[str, str]) -> httpx.Response:
        async with httpx.AsyncClient(transport=self._transport, base_url="http://test") as client:
            return await client.get(f"/{status}", headers=headers)


@pytest.fixture
def server() -> Server:
    return Server()


async def _exhaust(server: Server, status: int = 429) -> None:
    for _ in range(ERRORS_A_MINUTE):
        assert (await server.get(status, MINE)).status_code == status


def test_errors_beyond_the_limit_are_refused_unprocessed(server: Server) -> None:
    async def main() -> None:
        await _exhaust(server)
        for status in (429, 200):
            refused = await server.get(status, MINE)
            assert refused.status_code == 429
            assert refused.json()["error"]["code"] == "RATE_LIMITED"
            assert refused.headers["Retry-After"] == "1"
        assert server.reached == ERRORS_A_MINUTE
        server.now += timedelta(seconds=1)
        assert (await server.get(200, MINE)).status_code == 200

    asyncio.run(main())


def test_a_burst_does_not_pass_before_its_errors_are_counted(server: Server) -> None:
    async def main() -> None:
        burst = [asyncio.create_task(server.get("waiting", MINE)) for _ in range(3 * ERRORS_A_MINUTE)]
        await run_ready_tasks()
        assert (server.reached, sum(one.done() for one in burst)) == (ERRORS_A_MINUTE, 2 * ERRORS_A_MINUTE)
        assert (await server.get(200, OTHER)).status_code == 200
        server.gate.set()
        statuses = [(await one).status_code for one in burst]
        assert (statuses.count(404), statuses.count(429)) == (ERRORS_A_MINUTE, 2 * ERRORS_A_MINUTE)
        # Answered requests are not counted twice.
        server.now += timedelta(minutes=1)
        assert (await server.get(200, MINE)).status_code == 200

    asyncio.run(main())


@pytest.mark.parametrize(
    "cookie", ["session=mine; other={}", "other={}; session=mine", "__Host-session={}; session=mine"]
)
def test_other_cookies_do_not_reset_the_limit(server: Server, cookie: str) -> None:
    async def main() -> None:
        for number in range(ERRORS_A_MINUTE):
            assert (await server.get(404, {"Cookie": cookie.format(number)})).status_code == 404
        assert (await server.get(404, {"Cookie": cookie.format("new")})).status_code == 429
        assert (await server.get(404, {"Cookie": "other=1"})).status_code == 404

    asyncio.run(main())


def test_other_browsers_successes_and_requests_without_cookies_are_not_limited(server: Server) -> None:
    async def main() -> None:
        await _exhaust(server)
        assert (await server.get(200, OTHER)).status_code == 200
        for _ in range(ERRORS_A_MINUTE + 5):
            assert (await server.get(200, OTHER)).status_code == 200
            assert (await server.get(401, {})).status_code == 401

    asyncio.run(main())
