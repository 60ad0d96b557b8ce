"""Runs calls in a Ray cluster: `ClusterBackend` implements `ml.backend.Backend` on Ray Serve.

    backend        configuration, families as this server sees them, state
    worker         a replica as a worker of this server
    link           keeps a driver running, and speaks with it by `messages`
    families       which tools share replicas, and how many
    engine_report  what is installed on the cluster's machines

in the driver, a process that is connected to the cluster:

    driver         connects, deploys what is missing, and watches
    connection     the connection
    deployment     the families on Ray Serve
    calls          sends calls, and passes on what their replicas say
    turns          asks whose call is next, among those of all servers

and in the cluster:

    replica        one worker process on a machine of the cluster
    turns          the actor that gives turns

Everything else is as on one machine: each family has a `pool` with a queue, and each of its slots supervises
one call at a time. There are as many slots as replicas run, so that calls wait in our weighted queue and not
in Serve's, which knows no priorities.
"""

import logging
import math
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from ml import catalogue
from ml.backend import BackendState, EngineState, Progress, ToolCall
from ml.editing.engine_selection import EngineSelection
from ml.errors import Overloaded
from ml.params import Params
from ml.runtime.call_monitor import SlotLimits
from ml.runtime.cluster import connection, families
from ml.runtime.cluster.deployment import DEPLOY_FAILED, FamilyState
from ml.runtime.cluster.engine_report import EngineReport, ReportedEngines
from ml.runtime.cluster.families import DEFAULT_SIZES, FamilySize
from ml.runtime.cluster.link import ClusterLink
from ml.runtime.cluster.messages import DriverConfig
from ml.runtime.cluster.replica import ReplicaConfig
from ml.runtime.cluster.worker import ClusterWorker
from ml.runtime.pool import PoolTicket, QueueLimits, WorkerPool, engine_state
from ml.statistics import Snapshot, Statistics

log = logging.getLogger(__name__)

#: How often calls are looked for that nobody will take.
LOOK_SECONDS = 1.0
#: A cluster that has not answered for so long cannot be reached: calls are refused.
LOST_SECONDS = 15.0
#: A family without replicas whose state does not improve for so long is broken: its calls are refused.
BROKEN_SECONDS = 30.0
#: How long calls wait for a family's first replica, and how long others are refused if it does not come.
FIRST_REPLICA_SECONDS = 90.0
REFUSAL_SECONDS = 60.0


@dataclass(frozen=True)
class ClusterConfig:
    address: str  # of the cluster's head, host:port, or auto
    replica: ReplicaConfig
    sizes: Mapping[str, FamilySize] = field(default_factory=lambda: dict(DEFAULT_SIZES))
    prefix: str = "bgeraser"  # of the names of the applications
    queue_size: int = 256  # waiting calls of a family
    max_wait_seconds: float = 25.0  # calls expected to wait longer are refused
    long_seconds: float = 10.0  # longer calls never occupy every replica
    cancel_grace_seconds: float = 5.0
    close_seconds: float = 20.0  # for running calls when the backend closes
    family_of: Callable[[ToolCall], str] = families.family_of


