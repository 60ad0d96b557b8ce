"""`bgeraser serve`: the server process, its startup message and graceful shutdown."""

import math
import os
import shlex
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.errors import ServiceUnavailable
from api.settings import MissingSecret, Settings, WrongSettings
from ml.device import NoCudaDevice

if TYPE_CHECKING:
    from fastapi import FastAPI

_CANNOT_START = (WrongSettings, MissingSecret, NoCudaDevice, ServiceUnavailable, ValueError)
SAMPLE = Path(__file__).parents[1] / "static" / "samples" / "coffee.jpg"

#: Time for responses and refunds after the running calls were stopped.
_RESPONSE_GRACE_SECONDS = 10.0


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free port.")
    ] = 8000,
    check: Annotated[bool, typer.Option("--check", help="Only check the settings.")] = False,
) -> None:
    """Serve the REST API and the pages. Applies database migrations first."""
    try:
        settings = Settings.load()
        settings.refuse_unsafe_address(host)
        if check:
            return
        for warning in settings.warnings(host):
            typer.echo(f"bgeraser warning: {warning}", err=True)
        # Imported here, because the other commands do not need the web server.
        from web.app import create_app

        application = create_app(settings, host)
    except _CANNOT_START as error:
        typer.echo(f"bgeraser cannot start: {error}", err=True)
        raise typer.Exit(1) from None
    if not _run(application, settings, host, port):
        raise typer.Exit(1)


def _run(application: "FastAPI", settings: Settings, host: str, port: int) -> bool:
    """Serve until the process is stopped. Returns False if it could not listen."""
    import uvicorn

    from api import background
    from api.http import connection_limits, protocol

    connections = _max_connections(settings)
    limits = connection_limits.ConnectionLimits(
        connections, settings.connections_per_address, settings.is_trusted_proxy
    )

    class Server(uvicorn.Server):
        """Prints the startup message once the socket listens, when the port is known."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            if self.started and self.servers:
                _print_startup_message(host, self.servers[0].sockets[0].getsockname()[1], settings)

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
    return server.started


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


def _print_startup_message(host: str, port: int, settings: Settings) -> None:
    """Print the server's address and, as long as there are no API keys, the commands of a first call."""
    shown_host = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104  # compared, not bound
    address = settings.public_url or f"http://{shown_host}:{port}"
    lines = [f"bgeraser serves at {address}"]
    if settings.is_development and (token := _first_login(settings)) is not None:
        lines += [
            "Log in as the operator with this link, which works once:",
            "",
            f"  {address}/login/once?token={token}",
            "",
        ]
    if not _has_keys(settings):
        command = _shell_command()
        lines += [
            "Your first call, in another terminal:",
            "",
            f"  export KEY=$({command} admin create-account you@example.com)",
            f'  curl -X POST {address}/api/tools/bg-removal -H "Authorization: Bearer $KEY"'
            f" -F image=@{shlex.quote(_relative(SAMPLE))}",
            "",
        ]
    typer.echo("\n".join(lines), err=True)


def _shell_command() -> str:
    """This command for use in another terminal, with the same data directory."""
    script = Path(sys.argv[0])
    if script.suffix == ".py":  # run as a module
        script = Path(sys.executable).with_name("bgeraser")
    data_dir = os.environ.get("BGERASER_DATA_DIR")
    prefix = f"BGERASER_DATA_DIR={shlex.quote(str(Path(data_dir).resolve()))} " if data_dir else ""
    return prefix + shlex.quote(_relative(script))


def _relative(path: Path) -> str:
    """`path` relative to the current directory if it is below it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _first_login(settings: Settings) -> str | None:
    """A one-time login to the operator's account, None if somebody was able to log in before."""
    from sqlmodel import col, select

    from api.auth import registration
    from api.auth.models import BrowserSession, Identity, Password
    from api.db.database import Database
    from billing.timestamps import utc_now

    database = Database(settings.database_address)
    try:
        with database.transaction() as session:
            signed_in = select(BrowserSession.id).where(col(BrowserSession.account_id).is_not(None))
            for logins in (signed_in, select(Identity.id), select(Password.account_id)):
                if session.exec(logins.limit(1)).first() is not None:
                    return None
            return registration.operators_token(session, now=utc_now())
    finally:
        database.close()


def _has_keys(settings: Settings) -> bool:
    from sqlmodel import select

    from api.auth.models import ApiKey
    from api.db.database import Database

    database = Database(settings.database_address)
    try:
        with database.transaction() as session:
            return session.exec(select(ApiKey.id).limit(1)).first() is not None
    finally:
        database.close()
