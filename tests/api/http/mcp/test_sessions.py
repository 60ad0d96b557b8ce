"""Agents that disconnect, and images that are fetched for agents: the API in this process."""

import asyncio
import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select
from starlette.types import Message, Scope

from billing.ledger import ledger
from billing.ledger.models import Account
from tests.api.http.mcp.conftest import HEADERS, message
from tests.support.apps import LocalApi, local_api
from tests.support.calling import small_picture
from tests.support.remote_host import RemoteHost, files_of, running_host
from tests.support.waiting import wait_until

EMAIL = "a@example.com"
MODERN = "2026-07-28"


def balance(api: LocalApi) -> tuple[int, int]:
    """Credits available and held."""
    with api.services.database.transaction() as session:
        account = session.exec(select(Account).where(Account.email == EMAIL)).one()
        ledger.refresh(session, account, api.clock())
        return account.available, account.held


def in_version(version: str | None, sent: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """Headers and message of a call, in a version that has no handshake; None: one that has."""
    if version is None:
        return {}, sent
    meta = {
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    }
    params = {**sent["params"], "_meta": meta}
    headers = {"MCP-Protocol-Version": version, "Mcp-Method": sent["method"], "Mcp-Name": params["name"]}
    return headers, {**sent, "params": params}


class Connection:
    """One request over ASGI, whose client disconnects when `leave` is set."""

    def __init__(self, headers: dict[str, str], content: bytes) -> None:
        self.leave = asyncio.Event()
        self.has_ended = False
        self.sent: list[Message] = []
        self._content: bytes | None = content
        raw = {**HEADERS, **headers, "Host": "test", "Content-Length": str(len(content))}
        self._scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": "/mcp",
            "raw_path": b"/mcp",
            "query_string": b"",
            "scheme": "http",
            "server": ("test", 80),
            "client": ("127.0.0.1", 1),
            "headers": [(name.lower().encode(), value.encode()) for name, value in raw.items()],
        }

    async def run(self, api: LocalApi) -> None:
        await api.app(self._scope, self._receive, self._send)
        self.has_ended = True

    async def _receive(self) -> Message:
        if self._content is not None:
            content, self._content = self._content, None
            return {"type": "http.request", "body": content, "more_body": False}
        await self.leave.wait()
        return {"type": "http.disconnect"}

    async def _send(self, sent: Message) -> None:
        self.sent.append(sent)


@pytest.mark.parametrize("version", [None, MODERN])
def test_a_queued_call_of_an_agent_that_disconnects_is_dropped(tmp_path: Path, version: str | None) -> None:
    with local_api(tmp_path) as api:  # It has no workers, so a call stays in the queue.
        key = api.new_key(EMAIL)
        available = balance(api)[0]
        image = {"base64": b64encode(small_picture()).decode()}
        headers, sent = in_version(version, message("crop", {"image": image, "width": 5}))
        content = json.dumps(sent).encode()

        async def connect() -> Connection:
            return Connection({"X-Api-Key": key, **headers}, content)

        async def leave(connection: Connection) -> None:
            connection.leave.set()

        connection = api.call(connect)
        api.start(lambda: connection.run(api))
        wait_until(lambda: balance(api) == (available - 1, 1))
        wait_until(lambda: api.services.backend.state().queued == 1)
        api.call(leave, connection)
        wait_until(lambda: connection.has_ended)
        wait_until(lambda: balance(api) == (available, 0))
        wait_until(lambda: api.services.backend.state().queued == 0)


@pytest.fixture(scope="module")
def host() -> Iterator[RemoteHost]:
    with running_host() as running:
        yield running


@pytest.fixture(scope="module")
def api(host: RemoteHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalApi]:
    directory = tmp_path_factory.mktemp("agents")
    with local_api(directory, has_workers=True, remote_files=files_of(host, seconds=2.0)) as opened:
        opened.new_key(EMAIL)
        yield opened


def call(api: LocalApi, key: str, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The structured content of an answer."""
    headers, sent = in_version(MODERN, message(tool, arguments))
    response = api.request("POST", "/mcp", headers={**HEADERS, **headers, "X-Api-Key": key}, json=sent)
    assert response.status_code == 200, response.text
    text = response.text
    if "data: " in text:
        text = text.rpartition("data: ")[2]
    fields: dict[str, Any] = json.loads(text)["result"]["structuredContent"]
    return fields


def test_files_are_fetched_by_url(api: LocalApi, host: RemoteHost) -> None:
    key = api.new_key("urls@example.com")
    url = host.serve("/a.png", small_picture())
    mask = host.serve("/mask.png", small_picture())
    edited = call(api, key, "crop", {"image": {"url": url}, "width": 7})
    assert (edited["width"], edited["creditsCharged"]) == (7, 1)
    arguments = {"image": {"url": url}, "mask": {"url": mask}, "op": "erase", "mask_mode": "luminance"}
    assert call(api, key, "brush", arguments)["width"] == 60
    assert call(api, key, "upload-image", {"image": {"url": url}})["width"] == 60


def test_a_url_without_a_picture_is_refused_and_a_mistake_is_found_before_anything_is_fetched(
    api: LocalApi, host: RemoteHost
) -> None:
    key = api.new_key("bad-urls@example.com")
    page = host.serve("/page.html", b"<html>")
    moved = host.redirect("/moved", "https://169.254.169.254/")
    for url in (page, moved, f"{host.url}/missing"):
        error = call(api, key, "crop", {"image": {"url": url}, "width": 7})["error"]
        assert (error["code"], error["param"]) == ("INVALID_PARAMETER", "image.url")
    connections = host.connections
    error = call(api, key, "crop", {"image": {"url": page}, "width": 0})["error"]
    assert (error["param"], host.connections) == ("width", connections)
    excluded = {"image": {"url": page}, "mask": {"url": page}, "op": "erase"}
    error = call(api, key, "brush", {**excluded, "strokes": [{"points": [[1, 2]]}]})["error"]
    assert (error["param"], host.connections) == ("mask.url", connections)
    assert "either strokes or a mask" in error["message"]


def test_a_page_may_connect_if_the_operator_allows_its_origin(tmp_path: Path) -> None:
    with local_api(tmp_path, cors_origins="https://shop.example.com") as api:
        key = api.new_key(EMAIL)
        statuses = {}
        for origin in ("https://shop.example.com", "https://other.example.com"):
            headers = {**HEADERS, "X-Api-Key": key, "Origin": origin}
            response = api.request("POST", "/mcp", headers=headers, json=message("account", {}))
            statuses[origin] = (response.status_code, response.headers.get("access-control-allow-origin"))
    assert statuses == {
        "https://shop.example.com": (200, "https://shop.example.com"),
        "https://other.example.com": (403, None),
    }
