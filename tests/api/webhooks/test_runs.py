"""Messages reach receivers that were down, for up to three days, and what is given up can be sent again."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, func, select

from api import cleanup
from api.batches import progress
from api.batches import service as batches
from api.batches.descriptions import describe as describe_batch
from api.batches.models import Batch
from api.jobs import service as jobs
from api.jobs import transitions
from api.jobs.descriptions import describe
from api.jobs.models import Job, JobStatus
from api.webhooks import deliveries, endpoints, outbox, runs
from api.webhooks.models import (
    DeliveryStatus,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
    WebhookMessage,
)
from api.webhooks.runs import WebhookRunner
from billing.ledger.models import Account
from ml.errors import NothingFound
from tests.support.apps import LocalApi, local_api
from tests.support.batch_rows import end_job, make_batch
from tests.support.job_rows import make_job
from tests.support.load import account_with
from tests.support.waiting import wait_until
from tests.support.webhook_receiver import (
    WebhookReceiver,
    running_receiver,
    sender_for,
    set_receivers_clock,
)

HOUR = timedelta(hours=1)
ALL = WebhookEvent.selectable()


@pytest.fixture(scope="module")
def host() -> Iterator[WebhookReceiver]:
    with running_receiver() as running:
        yield running


class Sending:
    """An account with a webhook, on a server whose clock only tests move. Its engine does not run."""

    def __init__(self, api: LocalApi, receiver: WebhookReceiver) -> None:
        self.api = api
        self.clock = api.clock
        self.receiver = receiver
        self.runner = WebhookRunner(api.services)
        with self.transaction() as session:
            self.account_id = account_with(session, credits=50).id
            endpoint = endpoints.create(session, self.account_id, receiver.url, ALL, self.clock())
            self.endpoint_id, receiver.secret = endpoint.id, endpoint.secret

    def transaction(self) -> Any:
        return self.api.services.database.transaction()

    def job(self, status: JobStatus = JobStatus.SUCCEEDED, callback_url: str | None = None) -> dict[str, Any]:
        """The data of a job that has just ended."""
        with self.transaction() as session:
            job = make_job(session, self.account_id, self.clock())
            job.callback_url = callback_url
            transitions.start(job, self.clock())
            if status is JobStatus.FAILED:
                transitions.fail_and_release(session, job, NothingFound("nothing"), self.clock())
            elif status is JobStatus.CANCELLED:
                transitions.cancel(session, job, self.clock())
            else:
                transitions.finish(session, job, status, self.clock())
            session.flush()
            return describe(session, job)

    def send_due(self) -> None:
        """Make every attempt that is due."""
        with self.transaction() as session:
            tasks = self.runner.unfinished(session, "", 1000)
            pending = {row.id: row for row in session.exec(select(WebhookDelivery))}
        for task in tasks:
            due_at = pending[task.id.partition(".")[0]].next_attempt_at
            if due_at is not None and due_at <= self.clock():
                self.api.call(self.runner.run, task.id)

    def wait_for_next(self) -> None:
        """Move the clock to the next attempt, and make it."""
        with self.transaction() as session:
            due_at = session.exec(select(func.min(WebhookDelivery.next_attempt_at))).one()
        self.clock.now = max(self.clock(), due_at)
        self.send_due()

    def rows(self) -> list[WebhookDelivery]:
        with self.transaction() as session:
            return list(session.exec(select(WebhookDelivery).order_by(WebhookDelivery.created_at)))  # type: ignore[arg-type]

    def statuses(self) -> list[str]:
        return [row.status for row in self.rows()]


@pytest.fixture
def sending(
    migrated_database_url: str,
    tmp_path: Path,
    host: WebhookReceiver,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Sending]:
    receiver = WebhookReceiver(host.host)
    with local_api(tmp_path, database_url=migrated_database_url, webhook_sender=sender_for(host.host)) as api:
        set_receivers_clock(monkeypatch, api.clock)
        yield Sending(api, receiver)


def test_a_receiver_that_was_down_for_an_hour_gets_everything(sending: Sending) -> None:
    receiver, began = sending.receiver, sending.clock()
    receiver.is_down = True
    sent = [sending.job(JobStatus.FAILED if number % 2 else JobStatus.SUCCEEDED) for number in range(6)]
    sending.send_due()
    while sending.clock() < began + HOUR:
        sending.wait_for_next()
    assert receiver.refused_connections >= 5 * 6
    assert receiver.messages == []
    receiver.is_down = False
    while DeliveryStatus.PENDING in sending.statuses():
        sending.wait_for_next()
    # Verified by the library, although hours have passed: each attempt has its own timestamp and signature.
    assert {json.dumps(message.verified["data"], sort_keys=True) for message in receiver.messages} == {
        json.dumps(job, sort_keys=True) for job in sent
    }
    assert sorted(receiver.events()) == ["job.failed"] * 3 + ["job.succeeded"] * 3
    assert len({message.id for message in receiver.messages}) == 6
    assert all(row.attempts == len(json.loads(row.log)) for row in sending.rows())


def test_the_body_is_that_of_the_jobs_get(sending: Sending) -> None:
    job = sending.job(JobStatus.FAILED)
    sending.send_due()
    (message,) = sending.receiver.messages
    assert message.headers["content-type"] == "application/json"
    assert message.verified == {"success": True, "data": job, "requestId": message.verified["requestId"]}
    assert job["error"]["code"] == "NOTHING_FOUND"


def test_a_message_is_given_up_after_three_days_and_can_be_sent_again(sending: Sending) -> None:
    receiver, began = sending.receiver, sending.clock()
    receiver.status = "500 Internal Server Error"
    sending.job()
    sending.send_due()
    while sending.statuses() == [DeliveryStatus.PENDING]:
        sending.wait_for_next()
    assert len(receiver.messages) == len(runs.RETRY_DELAYS) + 1
    assert timedelta(days=2.5) < sending.clock() - began < outbox.RETENTION - 12 * HOUR
    (failed,) = sending.rows()
    assert (failed.status, failed.next_attempt_at) == (DeliveryStatus.FAILED, None)
    assert [entry["error"] for entry in json.loads(failed.log)] == ["ERROR_STATUS"] * len(receiver.messages)
    receiver.status = "200 OK"
    with sending.transaction() as session:
        endpoint = endpoints.lock(session, sending.account_id, sending.endpoint_id, sending.clock())
        deliveries.redeliver(session, endpoint, failed.id, sending.clock(), sending.api.services.engine)
    sending.send_due()
    assert sending.statuses() == [DeliveryStatus.FAILED, DeliveryStatus.SUCCEEDED]
    assert len({message.id for message in receiver.messages}) == 1
    assert receiver.messages[-1].body == receiver.messages[0].body


def test_pauses_differ_so_that_a_receiver_does_not_get_all_retries_at_once(sending: Sending) -> None:
    sending.receiver.is_down = True
    for _ in range(4):
        sending.job()
    sending.send_due()
    due = [row.next_attempt_at for row in sending.rows()]
    assert len(set(due)) == 4


def test_410_disables_the_endpoint_and_ends_what_waits_for_it(sending: Sending) -> None:
    receiver = sending.receiver
    receiver.status = "410 Gone"
    for _ in range(3):
        sending.job()
    sending.send_due()
    assert len(receiver.messages) == 1
    assert sending.statuses() == [DeliveryStatus.FAILED] * 3
    receiver.status = "200 OK"
    sending.job()
    sending.send_due()
    assert len(receiver.messages) == 1
    with sending.transaction() as session:
        endpoint = session.get_one(WebhookEndpoint, sending.endpoint_id)
        shown = deliveries.describe_endpoint(endpoint, sending.clock())
        assert (shown["enabled"], shown["disabledReason"]) == (False, "The receiver answered 410 Gone.")
        endpoints.change(endpoint, sending.clock(), enabled=True)
    sending.job()
    sending.send_due()
    assert len(receiver.messages) == 2


def test_410_of_a_former_url_disables_nothing_and_the_new_url_gets_the_message(sending: Sending) -> None:
    former = sending.receiver
    current = WebhookReceiver(former.host, "/moved")
    current.secret = former.secret
    sending.job()
    sending.job()

    def move() -> None:
        with sending.transaction() as session:
            endpoint = session.get_one(WebhookEndpoint, sending.endpoint_id)
            endpoints.change(endpoint, sending.clock(), url=current.url)

    former.status, former.before_answer = "410 Gone", move
    sending.send_due()
    assert (len(former.messages), len(current.messages)) == (1, 1)
    with sending.transaction() as session:
        assert session.get_one(WebhookEndpoint, sending.endpoint_id).disabled_at is None
    sending.wait_for_next()
    assert sending.statuses() == [DeliveryStatus.SUCCEEDED] * 2
    assert {message.id for message in former.messages} < {message.id for message in current.messages}
    logs = [json.loads(row.log) for row in sending.rows()]
    assert sorted(entry["statusCode"] for log in logs for entry in log) == [200, 200, 410]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("200 OK", DeliveryStatus.SUCCEEDED),
        ("500 Internal Server Error", DeliveryStatus.FAILED),
        ("410 Gone", DeliveryStatus.FAILED),
    ],
)
def test_an_attempt_during_which_the_webhook_is_disabled_is_in_the_log(
    sending: Sending, answer: str, status: DeliveryStatus
) -> None:
    receiver = sending.receiver
    sending.job()
    (row,) = sending.rows()

    def disable() -> None:
        with sending.transaction() as session:
            endpoint = session.get_one(WebhookEndpoint, sending.endpoint_id)
            endpoints.change(endpoint, sending.clock(), enabled=False)
            session.flush()
            runs.give_up_pending(session, sending.endpoint_id, sending.clock())

    receiver.status, receiver.before_answer = answer, disable
    for _ in range(2):  # Twice is once: another process may have taken this one for dead.
        sending.api.call(sending.runner.run, outbox.task_of(row.id, 0, sending.account_id).id)
    (row,) = sending.rows()
    (entry,) = json.loads(row.log)
    assert entry["statusCode"] == int(answer[:3])
    assert (row.status, row.attempts, row.next_attempt_at) == (status, 1, None)
    with sending.transaction() as session:
        reason = session.get_one(WebhookEndpoint, sending.endpoint_id).disabled_reason
        assert reason == "It was disabled through the API."
    sending.clock.move(hours=1)
    sending.send_due()
    assert len(receiver.messages) == 1


def test_an_attempt_that_is_made_twice_counts_once(sending: Sending) -> None:
    """The process may end, or be taken for dead, between the receiver's answer and the record of it."""
    sending.receiver.status = "503 Service Unavailable"
    sending.job()
    with sending.transaction() as session:
        (task,) = sending.runner.unfinished(session, "", 10)
    sending.api.call(sending.runner.run, task.id)
    sending.api.call(sending.runner.run, task.id)
    assert len(sending.receiver.messages) == 1
    (row,) = sending.rows()
    assert row.attempts == 1
    with sending.transaction() as session:
        (due,) = sending.runner.unfinished(session, "", 10)
        assert due.id != task.id  # The engine never runs an id twice.
        assert sending.runner.unfinished(session, due.id, 10) == []


