"""A server that receives SIGTERM answers the agents whose calls are running."""

import asyncio
import signal
from base64 import b64encode

import pytest
from mcp.types import CallToolResult

from billing.ledger.plans import PlanName
from tests.api.http.mcp.conftest import agent
from tests.support.ml.photos import photo, png_bytes
from tests.support.server import StartServer


@pytest.mark.long
def test_a_running_call_of_an_agent_is_finished(start_server: StartServer) -> None:
    server = start_server(BGERASER_WORKERS="1", BGERASER_SHUTDOWN_SECONDS="200")
    customer = server.new_customer(PlanName.BUSINESS)
    image = {"base64": b64encode(png_bytes(photo("chelsea")[:120, :120])).decode()}

    signals: list[float] = []

    async def call() -> CallToolResult:
        async def stop_it(progress: float, total: float | None, message: str | None) -> None:
            if progress > 0 and not signals:
                signals.append(progress)
                server.process.send_signal(signal.SIGTERM)

        # The versions with a handshake are answered by another library, which watches for signals itself.
        async with agent(server, customer.key, "legacy") as client:
            await client.list_tools()  # The client checks answers by it and would ask afterwards.
            arguments = {"image": image, "mode": "quality"}
            return await client.call_tool("upscale", arguments, progress_callback=stop_it)

    result = asyncio.run(call())
    assert not result.is_error, result.structured_content
    assert signals
    server.process.wait(60)
    assert server.balance(customer)[1] == 0
    assert "Traceback" not in server.log_text()
    assert "without completing" not in server.log_text()
