"""The real server as its own process on a free port, with its own data directory and the real checkpoints.

`server` is one for the whole session. `start_server` starts further ones, for tests that stop them, change
their settings or read their memory. `server_factory` does so for fixtures of a wider scope than one test.
"""

import os
import re
import resource
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest
from sqlmodel import Session

from api.auth import api_keys
from api.db.database import Database
from billing.ledger import accounts, audit, ledger
from billing.ledger.models import Account, GrantKind
from billing.ledger.plans import PlanName
from billing.timestamps import utc_now
from tests.support.checkpoints import models_dir

__all__ = ["Customer", "RunningServer", "server", "server_factory", "start_server"]

#: Where a test may serve a page that the session's server lets call the API.
OTHER_PORT = 20_000 + os.getpid() % 10_000
OTHER_ORIGIN = f"http://127.0.0.1:{OTHER_PORT}"

_ROOT = Path(__file__).resolve().parents[2]
_COMMAND = [sys.executable, "-m", "web.cli", "serve", "--port"]
_TLS = ssl.create_default_context()  # made once: making it takes longer than a call
_START_SECONDS = 240.0  # the first start on a machine compiles the engines
_STOP_SECONDS = 60.0


@dataclass(frozen=True)
class Customer:
    """An account of one test, with its API key."""

    account_id: str
    email: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


class RunningServer:
    """`address` is where it listens. `key` is one of an account that has credits to spare."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        address: str,
        data_dir: Path,
        log: Path,
        database_url: str | None = None,
    ) -> None:
        self.process = process
        self.address = address
        self.data_dir = data_dir
        self._log = log
        self.database = Database(database_url or f"sqlite:///{data_dir / 'bgeraser.db'}")
        self.customer = self.new_customer(plan=PlanName.BUSINESS)
        self.key = self.customer.key

    def new_customer(self, plan: PlanName = PlanName.FREE, credits: int | None = None) -> Customer:
        """An account with the plan's credits, or with exactly `credits`."""
        now = utc_now()
        with self.database.transaction() as session:
            email = f"{secrets.token_hex(6)}@example.com"
            account = accounts.create(session, email=email, plan=plan, now=now)
            ledger.refresh(session, account, now)
            if credits is not None:
                _leave(session, account, credits)
            _, key = api_keys.create(session, account.id, "test", now)
            return Customer(account.id, email, key)

    def client(self, customer: Customer | None = None) -> httpx.Client:
        """A client with `customer`'s key; without one, with none."""
        headers = customer.headers if customer is not None else {}
        return httpx.Client(base_url=self.address, headers=headers, timeout=120, verify=_TLS)

    def balance(self, customer: Customer) -> tuple[int, int]:
        """Credits available and held, from the database."""
        with self.database.transaction() as session:
            account = session.get_one(Account, customer.account_id)
            return account.available, account.held

    def drifts(self) -> list[object]:
        """Differences between the books and their entries: none, whatever a test did."""
        with self.database.transaction() as session:
            return list(audit.audit(session))

    def log_text(self) -> str:
        return self._log.read_text()

    def memory_bytes(self) -> int:
        """Resident memory of the server process itself, without its workers."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def stop(self) -> int:
        """Ask it to end as an operator does; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the server did not stop\n{self.log_text()[-3000:]}") from None


StartServer = Callable[..., RunningServer]
ServerFactory = Callable[..., AbstractContextManager[RunningServer]]


@pytest.fixture(scope="session")
def server_factory() -> ServerFactory:
    """`server_factory(directory, settings)` runs a server with its data in `directory`.

    Every fixture that starts a server depends on this one, which is how tests that need one are marked.
    """
    return running_server