def test_a_cancelled_job_is_not_announced_and_unsubscribed_events_are_not_sent(sending: Sending) -> None:
    with sending.transaction() as session:
        endpoint = session.get_one(WebhookEndpoint, sending.endpoint_id)
        endpoints.change(endpoint, sending.clock(), events=[WebhookEvent.JOB_FAILED])
    sending.job(JobStatus.CANCELLED)
    sending.job(JobStatus.SUCCEEDED)
    sending.job(JobStatus.FAILED)
    sending.send_due()
    assert sending.receiver.events() == ["job.failed"]
    with sending.transaction() as session:
        assert session.exec(select(func.count()).select_from(WebhookMessage)).one() == 1


def test_a_callback_url_is_notified_of_its_job_with_the_accounts_callback_secret(sending: Sending) -> None:
    receiver, now = sending.receiver, sending.clock()
    with sending.transaction() as session:
        endpoints.remove(session, session.get_one(WebhookEndpoint, sending.endpoint_id))
        signing = endpoints.lock(session, sending.account_id, endpoints.CALLBACKS, now)
        receiver.secret = signing.secret
    job = sending.job(callback_url=receiver.url)
    sending.job()
    receiver.status = "410 Gone"
    sending.send_due()
    assert [message.verified["data"] for message in receiver.messages] == [job]
    receiver.status = "200 OK"
    # Only this delivery has failed: the next job may name a URL that works.
    sending.job(callback_url=receiver.url)
    sending.send_due()
    assert sending.statuses() == [DeliveryStatus.FAILED, DeliveryStatus.SUCCEEDED]


