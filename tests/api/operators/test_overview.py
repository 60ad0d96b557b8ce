"""The figures of the service at a glance."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlmodel import Session

from api.calls import call_log
from api.calls.models import CallRecord
from api.db.database import Database
from api.images.local_storage import LocalStorage
from api.jobs import transitions
from api.operators import overview
from api.operators.overview import ToolFigures
from api.payments.models import Reconciliation
from api.webhooks.models import DeliveryStatus
from billing.identifiers import new_id
from ml.checkpoints.registry import CHECKPOINTS, State
from ml.errors import NothingFound
from tests.support.batch_rows import make_image
from tests.support.builders import NOON
from tests.support.job_rows import make_job
from tests.support.load import account_with
from tests.support.webhook_rows import make_delivery

HOUR = timedelta(hours=1)


def log(session: Session, account_id: str, tool: str, status: int, ms: int, age: timedelta = HOUR) -> None:
    at = NOON - age
    call_log.add(
        session,
        CallRecord(
            request_id=new_id("req"),
            account_id=account_id,
            tool=tool,
            day=at.date().isoformat(),
            started_at=at,
            duration_ms=ms,
            status_code=status,
        ),
    )


def test_calls_of_the_last_day_are_counted_by_tool(database: Database) -> None:
    with database.transaction() as session:
        account_id = account_with(session, 0).id
        for ms in range(1, 101):
            log(session, account_id, "crop", 200, ms)
        for status, count in ((422, 3), (500, 1), (503, 1)):
            for _ in range(count):
                log(session, account_id, "crop", status, 9_999)
        log(session, account_id, "upscale", 402, 1)
        log(session, account_id, "brush", 200, 1, age=25 * HOUR)
    with database.transaction() as session:
        found = overview.calls_of_last_day(session, NOON)
    assert found.tools == [
        ToolFigures("crop", 105, 3, 2, median_ms=50, p95_ms=95),
        ToolFigures("upscale", 1, 1, 0, median_ms=None, p95_ms=None),
    ]
    assert found.tools[0].failed_share == 2 / 105
    assert not found.is_partial


def test_only_the_latest_calls_are_counted_when_there_are_many(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "CALLS_MAX", 10)
    with database.transaction() as session:
        account_id = account_with(session, 0).id
        for number in range(20):
            log(session, account_id, "crop", 200, number, age=HOUR + timedelta(seconds=20 - number))
        found = overview.calls_of_last_day(session, NOON)
    assert found.is_partial
    assert (found.tools[0].calls, found.tools[0].median_ms) == (10, 14)


def test_failures_name_their_account_and_reason(database: Database) -> None:
    with database.transaction() as session:
        account_id = account_with(session, 9).id
        job = make_job(session, account_id, NOON)
        make_job(session, account_id, NOON)
        transitions.fail_and_release(session, job, NothingFound("nothing"), NOON)
        failed, tried = (make_delivery(session, account_id, NOON) for _ in range(2))
        failed.status, failed.next_attempt_at, failed.finished_at = DeliveryStatus.FAILED, None, NOON
        failed.log = '[{"statusCode": 200}, {"statusCode": 500}]'
        tried.status, tried.attempts, tried.next_attempt_at = DeliveryStatus.PENDING, 2, NOON
    with database.transaction() as session:
        found = overview.failures(session)
    assert [(each.row_id, each.account_id, each.why) for each in found.jobs] == [
        (job.id, account_id, "NOTHING_FOUND")
    ]
    assert [(each.row_id, each.account_id, each.why) for each in found.deliveries] == [
        (failed.id, account_id, "500")
    ]
    assert found.retrying == 1


def test_the_latest_comparison_with_stripe_is_found(database: Database) -> None:
    with database.transaction() as session:
        assert overview.last_reconciliation(session) is None
        for hours in (3, 1, 2):
            at = NOON - hours * HOUR
            session.add(
                Reconciliation(
                    id=new_id("rec"), finished_at=at, customers=hours, differed=0, failed=0, details="{}"
                )
            )
        session.flush()
        found = overview.last_reconciliation(session)
        assert found is not None
        assert found.customers == 1


def test_sizes(database: Database, tmp_path: Path) -> None:
    with database.transaction() as session:
        account_id = account_with(session, 0).id
        make_image(session, account_id, NOON).artefact_bytes = 41
        make_image(session, account_id, NOON)
        session.flush()
        assert overview.stored_images(session) == (2, 43)
        assert overview.database_bytes(session, database) > 100_000
    disk = overview.disk_of(LocalStorage(tmp_path / "images"))
    assert disk is not None
    assert min(disk) > 0


def test_checkpoints_are_missing_where_there_are_none(tmp_path: Path) -> None:
    found = overview.checkpoint_states(tmp_path)
    assert [each.name for each, _ in found] == list(CHECKPOINTS)
    assert {state for _, state in found} == {State.MISSING}
    assert all(each.command.startswith("bgeraser models pull") for each, _ in found)
