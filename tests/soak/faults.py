"""What fails in a soak. Each fault is mended before its function returns, and the servers are ready again."""

import random
import shutil
import time
from collections.abc import Callable
from contextlib import suppress

import psutil

from tests.soak.stand import Stand

Fault = Callable[[Stand, random.Random, float], None]
_POSTGRES_SECONDS = 5.0
_CLOCK_STEPS = (-90, -20, 20, 90)
_MIB = 1024 * 1024


def kill_a_worker(stand: Stand, chance: random.Random, _: float) -> None:
    workers = [worker for server in stand.servers for worker in server.workers()]
    if workers:
        with suppress(psutil.NoSuchProcess):
            chance.choice(workers).kill()
    stand.wait_until_ready()


def kill_a_server(stand: Stand, _: random.Random, __: float) -> None:
    stand.killed.kill()
    stand.killed.start()
    stand.wait_until_ready()


def restart_a_server(stand: Stand, _: random.Random, __: float) -> None:
    stand.killed.stop()
    stand.killed.start()
    stand.wait_until_ready()


def crash_postgres(stand: Stand, _: random.Random, __: float) -> None:
    stand.postgres.crash()
    time.sleep(_POSTGRES_SECONDS)
    stand.postgres.start()
    stand.wait_until_ready()


def step_the_clock(stand: Stand, chance: random.Random, _: float) -> None:
    stand.step_clock(chance.choice(_CLOCK_STEPS))
    stand.wait_until_ready()


def fill_the_disk(stand: Stand, _: random.Random, seconds: float) -> None:
    """Of pictures and previews, for `seconds`."""
    ballast = stand.data_dir / "ballast"
    ends_at = time.monotonic() + seconds
    try:
        with ballast.open("ab", buffering=0) as file:
            while time.monotonic() < ends_at:
                free = shutil.disk_usage(stand.data_dir).free
                with suppress(OSError):
                    if free:
                        file.write(bytes(min(free, 16 * _MIB)))
                        continue
                time.sleep(0.2)
    finally:
        ballast.unlink()
    stand.wait_until_ready()


FAULTS: dict[str, Fault] = {
    "killed worker": kill_a_worker,
    "killed server": kill_a_server,
    "restarted server": restart_a_server,
    "crashed PostgreSQL": crash_postgres,
    "stepped clock": step_the_clock,
    "full disk": fill_the_disk,
}
