"""Runs the simulator on a port of its own, which the real SDK connects to."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.fakes.stripe.api import create_app
from tests.fakes.stripe.world import World


def _with_cuts(app: ASGIApp, world: World) -> ASGIApp:
    """Aborts the connection instead of sending the answers that `world.cuts` names."""

    async def cut(scope: Scope, receive: Receive, send: Send) -> None:
        is_cut = False

        async def send_unless_cut(message: Message) -> None:
            nonlocal is_cut
            request = f"{scope['method']} {scope['path']}"
            if message["type"] == "http.response.start" and world.cuts[request]:
                world.cuts[request] -= 1
                is_cut = True
                # The bound method of uvicorn's cycle of one request and its response.
                receive.__self__.transport.abort()  # type: ignore[attr-defined]
            if not is_cut:
                await send(message)

        await app(scope, receive, send_unless_cut)

    return cut


@contextmanager
def serving(world: World, port: int = 0) -> Iterator[str]:
    """Serves `world` on 127.0.0.1 while the block runs. Yields the address."""
    config = uvicorn.Config(
        _with_cuts(create_app(world), world), host="127.0.0.1", port=port, log_level="warning", lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="stripe-simulator")
    thread.start()
    try:
        while not (server.started and server.servers):
            if not thread.is_alive():
                raise OSError(f"the simulator could not listen on port {port}")
            time.sleep(0.01)
        address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        world.address = address
        yield address
    finally:
        server.should_exit = True
        thread.join()