def test_after_a_rotation_both_secrets_verify_for_a_day(sending: Sending) -> None:
    receiver = sending.receiver
    former = receiver.secret
    with sending.transaction() as session:
        endpoint = endpoints.lock(session, sending.account_id, sending.endpoint_id, sending.clock())
        endpoints.rotate(endpoint, sending.clock())
        session.flush()
        current = endpoint.secret
    sending.job()
    sending.send_due()
    assert [receiver.verify(receiver.messages[0], secret) for secret in (former, current)] == [True, True]
    sending.clock.move(hours=24)
    sending.job()
    sending.send_due()
    assert [receiver.verify(receiver.messages[1], secret) for secret in (former, current)] == [False, True]


def test_after_two_rotations_within_a_day_the_first_secret_no_longer_verifies(sending: Sending) -> None:
    receiver = sending.receiver
    secrets = [receiver.secret]
    for _ in range(2):
        with sending.transaction() as session:
            endpoint = endpoints.lock(session, sending.account_id, sending.endpoint_id, sending.clock())
            endpoints.rotate(endpoint, sending.clock())
            secrets.append(endpoint.secret)
    sending.job()
    sending.send_due()
    assert [receiver.verify(receiver.messages[0], secret) for secret in secrets] == [False, True, True]


@pytest.mark.parametrize("end", ["completed", "cancelled"])
def test_a_batch_is_announced_once_and_its_jobs_are_not(sending: Sending, end: str) -> None:
    """Also if two processes find at once that nothing is left."""
    services, receiver = sending.api.services, sending.receiver
    sending.api.call(services.engine.prepare)
    with sending.transaction() as session:
        batch_id = make_batch(session, sending.account_id, sending.clock(), ["a.png", "b.png"]).id

    def advance(_: int = 0) -> None:
        services.database.submit(lambda session: progress.advance(session, services, batch_id, 1)).result()

    def cancel(_: int = 0) -> None:
        sending.api.call(batches.cancel, services, sending.account_id, batch_id)

    advance()
    with sending.transaction() as session:
        one, other = session.exec(select(Job)).all()
        end_job(session, one, sending.clock())
        end_job(session, other, sending.clock(), NothingFound("nothing was found"))
    assert sending.rows() == []
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(advance if end == "completed" else cancel, range(4)))
    advance()
    cancel()
    assert len(sending.rows()) == 1
    sending.send_due()
    (message,) = receiver.messages
    with sending.transaction() as session:
        batch = describe_batch(session, session.get_one(Batch, batch_id))
    assert (message.event, message.verified["data"]) == ("batch.completed", batch)
    assert (batch["status"], batch["counts"]["succeeded"], batch["counts"]["failed"]) == (end, 1, 1)


