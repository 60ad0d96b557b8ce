"""What one call costs besides the workers: the server's own process, the database, the bucket, the network.

One server with PostgreSQL and a bucket, as several servers need them, gets calls one after the other.
PostgreSQL logs every statement and the bucket's server every request; both are counted. What the server does
without calls, while a proxy asks for its health as `deploy/Caddyfile` says, is measured too and subtracted.
"""

import re
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
import psutil
import psycopg

from tests.benchmarks import admissions, ours
from tests.benchmarks.photos import SIZES, jpegs_of
from tests.support.s3 import running_s3
from tests.support.server import RunningServer

HEALTH_INTERVAL_SECONDS = 5.0  # of deploy/Caddyfile
#: Operations and how often each is done.
OPERATIONS = {"cut-out": 16, "crop": 60, "download": 60}
_IDLE_SECONDS = 20.0
_STATEMENT = re.compile(r"^(\d+) LOG:  (?:statement|execute [^:]*): (.*)")
_WRITES = ("insert", "update", "delete", "merge")
_LOCKS = ("for update", "for no key update")
_BUCKET_REQUEST = re.compile(r'"(?:\x1b\[[0-9;]*m)*(GET|HEAD|PUT|POST|DELETE) /')


@dataclass(frozen=True)
class Transactions:
    """Writing ones change or lock rows. `statements` are those within either."""

    writing: float
    reading: float
    statements: float


@dataclass(frozen=True)
class Costs:
    """Of one call, or of one second of a server without calls.

    Processor time is the mean, less that of a server without calls in the same time. Transactions are those
    of the call with the fewest: every call makes the same ones, to which work in the background only adds.
    """

    server_core_seconds: float  # of the server's own process, without its workers
    database_core_seconds: float  # of all of PostgreSQL's processes
    transactions: Transactions
    bucket_requests: dict[str, float]  # by method
    bytes_in: float = 0.0  # from callers, without headers
    bytes_out: float = 0.0
    result_bytes: float = 0.0  # of the image that the call made and that is stored

    @classmethod
    def loaded(cls, values: dict[str, Any]) -> "Costs":
        """From the JSON of `dataclasses.asdict`."""
        return cls(**{**values, "transactions": Transactions(**values["transactions"])})


@dataclass(frozen=True)
class ServerCosts:
    """`calls` by the names of `OPERATIONS`; `connections` to PostgreSQL were open at the end."""

    calls: dict[str, Costs]
    idle: Costs  # of a second
    connections: int

    @property
    def idle_transactions_of_each_server(self) -> float:
        """A second. Cleaning up is done by one server for all; it writes, and so does the check of health."""
        return self.idle.transactions.reading + self.idle.bucket_requests.get("PUT", 0.0)

    @classmethod
    def loaded(cls, values: dict[str, Any]) -> "ServerCosts":
        """From the JSON of `dataclasses.asdict`."""
        calls = {name: Costs.loaded(costs) for name, costs in values["calls"].items()}
        return cls(calls, Costs.loaded(values["idle"]), values["connections"])


def measure(say: Callable[[str], None]) -> ServerCosts:
    """In about a minute."""
    with _serving() as probe:
        probe.call("crop", probe.photos[0])
        probe.call("cut-out", probe.photos[0])
        say(f"server: without calls for {_IDLE_SECONDS:.0f} s")
        idle = probe.idle_costs()
        costs = {}
        for name, count in OPERATIONS.items():
            say(f"server: {count} times {name}")
            costs[name] = probe.costs_of(name, count, idle)
        return ServerCosts(costs, idle, probe.connections())


@contextmanager
def _serving() -> Iterator["_Probe"]:
    with (
        tempfile.TemporaryDirectory(prefix="bgeraser-scaling-") as folder,
        tempfile.TemporaryDirectory(prefix="bgeraser-scaling-pg-") as data,
        running_s3(Path(folder) / "s3.log") as s3,
        admissions.running_postgres(data) as url,
    ):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("alter system set log_statement = 'all'")
            connection.execute("alter system set log_line_prefix = '%p '")
            connection.execute("select pg_reload_conf()")
        bucket = s3.new_bucket()
        with ours.serving(
            BGERASER_DATABASE_URL=url,
            BGERASER_STORAGE_URL=bucket.url,
            BGERASER_WORKERS="2",
            **bucket.environment,
        ) as server:
            yield _Probe(server, url, Path(data), Path(folder) / "s3.log")


