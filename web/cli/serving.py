"""Running an application in a process: listening, limits of connections and graceful shutdown."""

import math
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import typer

from api.errors import ServiceUnavailable
from api.settings import MissingSecret, Settings, WrongSettings
from ml.device import NoCudaDevice

if TYPE_CHECKING:
    from fastapi import FastAPI

_CANNOT_START = (WrongSettings, MissingSecret, NoCudaDevice, ServiceUnavailable, ValueError)

#: Time for responses and refunds after the running calls were stopped.
_RESPONSE_GRACE_SECONDS = 10.0


def print_warnings(settings: Settings, host: str) -> None:
    for warning in settings.warnings(host):
        typer.echo(f"bgeraser warning: {warning}", err=True)


@contextmanager
def refusals() -> Iterator[None]:
    """Ends the command with one sentence if the settings do not allow to start."""
    try:
        yield
    except _CANNOT_START as error:
        typer.echo(f"bgeraser cannot start: {error}", err=True)
        raise typer.Exit(1) from None


def run(
    application: "FastAPI", settings: Settings, host: str, port: int, greeting: Callable[[int], str]
) -> None:
    """Serve until the process is stopped; `greeting` of the port is printed once it listens.

    Ends the command if it cannot listen.
    """
    import uvicorn

    from api import background
    from api.http import connection_limits, protocol

    connections = _max_connections(settings)
    limits = connection_limits.ConnectionLimits(
        connections, settings.connections_per_address, settings.is_trusted_proxy
    )

    class Server(uvicorn.Server):
        """Prints the greeting once the socket listens, when the port is known; drains before it ends."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            if self.started and self.servers:
                typer.echo(greeting(self.servers[0].sockets[0].getsockname()[1]), err=True)

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            readiness = application.state.services.readiness
            if sig != signal.SIGTERM or not settings.drain_seconds or readiness.is_draining:
                super().handle_exit(sig, frame)
                return
            readiness.is_draining = True
            end = threading.Timer(settings.drain_seconds, super().handle_exit, (sig, frame))
            end.daemon = True
            end.start()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # Before waiting for requests, so that calls which are queued for a worker are answered now.
            background.begin_shutdown(application.state.services)
            await super().shutdown(sockets=sockets)

    config = uvicorn.Config(
        application,
        host=host,
        port=port,
        log_config=None,  # logging goes through structlog
        access_log=False,
        server_header=False,
        http=protocol.limited(limits),
        ws="none",
        forwarded_allow_ips=settings.trusted_proxies,
        backlog=connection_limits.backlog(connections),
        timeout_keep_alive=30,
        timeout_graceful_shutdown=math.ceil(settings.shutdown_seconds + _RESPONSE_GRACE_SECONDS),
    )
    server = Server(config)
    server.run()
    if not server.started:
        raise typer.Exit(1)


def _max_connections(settings: Settings) -> int:
    from api.http import connection_limits

    descriptors = connection_limits.raise_descriptor_limit()
    affordable = connection_limits.affordable(descriptors)
    if affordable < settings.connections:
        typer.echo(
            f"bgeraser warning: the limit of {descriptors} open files (ulimit -n) allows only {affordable}"
            f" simultaneous connections instead of {settings.connections}.",
            err=True,
        )
    return min(affordable, settings.connections)