class _Family:
    """What this process knows of a family's replicas."""

    def __init__(self, name: str, config: ClusterConfig, link: ClusterLink, statistics: Statistics) -> None:
        self.name = name
        self.replicas = 0
        self.problem: str | None = None  # why none will run
        self.report: EngineReport | None = None
        self._link = link
        self._size = config.sizes[name]
        self._is_known = False  # to be deployed
        # Monotonic seconds
        self._broken_since = math.inf
        self._wanted_since = math.inf  # since when calls have waited for a first replica
        self._refused_until = -math.inf
        self._workers: weakref.WeakSet[ClusterWorker] = weakref.WeakSet()
        self.pool = WorkerPool(
            f"bgeraser-{name}",
            self._worker,
            # Replicas have cores of their own.
            QueueLimits(config.queue_size, config.max_wait_seconds, self._size.max_replicas),
            SlotLimits(
                # Replicas enforce the limit themselves.
                memory_bytes=2 * config.replica.worker.memory_limit_bytes,
                idle_memory_share=1.0,
                calls_per_worker=1_000_000,
                long_seconds=config.long_seconds,
                cancel_grace_seconds=config.cancel_grace_seconds,
                start_seconds=60.0,
            ),
            slots=0,
            statistics=statistics,
        )

    def _worker(self) -> ClusterWorker:
        worker = ClusterWorker(f"A replica for {self.name}", partial(self._link.new_call, self.name))
        self._workers.add(worker)
        return worker

    def refuse(self, problem: Overloaded) -> None:
        """Let all calls fail that wait, here or for a replica. Called by any thread."""
        self.pool.dispatcher.fail_waiting(problem)
        for worker in list(self._workers):
            worker.refuse(problem)

    def update(self, state: FamilyState) -> None:
        self.replicas = state.running
        self.problem = self._problem_of(state)
        self._is_known = self._is_known or not state.is_broken
        if self._is_known:
            self.pool.resize(*self._size.room(state.running))

    def lose(self) -> None:
        """The connection is lost: keep calls in this server's queue."""
        self.replicas = 0
        self._is_known = False
        self.pool.resize(0)

    @property
    def is_deployed(self) -> bool:
        return self._is_known and self.problem is None

    def _problem_of(self, state: FamilyState) -> str | None:
        """Why no replica will run. Serve calls a family broken, too, whose last replica it is replacing."""
        now = time.monotonic()
        if state.running:
            self._broken_since = self._wanted_since = math.inf
            return None
        problem = state.message or "its replicas do not start"
        if now < self._refused_until:
            return problem
        self._broken_since = min(self._broken_since, now) if state.is_broken else math.inf
        is_wanted = any(self.pool.dispatcher.counts())
        self._wanted_since = min(self._wanted_since, now) if is_wanted else math.inf
        if state.status == DEPLOY_FAILED or now - self._broken_since > BROKEN_SECONDS:
            return problem
        if now - self._wanted_since > FIRST_REPLICA_SECONDS:
            # No machine has room for it, perhaps. Later calls try again.
            self._wanted_since = math.inf
            self._refused_until = now + REFUSAL_SECONDS
            return problem
        return None