class _Probe:
    def __init__(self, server: RunningServer, url: str, postgres: Path, bucket_log: Path) -> None:
        self._server = server
        self._url = url
        self._logs = (postgres / "log", bucket_log)
        self._postgres = psutil.Process(int((postgres / "postmaster.pid").read_text().split()[0]))
        self._process = psutil.Process(server.process.pid)
        self._client = server.client(server.customer)
        self.photos = jpegs_of(SIZES["1 MP"])

    def call(self, tool: str, photo: bytes) -> httpx.Response:
        """One call as JSON; its result is fetched by another request."""
        name, fields = {
            "cut-out": ("bg-removal", {"model": "quality"}),
            "crop": ("crop", {"width": "800", "height": "800"}),
        }[tool]
        answer = self._client.post(
            f"/api/tools/{name}",
            headers={"Idempotency-Key": uuid.uuid4().hex},
            data=fields,
            files={"image": ("photo.jpg", photo, "image/jpeg")},
        )
        assert answer.status_code == 200, answer.text
        return answer

    def idle_costs(self) -> Costs:
        """Of a second without calls, while a proxy asks for the server's health."""
        places, before = self._places(), self._cpu_seconds()
        began = time.perf_counter()
        for _ in range(round(_IDLE_SECONDS / HEALTH_INTERVAL_SECONDS)):
            assert self._client.get("/readyz").status_code == 200
            time.sleep(HEALTH_INTERVAL_SECONDS)
        seconds = time.perf_counter() - began
        after = self._cpu_seconds()
        statements, requests = self._logged(places)
        counted = count_transactions(statements)
        return Costs(
            (after[0] - before[0]) / seconds,
            (after[1] - before[1]) / seconds,
            Transactions(counted.writing / seconds, counted.reading / seconds, counted.statements / seconds),
            _bucket_requests(requests, seconds),
        )

    def costs_of(self, name: str, count: int, idle: Costs) -> Costs:
        """The costs of an operation, done `count` times."""
        bytes_in = bytes_out = result_bytes = 0
        address = (
            self.call("cut-out", self.photos[0]).json()["data"]["imageUrl"] if name == "download" else ""
        )
        counted = []
        all_places, before = self._places(), self._cpu_seconds()
        began = time.perf_counter()
        for number in range(count):
            places = self._places()
            if name == "download":
                answer = self._client.get(address)
                answer.raise_for_status()
            else:
                photo = self.photos[number % len(self.photos)]
                answer = self.call(name, photo)
                bytes_in += len(photo)
                result_bytes += answer.json()["data"]["bytes"]
            bytes_out += len(answer.content)
            counted.append(count_transactions(self._logged(places)[0]))
        seconds = time.perf_counter() - began
        after = self._cpu_seconds()
        return Costs(
            max(0.0, after[0] - before[0] - idle.server_core_seconds * seconds) / count,
            max(0.0, after[1] - before[1] - idle.database_core_seconds * seconds) / count,
            Transactions(
                min(one.writing for one in counted),
                min(one.reading for one in counted),
                min(one.statements for one in counted),
            ),
            _bucket_requests(self._logged(all_places)[1], count),
            bytes_in / count,
            bytes_out / count,
            result_bytes / count,
        )

    def _places(self) -> list[int]:
        return [log.stat().st_size for log in self._logs]

    def _logged(self, places: list[int]) -> list[str]:
        """What was written since then: statements, and requests of the bucket."""
        return [_text_from(log, place) for log, place in zip(self._logs, places, strict=True)]

    def connections(self) -> int:
        """That the server has open. It was never busy, so that its pools may grow further."""
        with psycopg.connect(self._url) as connection:
            row = connection.execute(
                "select count(*) from pg_stat_activity where datname = 'bench' and pid <> pg_backend_pid()"
            ).fetchone()
        assert row is not None
        return cast(int, row[0])

    def _cpu_seconds(self) -> tuple[float, float]:
        return _own_cpu_seconds(self._process), _tree_cpu_seconds(self._postgres)


def count_transactions(log: str) -> Transactions:
    """Those that ended in PostgreSQL's log with `%p` as its prefix.

    Statements outside a transaction are one of their own. Empty ones, by which idle connections are checked,
    do not count.
    """
    ended: Counter[bool] = Counter()
    statements = 0
    writes: dict[str, bool] = {}  # by the process that serves a connection, while in a transaction
    for line in log.replace("\n\t", " ").splitlines():
        found = _STATEMENT.match(line)
        if found is None or found[2].strip() == ";":
            continue
        process, statement = found[1], found[2].strip().lower()
        if statement.startswith(("begin", "start transaction")):
            writes[process] = False
        elif statement.startswith(("commit", "rollback")) and not statement.startswith("rollback to"):
            if process in writes:
                ended[writes.pop(process)] += 1
        else:
            statements += 1
            is_writing = statement.startswith(_WRITES) or statement.endswith(_LOCKS)
            if process in writes:
                writes[process] |= is_writing
            else:
                ended[is_writing] += 1
    return Transactions(ended[True], ended[False], statements)


def _bucket_requests(log: str, by: float) -> dict[str, float]:
    return {method: number / by for method, number in Counter(_BUCKET_REQUEST.findall(log)).items()}


def _text_from(log: Path, place: int) -> str:
    with log.open("rb") as opened:
        opened.seek(place)
        return opened.read().decode(errors="replace")


def _own_cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _tree_cpu_seconds(process: psutil.Process) -> float:
    """Of a process and its children, those that have ended included."""
    times = process.cpu_times()
    total = float(times.user + times.system + times.children_user + times.children_system)
    for child in process.children():
        try:
            total += _own_cpu_seconds(child)
        except psutil.NoSuchProcess:
            continue
    return total
