"""Agents that cancel calls: nothing is charged, and only the call that was named is cancelled."""

import asyncio
import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from mcp.client.client import Client

from api.http.mcp.cancellation import SESSION_HEADER, CallName, CancellableCalls
from ml.errors import Cancelled
from tests.api.http.mcp.conftest import HEADERS, MODES, agent, message
from tests.api.http.mcp.test_sessions import EMAIL, MODERN, Connection, balance, call, in_version
from tests.support.apps import LocalApi, local_api
from tests.support.calling import small_picture
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.remote_host import RemoteHost, files_of, running_host
from tests.support.server import RunningServer
from tests.support.waiting import run_ready_tasks, wait_until

#: Encoding this takes a worker seconds.
SLOW = {"width": "100%", "height": "100%", "format": "avif", "quality": 100}
SLOW_IMAGE = jpeg_bytes(np.tile(photo("motorcycle_left"), (5, 5, 1)))
LEGACY = "2025-06-18"


def session_of(api: LocalApi, key: str) -> str:
    """The session that a handshake names."""
    client = {"name": "test", "version": "1"}
    params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": client}
    handshake = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    response = api.request("POST", "/mcp", headers={**HEADERS, "X-Api-Key": key}, json=handshake)
    assert response.status_code == 200
    return response.headers[SESSION_HEADER]


def start_call(
    api: LocalApi, headers: dict[str, str], arguments: dict[str, Any], version: str | None = None
) -> Connection:
    further, sent = in_version(version, message("crop", arguments))

    async def connect() -> Connection:
        return Connection({**headers, **further}, json.dumps(sent).encode())

    connection = api.call(connect)
    api.start(lambda: connection.run(api))
    return connection


async def _leave(connection: Connection) -> None:
    connection.leave.set()


def cancel(api: LocalApi, headers: dict[str, str], message_id: object) -> None:
    params = {"requestId": message_id, "reason": "changed my mind"}
    notification = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
    response = api.request("POST", "/mcp", headers={**HEADERS, **headers}, json=notification)
    assert response.status_code == 202


def answer_of(connection: Connection) -> dict[str, Any]:
    content = b"".join(sent.get("body", b"") for sent in connection.sent).decode()
    fields: dict[str, Any] = json.loads(content.rpartition("data: ")[2])["result"]["structuredContent"]
    return fields


def base64(content: bytes) -> dict[str, str]:
    return {"base64": b64encode(content).decode()}


@pytest.mark.parametrize("message_id", [1, "1"])
def test_a_queued_call_that_is_cancelled_never_runs(tmp_path: Path, message_id: object) -> None:
    with local_api(tmp_path) as api:  # It has no workers, so a call stays in the queue.
        key = api.new_key(EMAIL)
        available = balance(api)[0]
        headers = {"X-Api-Key": key, SESSION_HEADER: session_of(api, key)}
        connection = start_call(api, headers, {"image": base64(small_picture()), "width": 5})
        wait_until(lambda: api.services.backend.state().queued == 1)
        cancel(api, headers, message_id)
        wait_until(lambda: connection.has_ended)
        assert answer_of(connection)["error"]["code"] == "SERVICE_UNAVAILABLE"
        wait_until(lambda: balance(api) == (available, 0))
        wait_until(lambda: api.services.backend.state().queued == 0)


def test_only_the_session_and_the_account_of_a_call_can_cancel_it(tmp_path: Path) -> None:
    with local_api(tmp_path) as api:
        key, others = api.new_key(EMAIL), api.new_key("b@example.com")
        session, further = session_of(api, key), session_of(api, key)
        assert session != further
        own = {"X-Api-Key": key, SESSION_HEADER: session}
        connection = start_call(api, own, {"image": base64(small_picture()), "width": 5})
        wait_until(lambda: api.services.backend.state().queued == 1)
        cancel(api, {"X-Api-Key": key}, 1)
        cancel(api, {"X-Api-Key": key, SESSION_HEADER: further}, 1)
        cancel(api, {"X-Api-Key": others, SESSION_HEADER: session}, 1)
        for message_id in (2, "2", True, None, "x" * 9000, [1]):
            cancel(api, own, message_id)
        assert api.services.backend.state().queued == 1
        assert not connection.has_ended
        cancel(api, own, 1)
        wait_until(lambda: connection.has_ended)


@pytest.fixture(scope="module")
def host() -> Iterator[RemoteHost]:
    with running_host() as running:
        yield running


@pytest.fixture(scope="module")
def api(host: RemoteHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalApi]:
    directory = tmp_path_factory.mktemp("agents")
    with local_api(directory, has_workers=True, remote_files=files_of(host, seconds=60.0)) as opened:
        opened.new_key(EMAIL)
        yield opened


