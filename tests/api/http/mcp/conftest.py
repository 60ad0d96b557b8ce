"""Agents with the SDK's own client, and JSON-RPC messages as bare requests."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.support.server import Customer, RunningServer

T = TypeVar("T")

#: The protocol's versions with and without a handshake.
MODES = ("legacy", "auto")
HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


@asynccontextmanager
async def agent(server: RunningServer, key: str, mode: str = "auto") -> AsyncIterator[Client]:
    """The SDK's client, connected with this API key."""
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=120) as http,
        Client(streamable_http_client(f"{server.address}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


def as_agent(
    server: RunningServer, customer: Customer, work: Callable[[Client], Awaitable[T]], mode: str = "auto"
) -> T:
    """What `work` returns, given the customer's client."""

    async def connect() -> T:
        async with agent(server, customer.key, mode) as client:
            return await work(client)

    return asyncio.run(connect())


def post(server: RunningServer, headers: dict[str, str], **body: Any) -> httpx.Response:
    """A bare request; `body` is `content=` or `json=`."""
    return httpx.post(f"{server.address}/mcp", headers=HEADERS | headers, timeout=60, **body)


def message(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The JSON-RPC message of a call."""
    params = {"name": tool, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
