"""What becomes of the work of a member who is removed meanwhile: it is the account's, and is charged once."""

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from sqlmodel import col, select

from api.auth import api_keys, members
from api.batches.models import BatchStatus
from api.calls.models import CallRecord
from api.editor.models import Step
from api.jobs.models import JobStatus
from api.memberships.models import Role
from billing.ledger.plans import PlanName
from billing.timestamps import utc_now
from tests.support.batch_calls import batch_in, batch_of, read_batch, send_batch
from tests.support.calling import code_of, crop, small_picture
from tests.support.editor_client import Browser
from tests.support.job_calls import PREFER, ended_job, job_of
from tests.support.member_rows import make_member
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.server import Customer, RunningServer
from tests.support.waiting import wait_until


@dataclass
class Work:
    server: RunningServer
    owner: Customer
    member: Customer  # with a key of the owner's account

    def remove(self) -> None:
        with self.server.database.transaction() as session:
            members.remove(session, self.owner.account_id, self.member.account_id, utc_now())

    def spent(self) -> tuple[int, int, list[int]]:
        """Credits available and held, and what each call cost that succeeded."""
        with self.server.database.transaction() as session:
            calls = session.exec(
                select(CallRecord).where(
                    col(CallRecord.account_id).in_([self.owner.account_id, self.member.account_id])
                )
            )
            costs = [call.credits for call in calls if call.status_code < 300]
        return *self.server.balance(self.owner), costs


@pytest.fixture
def work(server: RunningServer) -> Iterator[Work]:
    owner = server.new_customer(PlanName.STANDARD, credits=20)
    with server.database.transaction() as session:
        person = make_member(session, owner.account_id, utc_now(), Role.MEMBER)
        _, key = api_keys.create(session, owner.account_id, "theirs", utc_now(), person_id=person.id)
        member = Customer(person.id, person.email, key)
    yield Work(server, owner, member)
    assert server.drifts() == []


def test_a_run_of_the_editor_is_finished_for_the_account_and_not_shown_to_who_left(work: Work) -> None:
    with Browser(work.server, work.member) as browser:
        token = browser.client.headers["X-CSRF-Token"]
        chosen = browser.client.post(
            "/accounts/choose", data={"csrf_token": token, "account_id": work.owner.account_id}
        )
        assert chosen.status_code == 303
        session = browser.client.get("/editor/session").json()["data"]
        browser.client.headers["X-CSRF-Token"] = session["csrfToken"]
        project = browser.open(jpeg_bytes(photo("coffee")))
        started = browser.start(project, "bg-removal", {"model": "fast"})
        assert started.status_code == 200, started.text
        run = started.json()["data"]
        wait_until(lambda: work.server.balance(work.owner) == (19, 1), every_seconds=0.02)
        work.remove()
        for path in (f"/runs/{run['id']}", "", f"/steps/{project['currentStepId']}/file"):
            assert browser.client.get(f"/editor/projects/{project['id']}{path}").status_code == 404
        # The page that is still open has the token of the account that it may not use any more.
        assert browser.start(project, "bg-removal", {"model": "fast"}).status_code == 403

    def steps() -> list[str | None]:
        with work.server.database.transaction() as session:
            made = session.exec(select(Step).where(Step.project_id == project["id"]))
            return [step.tool for step in made if step.tool]

    wait_until(lambda: steps() == ["bg-removal"])
    assert work.spent() == (19, 0, [1])
    with Browser(work.server, work.owner) as owners:
        assert len(owners.project(project["id"])["steps"]) == 2


def test_jobs_that_run_or_wait_end_for_the_account(work: Work) -> None:
    picture = {"image": ("a.jpg", jpeg_bytes(photo("coffee")), "image/jpeg")}
    jobs = []
    with work.server.client(work.member) as client:
        for name in ("png", "webp", "jpg"):
            fields = {"model": "fast", "format": name}
            jobs.append(
                job_of(client.post("/api/tools/bg-removal", files=picture, data=fields, headers=PREFER))
            )
        work.remove()
        assert [client.get(f"/api/jobs/{job_id}").status_code for job_id in jobs] == [401] * 3
    ended = [ended_job(work.server, work.owner, job_id) for job_id in jobs]
    assert [job["status"] for job in ended] == [JobStatus.SUCCEEDED] * 3
    assert work.spent() == (17, 0, [1] * 3)


def test_a_batch_goes_on_for_the_account(work: Work) -> None:
    pictures = [(f"{n}.png", small_picture()) for n in range(12)]
    batch_id = batch_of(send_batch(work.server, work.member, pictures))
    wait_until(
        lambda: read_batch(work.server, work.owner, batch_id)["counts"]["succeeded"] > 0, every_seconds=0.02
    )
    work.remove()
    with work.server.client(work.member) as client:
        for path in ("", "/items", "/results.zip"):
            assert client.get(f"/api/batches/{batch_id}{path}").status_code == 401
    done = batch_in(work.server, work.owner, batch_id, BatchStatus.COMPLETED)
    assert (done["counts"]["succeeded"], done["creditsCharged"]) == (12, 12)
    assert work.spent() == (8, 0, [1] * 12)


@pytest.mark.parametrize("headers", [{}, PREFER], ids=["call", "job"])
def test_a_call_whose_file_is_still_sent_is_refused_and_not_charged(
    work: Work, headers: dict[str, str]
) -> None:
    form = httpx.Request(
        "POST",
        f"{work.server.address}/api/tools/crop",
        files={"image": ("a.png", small_picture(), "image/png")},
        data={"width": "10", "height": "10"},
    )
    content = form.read()

    def pieces() -> Iterator[bytes]:
        yield content[:-40]
        wait_until(lambda: _was_used(work), every_seconds=0.02)  # the key was accepted
        work.remove()
        yield content[-40:]

    with work.server.client(work.member) as client:
        sent = {"Content-Type": form.headers["content-type"], "Content-Length": str(len(content)), **headers}
        answer = client.post("/api/tools/crop", content=pieces(), headers=sent)
    assert (answer.status_code, code_of(answer)) == (403, "FORBIDDEN")
    assert work.spent() == (20, 0, [])
    assert crop(work.server, work.member).status_code == 401


def _was_used(work: Work) -> bool:
    with work.server.database.transaction() as session:
        keys = api_keys.usable(session, work.owner.account_id, utc_now())
        return any(key.last_used_at is not None for key in keys if key.created_by_id is not None)
