"""Faults on purpose: does the suite notice them?

Each mutant is a classical fault of systems that sell credits, put into a copy of the real code by replacing
its text. Text that is not there any more is an error, so a mutant cannot rot into one that does nothing.

    python -m tests.support.mutants              every mutant against the tests that should notice it
    python -m tests.support.mutants NAME         only this one
"""

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_COPIED = ("api", "billing", "ml", "tests", "pyproject.toml")
_READ_FIRST = """\
    seen = session.get_one(Hold, hold_id, populate_existing=True)
    lives = seen.lease_until > now
    fits = {
        HoldStatus.CAPTURED: lives and seen.lease_owner == lease_owner,
        HoldStatus.RELEASED: True,
        HoldStatus.EXPIRED: not lives,
    }
    if seen.status != HoldStatus.OPEN or not fits[status]:
        return None
"""


@dataclass(frozen=True)
class Edit:
    path: str
    old: str
    new: str
    times: int = 1


@dataclass(frozen=True)
class Mutant:
    name: str
    edits: tuple[Edit, ...]
    quick_test: str  # one test that notices it
    #: On SQLite one writer at a time hides what only rivals bring out. "": the test has no database.
    quick_database: str = "sqlite"


MUTANTS = (
    Mutant(
        "no lock: transactions begin at the first write, the account's row is read like any other",
        (
            Edit("api/db/connections.py", '.execute("BEGIN IMMEDIATE")', '.execute("BEGIN")'),
            Edit("billing/ledger/accounts.py", "    .with_for_update(key_share=True)\n", ""),
        ),
        "tests/api/calls/test_admission_load.py::"
        "test_600_charges_by_8_threads_in_4_processes_sell_every_credit_once",
    ),
    Mutant(
        "read, then write: a hold is found open, and then settled without a condition or a lock",
        (
            Edit("billing/ledger/ledger.py", "    accounts.lock_even_closed(session, account_id)\n", ""),
            Edit(
                "billing/ledger/ledger.py",
                "    settled: Hold | None = session",
                _READ_FIRST + "    settled: Hold | None = session",
            ),
            Edit(
                "billing/ledger/ledger.py",
                '.where(col(Hold.id) == bindparam("hold_id"), col(Hold.status) == HoldStatus.OPEN, *only_if)',
                '.where(col(Hold.id) == bindparam("hold_id"))',
            ),
        ),
        "tests/billing/ledger/test_settling_races.py",
        quick_database="postgresql",
    ),
    Mutant(
        "no unique reference: what was done before can be done again",
        (
            Edit(
                "billing/ledger/models.py",
                "reference: str = Field(unique=True)",
                "reference: str = Field()",
                3,
            ),
            Edit(
                "api/db/migrations/versions/0001_initial.py",
                '        sa.UniqueConstraint("reference"),\n',
                "",
                3,
            ),
            Edit(
                "billing/ledger/postings.py",
                "insert(table).on_conflict_do_nothing(index_elements=[unique_column])",
                "insert(table)",
            ),
        ),
        "tests/api/calls/test_admission.py::test_a_request_id_that_was_used_before_is_a_programming_error",
    ),
    Mutant(
        "dedupe after the work: a call's replay row is looked at only when it is settled",
        (
            Edit(
                "api/calls/admission.py",
                "    found = idempotency.find(session, account_id, key)\n",
                "    found = None\n",
            ),
            Edit(
                "api/calls/idempotency.py",
                "    session.execute(_BEGIN, values)\n",
                "    earlier = (col(Replay.account_id) == account_id, col(Replay.retry_key) == key)\n"
                "    session.execute(delete(Replay).where(*earlier))\n"
                "    session.execute(_BEGIN, values)\n",
            ),
        ),
        "tests/api/calls/test_idempotency.py::test_100_calls_at_once_with_one_key_in_4_processes_are_executed_once",
    ),
    Mutant(
        "no release: a failed call keeps its credit",
        (
            Edit(
                "api/calls/admission.py",
                "        ledger.release(session, admitted.hold_id, now=now, status=HoldStatus.RELEASED)\n",
                "        pass\n",
            ),
        ),
        "tests/api/calls/test_admission.py::test_a_failed_call_gives_its_credit_back_and_leaves_no_row",
    ),
    Mutant(
        "grace from the period's start: a payment that fails late has a shorter one",
        (
            Edit(
                "billing/subscriptions/subscriptions.py",
                "(subscription.unpaid_since or subscription.period_starts_at) + GRACE",
                "subscription.period_starts_at + GRACE",
            ),
        ),
        "tests/billing/subscriptions/test_subscriptions.py::test_grace_counts_from_the_failure",
        quick_database="",
    ),
    Mutant(
        "a lost dispute is final: one that is lost after it was won takes nothing",
        (
            Edit(
                "billing/subscriptions/invoices.py",
                "    counted = {each.id for each in known.values() if each.returned_at is None}\n",
                "    counted = set(known)\n",
            ),
        ),
        "tests/billing/subscriptions/test_subscriptions.py"
        "::test_a_dispute_that_is_lost_after_it_was_won_takes_the_credits_again",
    ),
)

#: What the long form runs against every mutant, on both databases.
SUITE = (
    "tests/billing/subscriptions/test_subscriptions.py",
    "tests/billing/ledger/test_settling_races.py",
    "tests/billing/ledger/test_ledger.py",
    "tests/api/calls/test_admission.py",
    "tests/api/calls/test_idempotency.py",
    "tests/api/calls/test_admission_load.py",
)


def run(mutant: Mutant | None, *pytest_arguments: str) -> subprocess.CompletedProcess[str]:
    """pytest on a copy of the code with the fault in it, or without one."""
    with tempfile.TemporaryDirectory(prefix="bgeraser-mutant-") as folder:
        copy = Path(folder)
        for name in _COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / name)
        for edit in mutant.edits if mutant is not None else ():
            path = copy / edit.path
            text = path.read_text()
            if text.count(edit.old) != edit.times:
                raise ValueError(
                    f"{edit.path} has {edit.old!r} {text.count(edit.old)} times: mend the mutant"
                )
            path.write_text(text.replace(edit.old, edit.new))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *pytest_arguments]
        return subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)


def is_noticed(result: subprocess.CompletedProcess[str]) -> bool:
    """Tests ran and one failed: code 1. Code that cannot even be imported ends with 2."""
    return result.returncode == 1


def quick_arguments(mutant: Mutant) -> list[str]:
    return [mutant.quick_test, "-k", mutant.quick_database]


def main(chosen: str | None) -> int:
    missed = 0
    for mutant in MUTANTS:
        if chosen is not None and not mutant.name.startswith(chosen):
            continue
        result = run(mutant, *SUITE)
        verdict = "noticed" if is_noticed(result) else "NOT NOTICED"
        by = next((line for line in result.stdout.splitlines() if line.startswith("FAILED")), result.stdout)
        sys.stdout.write(f"{verdict}: {mutant.name}\n    {by}\n")
        missed += not is_noticed(result)
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else None))