@pytest.mark.parametrize("version", [None, MODERN])
def test_a_running_call_that_is_cancelled_is_stopped_and_costs_nothing(
    api: LocalApi, version: str | None
) -> None:
    key = api.new_key(f"{version}@example.com")

    headers = {"X-Api-Key": key, SESSION_HEADER: session_of(api, key)}
    connection = start_call(api, headers, {"image": base64(SLOW_IMAGE), **SLOW}, version)
    wait_until(lambda: api.services.backend.state().running == 1)
    if version is None:
        cancel(api, headers, 1)
    else:
        api.call(_leave, connection)  # This version has no other way.
    wait_until(lambda: connection.has_ended)
    wait_until(lambda: api.services.backend.state().running == 0)
    wait_until(lambda: credits_of(api, key) == (15, 0))


def test_a_call_is_cancelled_while_its_image_is_fetched(api: LocalApi, host: RemoteHost) -> None:
    key = api.new_key("fetching@example.com")
    url = host.respond("/hanging", lambda _head, _connection: host.wait_until_stopped())
    headers = {"X-Api-Key": key, SESSION_HEADER: session_of(api, key)}
    connections = host.connections
    connection = start_call(api, headers, {"image": {"url": url}, "width": 5})
    wait_until(lambda: host.connections > connections)
    cancel(api, headers, 1)
    wait_until(lambda: connection.has_ended)
    assert answer_of(connection)["error"]["code"] == "SERVICE_UNAVAILABLE"
    assert credits_of(api, key) == (15, 0)


@pytest.mark.parametrize("leaves", [False, True])
def test_a_call_is_charged_once_if_it_is_cancelled_after_its_work_was_done(
    api: LocalApi, leaves: bool
) -> None:
    """Cancelled, or its connection closed, while the preview of the answer is made."""
    key = api.new_key(f"charged-{leaves}@example.com")
    headers = {"X-Api-Key": key, SESSION_HEADER: session_of(api, key)}
    arguments = {"image": base64(SLOW_IMAGE), "width": "100%", "height": "100%", "format": "jpg"}
    connection = start_call(api, headers, arguments)
    wait_until(lambda: credits_of(api, key) == (14, 0))
    if leaves:
        api.call(_leave, connection)
        wait_until(lambda: connection.has_ended)
    else:
        cancel(api, headers, 1)
        cancel(api, headers, 1)
        wait_until(lambda: connection.has_ended)
        assert answer_of(connection).get("creditsCharged") == 1
    retry = call(api, key, "crop", arguments)
    assert (retry["replayed"], retry["creditsCharged"]) == (True, 0)
    assert credits_of(api, key) == (14, 0)


def test_the_idempotency_key_of_a_cancelled_call_is_free_again(tmp_path: Path) -> None:
    with local_api(tmp_path) as api:
        key = api.new_key(EMAIL)
        headers = {"X-Api-Key": key, SESSION_HEADER: session_of(api, key)}
        arguments = {"image": base64(small_picture()), "width": 5, "idempotency_key": "one"}
        for _ in range(2):
            connection = start_call(api, headers, arguments)
            wait_until(lambda: api.services.backend.state().queued == 1)
            assert balance(api)[1] == 1
            cancel(api, headers, 1)
            wait_until(lambda: balance(api) == (15, 0))
            wait_until(partial(getattr, connection, "has_ended"))
            assert answer_of(connection)["error"]["retryable"]


def credits_of(api: LocalApi, key: str) -> tuple[int, int]:
    credit = api.request("GET", "/api/account", headers={"X-Api-Key": key}).json()["data"]["credits"]
    return credit["available"], credit["held"]


@pytest.mark.parametrize("mode", MODES)
def test_the_sdks_client_cancels_what_its_user_does_not_wait_for(server: RunningServer, mode: str) -> None:
    customer = server.new_customer(credits=2)

    async def call_and_cancel() -> None:
        async with agent(server, customer.key, mode) as client:
            await client.list_tools()
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_cancel_when, lambda: server.balance(customer) == (1, 1), scope.cancel)
                    await _slow_call(client)
            assert scope.cancelled_caught
            await anyio.to_thread.run_sync(wait_until, lambda: server.balance(customer) == (2, 0))
            # The connection is still of use.
            assert not (await client.call_tool("account")).is_error

    asyncio.run(call_and_cancel())


async def _slow_call(client: Client) -> None:
    await client.call_tool("crop", {"image": base64(SLOW_IMAGE), **SLOW})


async def _cancel_when(is_time: Callable[[], bool], cancel_scope: Callable[[], None]) -> None:
    await anyio.to_thread.run_sync(wait_until, is_time)
    cancel_scope()


def test_a_caller_that_is_cancelled_itself_is_not_answered() -> None:
    async def main() -> None:
        calls, name = CancellableCalls(), CallName("account", "session", "1")
        waiting = asyncio.create_task(calls.run(name, asyncio.sleep(60), lambda: False))
        await run_ready_tasks()
        calls.cancel(name)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        waiting = asyncio.create_task(calls.run(name, asyncio.sleep(60), lambda: False))
        await run_ready_tasks()
        calls.cancel(name)
        with pytest.raises(Cancelled):
            await waiting
        calls.cancel(name)  # It has ended.

    asyncio.run(main())
