"""Two servers with one PostgreSQL, one data directory and a simulated Stripe, whose parts can be ended."""

import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from tests.fakes.stripe import lifecycle
from tests.fakes.stripe.delivery import Courier, Switches
from tests.fakes.stripe.demo_server import CLOCK_FILE
from tests.fakes.stripe.server import serving
from tests.fakes.stripe.world import SECRET_KEY, WEBHOOK_SECRET, World
from tests.soak.record import Sample
from tests.support.checkpoints import models_dir
from tests.support.databases import Postgres, running_postgres
from tests.support.server import RunningServer, free_port

#: As `bgeraser`, with a clock that can be stepped.
_COMMAND = [sys.executable, "-m", "tests.fakes.stripe.demo_server"]
_READY_SECONDS = 300.0
_STOP_SECONDS = 90.0
_TICK_SECONDS = 0.5
DISK_MIB = 1_500
_MIB = 1024 * 1024
_WORKER = "ml.runtime.worker"
_PRICES = ["--standard", "9.00", "--business", "49.00", "--currency", "usd", "--pack", "100:5.00"]


class Server:
    """A process that can be ended and started again at the same address."""

    def __init__(self, name: str, environment: dict[str, str], log: Path) -> None:
        self.name = name
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._environment = environment | {"BGERASER_PUBLIC_URL": self.address}
        self._log = log
        self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as output:
            return subprocess.Popen(
                [*_COMMAND, "serve", "--port", str(self.port)],
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def is_ready(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.address}/readyz", timeout=10).status_code == 200
        return False

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not self.is_ready():
            assert self.process.poll() is None, f"server {self.name} ended\n{self.log_text()[-3000:]}"
            assert time.monotonic() < deadline, f"server {self.name} is not ready\n{self.log_text()[-3000:]}"
            time.sleep(0.25)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """As an operator does."""
        self.process.terminate()
        self.process.wait(_STOP_SECONDS)

    def start(self) -> None:
        self.process = self._started()

    def workers(self) -> list[psutil.Process]:
        found = []
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                    if _WORKER in child.cmdline():
                        found.append(child)
        return found

    def sample(self) -> Sample:
        memory, descriptors = 0.0, 0
        root = psutil.Process(self.process.pid)
        for process in [root, *root.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                memory += process.memory_full_info().pss / _MIB
                descriptors += process.num_fds()
        return Sample(time.monotonic(), memory, descriptors)

    def log_text(self) -> str:
        return self._log.read_text(errors="replace")


@dataclass
class Stand:
    """`killed` may be ended; `lasting` runs from the start to the end, so that its memory can be compared."""

    postgres: Postgres
    database_url: str
    world: World
    killed: Server
    lasting: Server
    clock_file: Path
    data_dir: Path
    logs: Path
    has_small_disk: bool
    ahead_seconds: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def servers(self) -> tuple[Server, Server]:
        return self.killed, self.lasting

    def wait_until_ready(self) -> None:
        for server in self.servers:
            server.wait_until_ready()

    def running(self, server: Server) -> RunningServer:
        """With the helpers that tests have for a server."""
        return RunningServer(
            server.process, server.address, self.data_dir, self.logs / "unused", self.database_url
        )

    def step_clock(self, seconds: int) -> None:
        """Move the clock of both servers and of Stripe; backwards if `seconds` is negative."""
        with self._lock:
            self.ahead_seconds += seconds
            self.clock_file.write_text(str(self.ahead_seconds), encoding="ascii")


@contextmanager
def stand(directory: Path) -> Iterator[Stand]:
    data_dir, logs, clock_file = directory / "data", directory / "logs", directory / "clock"
    for each in (data_dir, logs):
        each.mkdir(parents=True)
    clock_file.write_text("0", encoding="ascii")
    world = World(int(time.time()))
    with _small_disk(data_dir) as has_small_disk, running_postgres() as postgres, serving(world) as simulator:
        database_url = postgres.url(postgres.create_database())
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BGERASER_")}
        environment |= {
            CLOCK_FILE: str(clock_file),
            "BGERASER_DATA_DIR": str(data_dir),
            "BGERASER_MODELS_DIR": str(models_dir()),
            "BGERASER_DATABASE_URL": database_url,
            "BGERASER_LOG_FORMAT": "json",
            "BGERASER_SECRET_KEY": secrets.token_hex(32),
            "BGERASER_WORKERS": "1",
            "BGERASER_STRIPE_API_BASE": simulator,
            "BGERASER_STRIPE_SECRET_KEY": SECRET_KEY,
            "BGERASER_STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "BGERASER_STRIPE_ALLOW_TEST": "true",
        }
        subprocess.run(
            [*_COMMAND, "admin", "stripe-setup", *_PRICES], env=environment, check=True, capture_output=True
        )
        killed, lasting = (Server(name, environment, logs / name) for name in ("killed", "lasting"))
        made = Stand(
            postgres, database_url, world, killed, lasting, clock_file, data_dir, logs, has_small_disk
        )
        stopping = threading.Event()
        carrier = threading.Thread(target=_carry, args=(made, stopping), name="stripe-courier")
        carrier.start()
        try:
            made.wait_until_ready()
            yield made
        finally:
            stopping.set()
            carrier.join()
            for server in made.servers:
                if server.process.poll() is None:
                    server.stop()


def _carry(made: Stand, stopping: threading.Event) -> None:
    """Lets the simulator's time pass and delivers its events to either server, some of them twice."""
    turn = 0

    def post(payload: bytes, headers: dict[str, str]) -> bool:
        nonlocal turn
        turn += 1
        address = made.servers[turn % 2].address
        with suppress(httpx.HTTPError):
            return httpx.post(
                f"{address}/stripe/webhook", content=payload, headers=headers, timeout=10
            ).is_success
        return False

    courier = Courier(made.world, post, Switches(duplicated=0.2, is_shuffled=True))
    while not stopping.wait(_TICK_SECONDS):
        with made.world.lock:
            now = int(time.time()) + made.ahead_seconds
            lifecycle.advance(made.world, max(0, now - made.world.now))
        courier.deliver()


@contextmanager
def _small_disk(directory: Path) -> Iterator[bool]:
    """A file system of its own, which can be filled without harm. Only root may mount one."""
    if os.geteuid() != 0:
        yield False
        return
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=755", "tmpfs", str(directory)], check=False
    )
    try:
        yield mounted.returncode == 0
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "-l", str(directory)], check=False)


def traceback_count(logs: Path) -> int:
    return sum(len(re.findall("Traceback", each.read_text(errors="replace"))) for each in logs.iterdir())
