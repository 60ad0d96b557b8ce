"""Servers are killed while they run jobs: every job ends with its result, and each is charged once."""

import os
import random
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from sqlmodel import col, func, select

from api.images.models import Image, ImageKind
from api.jobs.models import Job, JobStatus
from billing.ledger.audit import audit
from billing.ledger.models import Account, Entry, EntryKind
from billing.ledger.plans import PlanName
from tests.support.job_calls import crop_later, job_of
from tests.support.killing import kill, lapse_leases
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.server import Customer, RunningServer, StartServer
from tests.support.waiting import wait_until

#: Takes a worker a few tenths of a second, so that a kill finds jobs at work.
FORM = {"format": "avif", "quality": "90", "width": "100%", "height": "100%"}


def accept(server: RunningServer, customer: Customer, count: int) -> set[str]:
    """Jobs on as many different pictures; their ids."""
    pixels = photo("motorcycle_left")

    def ask(number: int) -> str:
        # Cut differently, because a JPEG would not keep a single pixel.
        picture = jpeg_bytes(pixels[number // 40 :, number % 40 :])
        return job_of(crop_later(server, customer, picture, **FORM))

    with ThreadPoolExecutor(4) as threads:
        return set(threads.map(ask, range(count)))


def statuses(server: RunningServer) -> Counter[str]:
    with server.database.transaction() as session:
        return Counter(session.exec(select(Job.status)))


def assert_each_done_and_charged_once(server: RunningServer, customer: Customer, ids: set[str]) -> None:
    with server.database.transaction() as session:
        jobs = session.exec(select(Job).where(col(Job.account_id) == customer.account_id)).all()
        assert {job.id for job in jobs} == ids
        assert Counter(job.status for job in jobs) == {JobStatus.SUCCEEDED: len(ids)}
        charged = session.exec(
            select(Entry.hold_id, func.count())
            .where(col(Entry.account_id) == customer.account_id, col(Entry.kind) == EntryKind.CAPTURE)
            .group_by(col(Entry.hold_id))
        ).all()
        assert dict(charged) == {job.hold_id: 1 for job in jobs}
        account = session.get_one(Account, customer.account_id)
        assert (account.available, account.held) == (5000 - len(ids), 0)
        results = select(func.count()).where(
            col(Image.account_id) == customer.account_id, col(Image.kind) == ImageKind.RESULT
        )
        assert session.exec(results).one() == len(ids)
        assert audit(session) == []


def test_the_jobs_of_a_killed_server_are_done_by_the_next_one(
    migrated_database_url: str, start_server: StartServer, tmp_path: Path
) -> None:
    def start() -> RunningServer:
        settings = {"BGERASER_DATABASE_URL": migrated_database_url, "BGERASER_WORKERS": "1"}
        return start_server(tmp_path / "data", **settings)

    server = start()
    customer = server.new_customer(PlanName.BUSINESS)
    ids = accept(server, customer, 8)
    wait_until(lambda: statuses(server)[JobStatus.SUCCEEDED] > 0)
    wait_until(lambda: statuses(server)[JobStatus.RUNNING] > 0)
    kill(server)
    assert statuses(server).total() > statuses(server)[JobStatus.SUCCEEDED]
    lapse_leases(server)
    server = start()
    wait_until(lambda: statuses(server) == {JobStatus.SUCCEEDED: len(ids)}, every_seconds=0.2)
    assert_each_done_and_charged_once(server, customer, ids)


@pytest.mark.long
@pytest.mark.timeout(3 * 3600)
def test_a_thousand_jobs_survive_fifty_kills_and_a_worker_that_hangs(
    migrated_database_url: str, start_server: StartServer, tmp_path: Path
) -> None:
    """Two servers share the jobs. Nothing shortens the leases: a dead one's jobs go on within a minute."""
    jobs, kills = 1000, 50

    def start() -> RunningServer:
        return start_server(
            tmp_path / "data",
            BGERASER_DATABASE_URL=migrated_database_url,
            BGERASER_JOB_TIMEOUT_SECONDS="60",
            BGERASER_ACCOUNT_STORAGE_MB="8192",
        )

    servers = [start(), start()]
    customer = servers[0].new_customer(PlanName.BUSINESS)
    ids = accept(servers[0], customer, jobs)
    workers = [each for each in psutil.Process(servers[1].process.pid).children() if each.is_running()]
    os.kill(workers[0].pid, signal.SIGSTOP)
    for _ in range(kills):
        victim = random.randrange(2)
        kill(servers[victim])
        servers[victim] = start()
        time.sleep(random.uniform(0, 5))
    done = 0
    while done < jobs:  # Each wait is for progress only.
        wait_until(lambda: statuses(servers[0])[JobStatus.SUCCEEDED] > done, every_seconds=1)  # noqa: B023
        done = statuses(servers[0])[JobStatus.SUCCEEDED]
    assert_each_done_and_charged_once(servers[0], customer, ids)
