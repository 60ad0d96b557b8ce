"""Runs the simulator on a port of its own, which the real SDK connects to."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from tests.fakes.stripe.api import create_app
from tests.fakes.stripe.world import World


@contextmanager
def serving(world: World, port: int = 0) -> Iterator[str]:
    """Serves `world` on 127.0.0.1 while the block runs. Yields the address."""
    config = uvicorn.Config(
        create_app(world), host="127.0.0.1", port=port, log_level="warning", lifespan="off"
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
