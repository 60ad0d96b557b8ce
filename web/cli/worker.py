"""`bgeraser worker`: a process that runs jobs, batches and webhooks, and serves no API."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from api.settings import Settings
from web.cli import serving

if TYPE_CHECKING:
    from fastapi import FastAPI


def worker(
    host: Annotated[str, typer.Option(help="Address of /healthz, /readyz and /metrics.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Their port; 0 for any free port.")] = 8001,
) -> None:
    """Run jobs, batches and webhooks of servers that share the database and the storage."""
    with serving.refusals():
        settings = Settings.load()
        settings.refuse_unsafe_address(host)
        settings.refuse_missing_packages()
        serving.print_warnings(settings, host)
        application = _create_app(settings)
    serving.run(
        application,
        settings,
        host,
        port,
        lambda bound_port: f"bgeraser worker runs jobs; its health: http://{host}:{bound_port}/readyz",
    )


def _create_app(settings: Settings) -> "FastAPI":
    # Imported here, because the other commands do not need them.
    from api.durable.engine import EnginePolicy
    from api.http.worker_app import create_worker
    from web.bootstrap import open_server_services

    services = replace(open_server_services(settings), engine_policy=EnginePolicy.ALWAYS)
    return create_worker(services, settings)