@pytest.fixture(scope="session")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, server_factory: ServerFactory
) -> Iterator[RunningServer]:
    """The session's server. Each test creates accounts of its own on it.

    Its database is SQLite; with TEST_SERVER_DATABASE=postgresql it is PostgreSQL.
    """
    settings = {"BGERASER_CORS_ORIGINS": OTHER_ORIGIN}
    if os.environ.get("TEST_SERVER_DATABASE") == "postgresql":
        postgres = request.getfixturevalue("postgres")
        settings["BGERASER_DATABASE_URL"] = postgres.url(postgres.create_database())
    with server_factory(tmp_path_factory.mktemp("server"), settings) as running:
        yield running
        assert running.process.poll() is None, "a test ended the server of all tests"
        assert running.drifts() == []


@pytest.fixture
def start_server(tmp_path: Path, server_factory: ServerFactory) -> Iterator[StartServer]:
    """`start_server(BGERASER_WORKERS="1")` starts one with these settings; it ends with the test."""
    with _Servers(tmp_path) as servers:
        yield servers.start


class _Servers:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open: list[RunningServer] = []

    def __enter__(self) -> "_Servers":
        return self

    def __exit__(self, *_: object) -> None:
        for running in self._open:
            running.database.close()
            running.stop()

    def start(
        self, data_dir: Path | None = None, descriptors: tuple[int, int] | None = None, **settings: str
    ) -> RunningServer:
        """`descriptors`: how many files it may open, and how many it may raise that to."""
        place = data_dir or self._directory / f"server{len(self._open)}"
        running = _start(place, settings, descriptors)
        self._open.append(running)
        return running


@contextmanager
def running_server(directory: Path, settings: dict[str, str], port: int = 0) -> Iterator[RunningServer]:
    running = _start(directory, settings, port=port)
    try:
        yield running
    finally:
        running.database.close()
        running.stop()


def _start(
    data_dir: Path, settings: dict[str, str], descriptors: tuple[int, int] | None = None, port: int = 0
) -> RunningServer:
    data_dir.mkdir(parents=True, exist_ok=True)
    # One file a process, because several may share a data directory.
    log = data_dir / f"server-{len(list(data_dir.glob('server-*.log')))}.log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BGERASER_")}
    environment |= {
        "BGERASER_DATA_DIR": str(data_dir),
        "BGERASER_MODELS_DIR": str(models_dir()),
        "BGERASER_LOG_FORMAT": "json",
        **settings,
    }
    limiting = None if descriptors is None else partial(_limit_descriptors, descriptors)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*_COMMAND, str(port)],
            cwd=_ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=limiting,  # noqa: PLW1509 - it sets a limit and takes no lock
        )
    try:
        address = _await_ready(process, log)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return RunningServer(process, address, data_dir, log, settings.get("BGERASER_DATABASE_URL"))


def free_port() -> int:
    """One that nothing listens on at the moment, for a server whose settings must name it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _limit_descriptors(limits: tuple[int, int]) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def _await_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server ended while starting\n{log.read_text()[-3000:]}"
        greetings = re.findall(r"bgeraser serves at (http://127\.0\.0\.1:\d+)", log.read_text())
        if greetings:
            address = str(greetings[-1])
            with suppress(httpx.TimeoutException):  # others may keep the processors busy
                if httpx.get(f"{address}/readyz").status_code == 200:
                    return address
        time.sleep(0.1)
    raise AssertionError(f"the server did not get ready\n{log.read_text()[-3000:]}")


def _leave(session: Session, account: Account, credits: int) -> None:
    """Spend or add credits until exactly `credits` are left."""
    now = utc_now()
    for _ in range(account.available - credits):
        reference = f"request:{secrets.token_hex(8)}"
        held = ledger.hold(
            session, account, reference=reference, lease_owner="test", lease_seconds=60, now=now
        )
        ledger.capture(session, held.id, lease_owner="test", now=now)
        session.refresh(account)
    if account.available < credits:
        ledger.grant(
            session,
            account,
            kind=GrantKind.GOODWILL,
            amount=credits - account.available,
            reference=f"goodwill:{secrets.token_hex(8)}",
            expires_at=None,
            now=now,
        )