class ClusterBackend:
    """Raises `connection.NoToken` unless Ray's token authentication is on."""

    def __init__(self, config: ClusterConfig) -> None:
        connection.require_token()
        self._config = config
        self._statistics = Statistics()
        driver = DriverConfig(config.address, config.prefix, uuid.uuid4().hex, config.replica, config.sizes)
        self._link = ClusterLink(driver, self)
        self._families = {name: _Family(name, config, self._link, self._statistics) for name in config.sizes}
        self._thread = threading.Thread(target=self._refuse, name="bgeraser-cluster-refusals", daemon=True)
        self._is_stopping = threading.Event()
        self._seen_at = time.monotonic()  # when the cluster last answered
        self._is_connected = False

    @property
    def worker_count(self) -> int:
        """How many replicas run."""
        return sum(family.replicas for family in self._families.values())

    def start(self) -> None:
        """Start the driver, which connects and deploys what is missing. Returns at once."""
        self._seen_at = time.monotonic()
        for family in self._families.values():
            family.pool.start()
        self._link.start()
        self._thread.start()

    def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, fail waiting ones, and stop those still running after `grace_seconds`."""
        self._is_stopping.set()
        for family in self._families.values():
            family.pool.stop(grace_seconds)

    def close(self) -> None:
        """`stop`, then wait for running calls. The replicas stay: other servers may use them."""
        self._is_stopping.set()
        deadlines = [
            (family.pool, family.pool.stop(self._config.close_seconds)) for family in self._families.values()
        ]
        for pool, stop_at in deadlines:
            pool.close(stop_at)
        self._link.close()
        if self._thread.is_alive():
            self._thread.join()

    def submit(self, call: ToolCall, on_progress: Callable[[Progress], None] | None = None) -> PoolTicket:
        """Raises Overloaded: queue full, wait too long, no replica or no cluster, or shutting down."""
        family = self._families[self._config.family_of(call)]
        problem = self._problem(family)
        if problem is not None and not self._is_stopping.is_set():
            raise problem
        return family.pool.submit(call, on_progress)

    def expected_seconds(self, tool: str, params: Params, source: tuple[int, int]) -> float | None:
        call = ToolCall(tool, params, {})
        return self._families[self._config.family_of(call)].pool.dispatcher.expected_seconds(call, source)

    def check_installed(self, tool: str, params: Params) -> None:
        report = self._report(self._families[self._config.family_of(ToolCall(tool, params, {}))])
        if report is not None:  # else no replica has said yet what it has
            catalogue.find(tool).check_installed(params, ReportedEngines(report))

    def state(self) -> BackendState:
        counts = [family.pool.dispatcher.counts() for family in self._families.values()]
        is_reachable = self._is_connected and time.monotonic() - self._seen_at < LOST_SECONDS
        reports = [family.report for family in self._families.values() if family.report is not None]
        return BackendState(
            ready=is_reachable and self._has_usable_family() and not self._is_stopping.is_set(),
            workers=self.worker_count,
            queued=sum(queued for queued, _ in counts),
            running=sum(running for _, running in counts),
            device=reports[0].device if reports else self._config.replica.worker.device,
            engines=tuple(self._engine_state(tool) for tool in catalogue.TOOLS),
        )

    def statistics(self) -> Snapshot:
        workers: dict[str, int] = {}
        engines: dict[tuple[str, str], int] = {}
        for family in self._families.values():
            of_workers, of_engines = family.pool.memory_bytes(f"{family.name}-")
            workers |= of_workers
            engines |= of_engines
        return self._statistics.snapshot(workers, engines)

    def _engine_state(self, tool: str) -> EngineState:
        family = self._families[self._config.family_of(ToolCall(tool, Params(), {}))]
        report = self._report(family)
        if report is None:
            missing = (f"no replica for {family.name} runs: {family.problem}",) if family.problem else ()
            found = EngineSelection(missing=missing)
        else:
            found = report.selections[tool]
        device = self._config.replica.worker.device if report is None else report.device
        return engine_state(tool, found, family.pool.dispatcher, device)

    def _has_usable_family(self) -> bool:
        """Whether a replica runs; one that is started by its first call counts if there are no others."""
        families = self._families.values()
        is_on_demand = all(size.min_replicas == 0 for size in self._config.sizes.values())
        return any(family.replicas > 0 or (is_on_demand and family.is_deployed) for family in families)

    def _report(self, family: _Family) -> EngineReport | None:
        """What its machines have, or those of another family: usually they are the same."""
        reports = (each.report for each in (family, *self._families.values()))
        return next((report for report in reports if report is not None), None)

    def _problem(self, family: _Family) -> Overloaded | None:
        if time.monotonic() - self._seen_at > LOST_SECONDS:
            return Overloaded("The cluster that runs the tools cannot be reached.", 10)
        if family.problem is not None:
            return Overloaded(f"No replica for {family.name} can be started: {family.problem[:200]}", 30)
        return None

    # In the link's thread

    def saw(self, states: dict[str, FamilyState]) -> None:
        for name, state in states.items():
            self._families[name].update(state)
        self._seen_at = time.monotonic()
        self._is_connected = True

    def reported(self, family: str, report: EngineReport) -> None:
        self._families[family].report = report

    def lost(self) -> None:
        self._is_connected = False
        for family in self._families.values():
            family.lose()

    # In a thread of its own

    def _refuse(self) -> None:
        """Let calls fail that nobody will take."""
        problems: dict[str, str | None] = {}
        while not self._is_stopping.wait(LOOK_SECONDS):
            for family in self._families.values():
                problem = self._problem(family)
                if problem is not None:
                    family.refuse(problem)
                if family.problem != problems.get(family.name):
                    problems[family.name] = family.problem
                    log.error("Replicas for %s: %s", family.name, family.problem or "calls are taken again")
