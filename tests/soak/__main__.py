"""`make soak`: mixed work by two servers while parts of them fail; ends with a short report in data/soak.

Calls, jobs, batches, editor runs and purchases go on while workers, a server and PostgreSQL are killed,
clocks are stepped and the disk is full. At the end every account was charged for what it got and for
nothing else, the books agree with their entries, and nothing failed outside of the faults.
"""

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

from billing.ledger.plans import PlanName
from tests.soak.callers import KINDS, Buyer, Caller
from tests.soak.faults import FAULTS
from tests.soak.record import Record
from tests.soak.stand import Stand, stand, traceback_count

CREDITS = 1_000_000
PACK_CREDITS = 100
SETTLING_SECONDS = 180.0
SAMPLED_EVERY_SECONDS = 5.0
#: Between two faults: long enough for the errors of the first to end.
PAUSES_SECONDS = (25.0, 50.0)
FULL_DISK_SECONDS = 60.0


def soak(directory: Path, seconds: float, seed: int, *, quick: bool = False) -> Record:
    """`quick` lets every fault happen once, with short pauses."""
    chance = random.Random(seed)
    record = Record()
    ending = threading.Event()
    with stand(directory) as made:
        callers = [_caller(kind, made, record, ending, chance) for kind in KINDS]
        threads = [threading.Thread(target=each.run, daemon=True) for each in callers]
        sampler = threading.Thread(target=_sample, args=(made, record, ending), daemon=True)
        for thread in [*threads, sampler]:
            thread.start()
        try:
            _make_faults(made, record, chance, seconds, quick=quick)
        finally:
            ending.set()
        for thread in [*threads, sampler]:
            thread.join()
        _compare(made, record, callers)
        tracebacks = traceback_count(made.logs)
        record.notes.append(f"tracebacks in the logs: {tracebacks}")
    return record


def _caller(
    kind: type[Caller], made: Stand, record: Record, ending: threading.Event, chance: random.Random
) -> Caller:
    server = made.running(made.lasting)
    customer = server.new_customer(PlanName.BUSINESS, credits=CREDITS)
    server.database.close()
    return kind(made, record, customer, ending, random.Random(chance.random()))


def _sample(made: Stand, record: Record, ending: threading.Event) -> None:
    while not ending.wait(SAMPLED_EVERY_SECONDS):
        record.samples.append(made.lasting.sample())


def _make_faults(made: Stand, record: Record, chance: random.Random, seconds: float, *, quick: bool) -> None:
    ends_at = time.monotonic() + seconds
    names = [name for name in FAULTS if name != "full disk" or made.has_small_disk]
    if not made.has_small_disk:
        record.notes.append("the disk was not filled: only root can mount a small one")
    waiting: list[str] = []
    while time.monotonic() < ends_at or (quick and waiting):
        if not waiting:
            waiting = chance.sample(names, len(names))
        time.sleep(5.0 if quick else chance.uniform(*PAUSES_SECONDS))
        name = waiting.pop()
        sys.stderr.write(f"{name}\n")
        with record.fault(name):
            FAULTS[name](made, chance, 10.0 if quick else FULL_DISK_SECONDS)
    time.sleep(5.0)


def _compare(made: Stand, record: Record, callers: list[Caller]) -> None:
    """Every account with what its caller was given."""
    server = made.running(made.lasting)
    for caller in callers:
        account_id = caller.customer.account_id
        expected = (CREDITS - record.charged[account_id], 0)
        if isinstance(caller, Buyer):
            expected = (CREDITS + PACK_CREDITS * caller.bought, 0)
        deadline = time.monotonic() + SETTLING_SECONDS
        while server.balance(caller.customer) != expected and time.monotonic() < deadline:
            time.sleep(0.5)
        found = server.balance(caller.customer)
        if found != expected:
            record.wrong.append(f"{type(caller).__name__} has {found} credits instead of {expected}")
    record.wrong += [f"the audit found {each}" for each in server.drifts()]
    server.database.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the faults' order")
    chosen = parser.parse_args()
    sys.stderr.write(f"seed {chosen.seed}\n")
    with tempfile.TemporaryDirectory(prefix="bgeraser-soak-") as directory:
        record = soak(Path(directory), chosen.minutes * 60, chosen.seed)
    report = record.report()
    sys.stdout.write(report)
    place = Path(os.environ.get("BGERASER_DATA_DIR", "data")) / "soak"
    place.mkdir(parents=True, exist_ok=True)
    (place / "report.md").write_text(report, encoding="utf-8")
    return 1 if record.verdicts() else 0


if __name__ == "__main__":
    sys.exit(main())
