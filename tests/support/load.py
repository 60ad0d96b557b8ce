"""Calls from many threads in several processes at once, through the real admission code."""

import concurrent.futures
import multiprocessing
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlmodel import Session

from api.calls import admission
from api.calls.admission import AdmissionOutcome, Admitted, Refused
from api.db.database import Database
from api.images.models import Image
from billing import identifiers
from billing.ledger.models import Account
from billing.ledger.periods import period_containing
from billing.ledger.plans import PlanName
from tests.support.builders import make_account

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
# One process that has imported everything and copies itself: a new one in milliseconds.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.support.load", "psycopg"])


def account_with(
    session: Session, credits: int, plan: PlanName = PlanName.BUSINESS, now: datetime = NOON
) -> Account:
    """An account with exactly `credits`: this period's credits of its plan are not granted any more."""
    account = make_account(session, credits=credits, plan=plan, now=now)
    account.period_ends_at = period_containing(account.period_anchor_at, now)[1]
    session.flush()
    return account


def admit(
    session: Session,
    account_id: str,
    *,
    key: str | None = None,
    fingerprint: str = "fingerprint",
    owner: str = "process-1",
    now: datetime = NOON,
    random: bool = False,
    rate_taken: bool = False,
    budget_id: str | None = None,
    test_rate: int | None = None,
    person_id: str | None = None,
) -> AdmissionOutcome:
    return admission.admit(
        session,
        account_id=account_id,
        request_id=identifiers.new_id("req"),
        idempotency_key=key,
        fingerprint=fingerprint,
        lease_owner=owner,
        now=now,
        random=random,
        rate_taken=rate_taken,
        budget_id=budget_id,
        test_rate=test_rate,
        person_id=person_id,
    )


def admitted(session: Session, account_id: str, **options: Any) -> Admitted:
    outcome = admit(session, account_id, **options)
    assert isinstance(outcome, Admitted), outcome
    return outcome


def refused(session: Session, account_id: str, **options: Any) -> Exception:
    outcome = admit(session, account_id, **options)
    assert isinstance(outcome, Refused), outcome
    return outcome.error


def result_image(account_id: str, now: datetime = NOON) -> Image:
    return Image(
        id=identifiers.new_id("img"),
        account_id=account_id,
        kind="result",
        format="png",
        size_bytes=1,
        sha256="0" * 64,
        created_at=now,
        expires_at=now + timedelta(hours=24),
    )


def succeed(
    session: Session,
    call: Admitted,
    *,
    owner: str = "process-1",
    now: datetime = NOON,
    body: bytes | None = None,
) -> bytes:
    """Settles as a success; the answer names the hold, so that every execution's answer is another one."""
    return admission.settle_success(
        session,
        call,
        lease_owner=owner,
        now=now,
        image=result_image(call.account_id, now),
        build_body=lambda left: body or b'{"hold": "%s", "left": %d}' % (call.hold_id.encode(), left),
    )


@dataclass(frozen=True)
class Load:
    """`calls` in all, spread over threads and processes; each account gets its share."""

    url: str
    account_ids: list[str]
    calls: int
    processes: int = 4
    threads: int = 2  # of each process
    now: datetime = NOON
    settle: bool = True
    key: str | None = None  # the same one for all; None: each call is another one
    budget_id: str | None = None  # where all calls count


@dataclass
class Report:
    outcomes: Counter[str] = field(default_factory=Counter)
    bodies: set[bytes] = field(default_factory=set)


def run(
    load: Load, caller: Callable[[Database, Load, int], tuple[str, bytes | None]] | None = None
) -> Report:
    """What became of the calls, by name of outcome or error. `caller` serves one call, numbered in all."""
    report = Report()
    with concurrent.futures.ProcessPoolExecutor(load.processes, mp_context=PROCESSES) as pool:
        shares = [pool.submit(_run_share, load, number, caller or charge) for number in range(load.processes)]
        for share in shares:
            part = share.result()
            report.outcomes += part.outcomes
            report.bodies |= part.bodies
    return report


def charge(database: Database, load: Load, number: int) -> tuple[str, bytes | None]:
    """One call from admission to settlement; the outcome's name."""
    account_id = load.account_ids[number % len(load.account_ids)]
    owner = f"process-{number % load.processes}"
    key = load.key or f"key-{number}"
    outcome = database.submit(
        lambda session: admit(
            session, account_id, key=key, owner=owner, now=load.now, budget_id=load.budget_id
        )
    ).result()
    if isinstance(outcome, Refused):
        return type(outcome.error).__name__, None
    if not isinstance(outcome, Admitted):
        return type(outcome).__name__, None
    if not load.settle:
        return "Admitted", None
    body = database.submit(lambda session: succeed(session, outcome, owner=owner, now=load.now)).result()
    return "charged", body


def _run_share(
    load: Load, process: int, caller: Callable[[Database, Load, int], tuple[str, bytes | None]]
) -> Report:
    database = Database(load.url)
    report = Report()

    def one(number: int) -> None:
        try:
            name, body = caller(database, load, number)
        except Exception as error:
            name, body = f"unhandled {type(error).__name__}: {error}", None
        report.outcomes[name] += 1
        if body is not None:
            report.bodies.add(body)

    with ThreadPoolExecutor(load.threads) as threads:
        list(threads.map(one, range(process, load.calls, load.processes)))
    database.close()
    return report
