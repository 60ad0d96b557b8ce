"""A suspended account is refused by every way in, and nothing of it starts or is charged until it is back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlmodel import Session, select

from api.auth import api_keys
from api.batches import progress
from api.batches.models import Batch, BatchItem, BatchStatus, ItemStatus
from api.calls.models import CallRecord
from api.jobs import runs
from api.jobs.models import Job, JobStatus
from api.operators import acts
from api.operators.acts import ActRequest
from api.operators.audit_log import Actor
from billing.ledger import accounts
from billing.ledger.audit import audit
from billing.ledger.models import Account
from billing.ledger.plans import PlanName
from tests.support.apps import LocalApi, local_api
from tests.support.batch_rows import end_job, make_batch
from tests.support.calling import code_of, small_picture
from tests.support.job_calls import PREFER
from tests.support.job_rows import make_job
from tests.support.load import account_with

EMAIL = "someone@example.com"


class Customer:
    def __init__(self, api: LocalApi) -> None:
        self.api = api
        self.key = api.new_key(EMAIL, PlanName.STANDARD)
        self.id: str = self.run(lambda session: accounts.find_by_email(session, EMAIL).id)

    def run(self, work: Any) -> Any:
        return self.api.services.database.submit(work).result()

    def act(self, act: Any) -> None:
        self.run(lambda session: act(session, ActRequest(Actor(), self.id, "for a test", self.api.clock())))

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"X-Api-Key": self.key, **options.get("headers", {})}
        return self.api.request(method, path, **{**options, "headers": headers})

    def balance(self) -> tuple[int, int]:
        account: Account = self.run(lambda session: session.get_one(Account, self.id))
        return account.available, account.held


@pytest.fixture
def customer(tmp_path: Path) -> Iterator[Customer]:
    with local_api(tmp_path) as api:
        yield Customer(api)


WAYS_IN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a call": ("POST", "/api/tools/crop", {"files": {"image": small_picture()}}),
    "a call as JSON": ("POST", "/api/tools/crop", {"json": {"image": {"image_id": "img_x"}}}),
    "a job": ("POST", "/api/tools/crop", {"files": {"image": small_picture()}, "headers": PREFER}),
    "an upload": ("POST", "/api/images", {"files": {"image": small_picture()}}),
    "a batch": ("POST", "/api/batches", {"json": {"image_ids": '["img_x"]', "tool": "crop"}}),
    "jobs": ("GET", "/api/jobs", {}),
    "batches": ("GET", "/api/batches", {}),
    "webhooks": ("GET", "/api/webhooks", {}),
    "the account": ("GET", "/api/account", {}),
    "the usage": ("GET", "/api/usage", {}),
    "remove.bg": ("POST", "/v1.0/removebg", {"files": {"image_file": small_picture()}}),
    "remove.bg's account": ("GET", "/v1.0/account", {}),
    "an agent": ("POST", "/mcp", {"json": {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}}),
}


@pytest.mark.parametrize("way", WAYS_IN)
def test_its_key_is_refused_by_every_way_in_until_it_is_restored(customer: Customer, way: str) -> None:
    method, path, options = WAYS_IN[way]
    customer.act(acts.suspend)
    refused = customer.request(method, path, **options)
    assert refused.status_code == 403
    assert "suspended" in refused.text
    if path.startswith("/api"):
        assert code_of(refused) == "FORBIDDEN"
    assert customer.balance() == (0, 0)
    customer.act(acts.restore)
    if method == "GET":
        assert customer.request(method, path, **options).status_code == 200


def test_a_wrong_key_is_not_told_that_an_account_is_suspended(customer: Customer) -> None:
    customer.act(acts.suspend)
    (key,) = customer.run(lambda session: api_keys.usable(session, customer.id, customer.api.clock()))
    customer.run(lambda s: api_keys.revoke(s, customer.id, key.id, customer.api.clock()) and None)
    assert customer.request("GET", "/api/account").status_code == 401


def test_addresses_of_its_pictures_work_only_while_it_is_not_suspended(customer: Customer) -> None:
    stored = customer.request("POST", "/api/images", files={"image": small_picture()}).json()["data"]
    address = stored["imageUrl"].removeprefix("http://test")
    assert customer.api.request("GET", address).status_code == 200
    customer.act(acts.suspend)
    for each in (address, stored["previewUrl"].removeprefix("http://test")):
        assert code_of(customer.api.request("GET", each)) == "FORBIDDEN"
    customer.act(acts.restore)
    assert customer.api.request("GET", address).status_code == 200


def test_a_job_that_waits_ends_uncharged(customer: Customer) -> None:
    api = customer.api

    def accept(session: Session) -> tuple[str, str]:
        account_id = account_with(session, 5, now=api.clock()).id
        return account_id, make_job(session, account_id, api.clock()).id

    customer.id, job_id = customer.run(accept)
    assert customer.balance() == (4, 1)
    customer.act(acts.suspend)
    api.call(runs.JobRunner(api.services).run, job_id)
    job: Job = customer.run(lambda session: session.get_one(Job, job_id))
    assert (job.status, job.runs) == (JobStatus.FAILED, 0)
    assert '"FORBIDDEN"' in (job.error or "")
    assert customer.balance() == (5, 0)
    assert customer.run(audit) == []
    assert customer.run(lambda session: session.exec(select(CallRecord)).all()) == []


def test_a_batch_waits_and_goes_on_when_it_is_restored(customer: Customer) -> None:
    api = customer.api
    api.call(api.services.engine.prepare)

    def accept(session: Session) -> tuple[str, str]:
        account_id = account_with(session, 20, now=api.clock()).id
        return account_id, make_batch(session, account_id, api.clock(), [f"{n}.png" for n in range(10)]).id

    customer.id, batch_id = customer.run(accept)

    def advance() -> None:
        batch: Batch = customer.run(lambda session: session.get_one(Batch, batch_id))
        customer.run(lambda session: progress.advance(session, api.services, batch_id, batch.activation))

    def jobs() -> list[str]:
        return customer.run(lambda s: list(s.exec(select(Job.id).where(Job.batch_id == batch_id))))  # type: ignore[no-any-return]

    def statuses() -> set[str]:
        of_batch = select(BatchItem.status).where(BatchItem.batch_id == batch_id)
        return customer.run(lambda session: set(session.exec(of_batch)))  # type: ignore[no-any-return]

    def batch_status() -> str:
        return customer.run(lambda session: session.get_one(Batch, batch_id).status)  # type: ignore[no-any-return]

    advance()
    begun = jobs()
    assert len(begun) > 3
    done_id = begun[0]
    customer.run(lambda session: end_job(session, session.get_one(Job, done_id), api.clock()) and None)
    customer.act(acts.suspend)
    for job_id in begun[1:]:
        api.call(runs.JobRunner(api.services).run, job_id)
    advance()
    assert batch_status() == BatchStatus.BLOCKED
    assert statuses() == {ItemStatus.SUCCEEDED, ItemStatus.QUEUED}
    assert jobs() == []
    assert customer.balance() == (19, 0)  # the one that was done before
    assert customer.run(lambda session: progress.due(session, api.clock(), 10)) == []
    assert not customer.run(lambda session: progress.unblock(session, api.services, batch_id))
    customer.act(acts.restore)
    assert customer.run(lambda session: progress.due(session, api.clock(), 10)) == [batch_id]
    assert customer.run(lambda session: progress.unblock(session, api.services, batch_id))
    advance()
    assert len(jobs()) > 3
    assert customer.run(audit) == []


def test_a_batch_whose_items_have_all_ended_is_completed_although_it_is_suspended(customer: Customer) -> None:
    api = customer.api
    api.call(api.services.engine.prepare)

    def accept(session: Session) -> tuple[str, str]:
        account_id = account_with(session, 20, now=api.clock()).id
        return account_id, make_batch(session, account_id, api.clock(), ["a.png"]).id

    customer.id, batch_id = customer.run(accept)
    customer.run(lambda session: progress.advance(session, api.services, batch_id, 1))
    batch: Batch = customer.run(lambda session: session.get_one(Batch, batch_id))
    job_id = customer.run(lambda session: session.exec(select(Job.id)).one())
    customer.run(lambda session: end_job(session, session.get_one(Job, job_id), api.clock()) and None)
    customer.act(acts.suspend)
    customer.run(lambda session: progress.advance(session, api.services, batch_id, batch.activation))
    assert customer.run(lambda session: session.get_one(Batch, batch_id).status) == BatchStatus.COMPLETED