def test_a_batch_that_is_retried_is_announced_at_each_of_its_ends(sending: Sending) -> None:
    services, receiver = sending.api.services, sending.receiver
    sending.api.call(services.engine.prepare)
    with sending.transaction() as session:
        batch = make_batch(session, sending.account_id, sending.clock(), ["a.png"])
        batch.callback_url = receiver.url
        batch_id = batch.id

    def finish(error: Exception | None) -> None:
        def advance(session: Session) -> None:
            activation = session.get_one(Batch, batch_id).activation
            progress.advance(session, services, batch_id, activation)

        services.database.submit(advance).result()
        with sending.transaction() as session:
            end_job(session, session.exec(select(Job)).one(), sending.clock(), error)
        services.database.submit(advance).result()

    finish(NothingFound("nothing was found"))
    for _ in range(2):
        sending.api.call(batches.retry, services, sending.account_id, batch_id)
    assert len(sending.rows()) == 2
    finish(None)
    sending.api.call(batches.retry, services, sending.account_id, batch_id)  # There is nothing to retry.
    sending.send_due()
    # The webhook and the `callback_url` get each of the two messages.
    assert sorted(Counter(message.id for message in receiver.messages).values()) == [2, 2]
    ends = {message.id: json.loads(message.body)["data"]["counts"]["failed"] for message in receiver.messages}
    assert sorted(ends.values()) == [0, 1]


