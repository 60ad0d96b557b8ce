"""What a run of a job does when its worker or its process ends, and what it leaves to the next run."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from api.jobs.models import Job, JobStatus
from billing.ledger import ledger
from billing.ledger.models import Account, Hold
from billing.ledger.plans import PlanName
from tests.support.apps import LocalApi, local_api
from tests.support.job_calls import PREFER, job_of
from tests.support.ml.backends import children_pids
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.waiting import wait_until

#: Takes a worker seconds.
FORM: dict[str, Any] = {"format": "avif", "quality": "100"}


def slow_picture(number: int) -> bytes:
    return jpeg_bytes(np.tile(photo("motorcycle_left")[number:], (4, 4, 1)))


@pytest.fixture
def api(tmp_path: Path) -> Iterator[LocalApi]:
    """One whose engine runs. A process can have one engine at a time."""
    with local_api(tmp_path, has_workers=True) as opened:
        opened.start(opened.services.engine.run_forever)
        yield opened
        opened.call(opened.services.engine.close)


@pytest.fixture
def key(api: LocalApi) -> str:
    return api.new_key("someone@example.com", PlanName.STANDARD)


def begun_job(api: LocalApi, key: str, number: int) -> str:
    """The id of a job that a worker has begun."""
    answer = api.request(
        "POST",
        "/api/tools/crop",
        files={"image": slow_picture(number)},
        data=FORM,
        headers={"X-Api-Key": key, **PREFER},
    )
    job_id = job_of(answer)
    wait_until(lambda: row(api, job_id).status == JobStatus.RUNNING)
    wait_until(lambda: api.services.backend.state().running == 1)
    return job_id


def row(api: LocalApi, job_id: str) -> Job:
    with api.services.database.transaction() as session:
        return session.get_one(Job, job_id)


def balance(api: LocalApi, job: Job) -> tuple[int, int]:
    with api.services.database.transaction() as session:
        account = session.get_one(Account, job.account_id)
        return account.available, account.held


def owner_of(api: LocalApi, job: Job) -> str:
    with api.services.database.transaction() as session:
        return session.get_one(Hold, job.hold_id).lease_owner


def test_a_job_whose_worker_dies_is_run_again_and_charged_once(api: LocalApi, key: str) -> None:
    job_id = begun_job(api, key, 0)
    for pid in children_pids():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: JobStatus(row(api, job_id).status).is_final)
    job = row(api, job_id)
    assert (job.status, job.losses, job.runs) == (JobStatus.SUCCEEDED, 1, 2)
    assert balance(api, job) == (499, 0)


def test_a_process_that_ends_leaves_its_jobs_to_others_with_their_credit(api: LocalApi, key: str) -> None:
    job_id = begun_job(api, key, 1)
    api.services.engine.begin_stop()
    api.call(api.services.engine.close)
    job = row(api, job_id)
    assert (job.status, job.losses) == (JobStatus.QUEUED, 0)
    assert owner_of(api, job) == ledger.WAITING
    assert balance(api, job) == (499, 1)
