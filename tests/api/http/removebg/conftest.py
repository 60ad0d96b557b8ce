"""An API with real workers, and a host from which it fetches."""

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from sqlmodel import Session, select

from billing.ledger import ledger
from billing.ledger.models import Account
from billing.ledger.plans import PlanName
from tests.support.apps import LocalApi, local_api
from tests.support.checkpoints import models_dir
from tests.support.remote_host import RemoteHost, files_of, running_host


@dataclass
class Drop:
    """The drop-in as one account uses it."""

    api: LocalApi
    host: RemoteHost
    key: str
    email: str

    def post(self, *, accept: str | None = None, **options: object) -> httpx.Response:
        headers = {"X-Api-Key": self.key} | ({} if accept is None else {"Accept": accept})
        extra = options.pop("headers", {})
        assert isinstance(extra, dict)
        return self.api.request("POST", "/v1.0/removebg", headers=headers | extra, **options)

    def account(self, session: Session) -> Account:
        return session.exec(select(Account).where(Account.email == self.email)).one()

    def credits(self) -> tuple[int, int]:
        """Credits available and held, from the database."""
        with self.api.services.database.transaction() as session:
            account = self.account(session)
            return account.available, account.held

    def spend_all(self) -> None:
        """Leave no credit."""
        now = self.api.clock()
        with self.api.services.database.transaction() as session:
            account = self.account(session)
            for number in range(account.available):
                held = ledger.hold(
                    session,
                    account,
                    reference=f"request:{account.id}:{number}",
                    lease_owner="test",
                    lease_seconds=60,
                    now=now,
                )
                ledger.capture(session, held.id, lease_owner="test", now=now)
                session.refresh(account)


@pytest.fixture(scope="package")
def remote_host() -> Iterator[RemoteHost]:
    with running_host() as host:
        yield host


@pytest.fixture(scope="package")
def drop_api(tmp_path_factory: pytest.TempPathFactory, remote_host: RemoteHost) -> Iterator[LocalApi]:
    # Only the small network, so that a call takes a fraction of a second.
    fast_models = tmp_path_factory.mktemp("models")
    (fast_models / "u2netp.onnx").symlink_to(models_dir() / "u2netp.onnx")
    with local_api(
        tmp_path_factory.mktemp("drop"),
        has_workers=True,
        models_dir=fast_models,
        remote_files=files_of(remote_host, seconds=2.0),
    ) as api:
        yield api


@pytest.fixture
def drop(drop_api: LocalApi, remote_host: RemoteHost, request: pytest.FixtureRequest) -> Drop:
    """A new account of the Business plan on the package's API."""
    return new_drop(drop_api, remote_host, request, PlanName.BUSINESS)


@pytest.fixture
def free_drop(drop_api: LocalApi, remote_host: RemoteHost, request: pytest.FixtureRequest) -> Drop:
    """A new account of the free plan: 15 credits, 20 calls a minute."""
    return new_drop(drop_api, remote_host, request, PlanName.FREE)


def new_drop(api: LocalApi, host: RemoteHost, request: pytest.FixtureRequest, plan: PlanName) -> Drop:
    email = f"{abs(hash(request.node.nodeid))}@example.com"
    drop = Drop(api, host, api.new_key(email, plan), email)
    # The plan's credits are granted on first use.
    assert api.request("GET", "/v1.0/account", headers={"X-Api-Key": drop.key}).status_code == 200
    return drop