def test_a_batch_of_a_closed_account_is_not_announced(sending: Sending) -> None:
    services = sending.api.services
    sending.api.call(services.engine.prepare)
    with sending.transaction() as session:
        batch = make_batch(session, sending.account_id, sending.clock(), ["a.png"])
        batch.callback_url = sending.receiver.url
        session.get_one(Account, sending.account_id).closed_at = sending.clock()
        batch_id = batch.id
    services.database.submit(lambda session: progress.advance(session, services, batch_id, 1)).result()
    with sending.transaction() as session:
        assert session.get_one(Batch, batch_id).status == "cancelled"
    assert sending.rows() == []


def test_a_message_whose_transaction_is_rolled_back_is_never_sent(sending: Sending) -> None:
    def finish_and_fail() -> None:
        with sending.transaction() as session:
            job = make_job(session, sending.account_id, sending.clock())
            transitions.finish(session, job, JobStatus.SUCCEEDED, sending.clock())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        finish_and_fail()
    sending.send_due()
    assert sending.receiver.messages == []


def test_old_messages_are_forgotten_and_so_is_all_of_a_deleted_account(sending: Sending) -> None:
    def counts() -> list[int]:
        with sending.transaction() as session:
            tables = (WebhookMessage, WebhookDelivery, WebhookEndpoint)
            return [session.exec(select(func.count()).select_from(table)).one() for table in tables]

    def clean_up(now: datetime) -> None:
        sending.api.call(cleanup.delete_expired_rows, sending.api.services.database, now)

    sending.job()
    sending.send_due()
    clean_up(sending.clock() + outbox.RETENTION - HOUR)
    assert counts() == [1, 1, 1]
    clean_up(sending.clock() + outbox.RETENTION)
    assert counts() == [0, 0, 1]
    sending.job(callback_url=sending.receiver.url)
    with sending.transaction() as session:
        unfinished = make_job(session, sending.account_id, sending.clock())
        unfinished.callback_url = sending.receiver.url
    with sending.transaction() as session:
        jobs.delete_all(session, sending.account_id, sending.clock())
        endpoints.delete_all(session, sending.account_id, sending.clock())
        assert session.exec(select(Job)).all() == []
    assert counts() == [0, 0, 0]


def test_the_next_process_sends_what_the_last_one_left(
    tmp_path: Path, host: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = WebhookReceiver(host.host)
    with local_api(tmp_path, webhook_sender=sender_for(host.host)) as first:
        job = Sending(first, receiver).job()
    with local_api(tmp_path, webhook_sender=sender_for(host.host)) as second:
        set_receivers_clock(monkeypatch, second.clock)
        second.start(second.services.engine.run_forever)
        wait_until(lambda: len(receiver.messages) == 1)
        assert receiver.messages[0].verified["data"] == job
        second.call(second.services.engine.close)
