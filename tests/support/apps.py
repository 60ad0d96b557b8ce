"""The API inside the test's own process, for rules that depend on the clock."""

import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI
from pydantic import SecretStr

from api.auth import api_keys
from api.db.database import Database
from api.db.migrations.upgrade import migrate
from api.http.app import create_api
from api.images.local_storage import LocalStorage
from api.remote_files.service import RemoteFiles
from api.services import Services
from api.settings import Settings
from api.webhooks.sender import WebhookSender
from billing.ledger import accounts
from billing.ledger.plans import PlanName
from ml.runtime.local import LocalBackend, LocalConfig
from tests.support.databases import migrated_sqlite_template

T = TypeVar("T")

SECRET = "a secret of thirty-two characters or more"


class Clock:
    """A clock that only tests move."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 12, 0, 0, 250_000, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, **amount: float) -> None:
        self.now += timedelta(**amount)


@dataclass
class LocalApi:
    """An application without a network; `request` behaves like httpx's."""

    app: FastAPI
    services: Services
    clock: Clock
    _portal: BlockingPortal

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        response: httpx.Response = self._portal.call(self._request, method, path, options)
        return response

    def call(self, work: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """What `work` returns, run where the application runs."""
        return self._portal.call(work, *arguments)

    def start(self, work: Callable[..., Awaitable[None]]) -> None:
        """Run `work` in the background, where the application runs."""
        self._portal.start_task_soon(work)

    def new_key(self, email: str, plan: PlanName = PlanName.FREE) -> str:
        """The API key of a new account."""
        with self.services.database.transaction() as session:
            account = accounts.create(session, email=email, plan=plan, now=self.clock())
            return api_keys.create(session, account.id, "test", self.clock())[1]

    async def _request(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **options)


@contextmanager
def local_api(
    directory: Path,
    clock: Clock | None = None,
    has_workers: bool = False,
    bound_host: str | None = None,
    models_dir: Path | None = None,
    remote_files: RemoteFiles | None = None,
    webhook_sender: WebhookSender | None = None,
    **settings: Any,
) -> Iterator[LocalApi]:
    """An API with its data in `directory`. Opening it there again is a restart with other `settings`.

    Without workers a call waits for ever, so only refusals can be tested. `remote_files` replaces what
    fetches callers' URLs, and `webhook_sender` what sends webhooks, because the usual ones connect to public
    hosts only.
    """
    clock = clock or Clock()
    values: dict[str, Any] = {"secret_key": SecretStr(SECRET), "data_dir": directory, **settings}
    configured = Settings(_env_file=None, **values)
    database_file = directory / "bgeraser.db"
    if configured.database_address == f"sqlite:///{database_file}" and not database_file.exists():
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(migrated_sqlite_template(), database_file)
    else:
        migrate(configured.database_address)
    database = Database(configured.database_address)
    workers = LocalConfig(models_dir or directory / "models", directory / "cache", workers=1, warm_up=False)
    backend = LocalBackend(workers)
    if has_workers:
        backend.start()
    services = Services.of(configured, database, LocalStorage(directory / "images"), backend, clock=clock)
    if remote_files is not None:
        services = replace(services, remote_files=remote_files)
    if webhook_sender is not None:
        services = replace(services, webhook_sender=webhook_sender)
    with start_blocking_portal() as portal:
        app = create_api(services, configured, bound_host=bound_host)
        yield LocalApi(app, services, clock, portal)
        portal.call(services.engine.close)
        portal.call(app.state.mcp.close)
        portal.call(services.authenticator.close)
    if has_workers:
        backend.close()
    database.close()
