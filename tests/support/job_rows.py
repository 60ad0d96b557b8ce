"""Rows of jobs, without a request."""

from datetime import datetime

from sqlmodel import Session

from api.calls import idempotency
from api.calls.idempotency import Answer, RetryKind
from api.jobs.inputs import Inputs
from api.jobs.models import Job
from api.jobs.transitions import PATIENCE
from billing.identifiers import new_id
from billing.ledger import accounts, ledger


def make_job(session: Session, account_id: str, now: datetime, *, image_id: str | None = None) -> Job:
    """A waiting job of the account, which needs a credit. Its image does not exist unless one is named."""
    job_id = new_id("job")
    account = accounts.lock(session, account_id)
    held = ledger.hold(
        session,
        account,
        reference=f"request:{job_id}",
        lease_owner=ledger.WAITING,
        lease_seconds=PATIENCE.total_seconds(),
        now=now,
    )
    replay_id = idempotency.begin(
        session,
        account_id=account_id,
        key=RetryKind.JOB + job_id,
        fingerprint=job_id,
        hold_id=held.id,
        now=now,
    )
    answer_id = idempotency.insert_answer(
        session,
        account_id=account_id,
        key=RetryKind.KEYED + job_id,
        fingerprint=job_id,
        answer=Answer(202, b"{}", None),
        now=now,
    )
    job = Job(
        id=job_id,
        account_id=account_id,
        request_id=new_id("req"),
        tool="crop",
        params=b'{"width": "10", "height": "10"}',
        inputs=Inputs({"image": image_id or new_id("img")}, [] if image_id else ["image"]).as_json(),
        base_url="http://test",
        hold_id=held.id,
        replay_id=replay_id,
        answer_id=answer_id,
        created_at=now,
        expires_at=now + PATIENCE,
    )
    session.add(job)
    session.flush()
    return job
