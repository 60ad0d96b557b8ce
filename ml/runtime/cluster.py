"""Runs calls in a Ray cluster: `ClusterBackend` implements `ml.backend.Backend` on Ray Serve.

    cluster             configuration, families as this process sees them, state
    cluster_connection  the connection of this process to a cluster
    cluster_families    which tools share replicas, and how many
    cluster_deployment  how they are deployed on Ray Serve
    cluster_replica     a replica: one worker process on a machine of the cluster
    cluster_worker      a replica as a worker of this process
    cluster_turns       whose call is next, among those of all servers
    engine_report       what is installed there

Everything else is as on one machine: each family has a `pool` with a queue, and each of its slots supervises
one call at a time. There are as many slots as replicas run, so that calls wait in our weighted queue and not
in Serve's, which knows no priorities.
"""

import logging
import math
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ml import catalogue
from ml.backend import BackendState, EngineState, Progress, ToolCall
from ml.editing.engine_selection import EngineSelection
from ml.errors import Overloaded
from ml.params import Params
from ml.runtime import cluster_connection, cluster_deployment, cluster_families
from ml.runtime.call_monitor import SlotLimits
from ml.runtime.cluster_deployment import DEPLOY_FAILED, MISSING, FamilyState
from ml.runtime.cluster_families import DEFAULT_SIZES, FamilySize
from ml.runtime.cluster_replica import ReplicaConfig
from ml.runtime.cluster_turns import TurnsLink
from ml.runtime.cluster_worker import ClusterWorker, Stream
from ml.runtime.engine_report import EngineReport, ReportedEngines
from ml.runtime.messages import StartCall
from ml.runtime.pool import PoolTicket, QueueLimits, WorkerPool, engine_state
from ml.statistics import Snapshot, Statistics

log = logging.getLogger(__name__)

#: Interval at which Serve is asked for its replicas: the shorter one after a change, then longer each time.
#: Once a second, the answers would take a twentieth of a core.
WATCH_SECONDS = 1.0
LONGEST_WATCH_SECONDS = 5.0
#: How often a family's replicas are asked what is installed, and how long they may take to answer.
REPORT_SECONDS = 30.0
REPORT_TIMEOUT_SECONDS = 20.0
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
    family_of: Callable[[ToolCall], str] = cluster_families.family_of


class _Family:
    """What this process knows of a family's replicas."""

    def __init__(self, name: str, config: ClusterConfig, link: TurnsLink, statistics: Statistics) -> None:
        self.name = name
        self._link = link
        self.replicas = 0
        self.problem: str | None = None  # why none will run
        self.report: EngineReport | None = None
        self._config = config
        # Monotonic seconds
        self._broken_since = math.inf
        self._wanted_since = math.inf  # since when calls have waited for a first replica
        self._refused_until = -math.inf
        self._workers: weakref.WeakSet[ClusterWorker] = weakref.WeakSet()
        self._handle: Any = None
        self._report_asked_at = -REPORT_SECONDS
        self._asked: Any = None
        size = config.sizes[name]
        self.pool = WorkerPool(
            f"bgeraser-{name}",
            self._worker,
            # Replicas have cores of their own.
            QueueLimits(config.queue_size, config.max_wait_seconds, size.max_replicas),
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
        take_turn = partial(self._link.take, self.name)
        worker = ClusterWorker(f"A replica for {self.name}", take_turn, self._open_stream)
        self._workers.add(worker)
        return worker

    def refuse(self, problem: Overloaded) -> None:
        """Let all calls fail that wait, here or for a replica. Called by any thread."""
        self.pool.dispatcher.fail_waiting(problem)
        for worker in list(self._workers):
            worker.refuse(problem)

    def _open_stream(self, work: StartCall, payloads: list[bytes]) -> Stream:
        stream: Stream = self._handle.options(stream=True).run.remote(work, *payloads)
        return stream

    def update(self, state: FamilyState) -> None:
        self.replicas = state.running
        self.problem = self._problem_of(state)
        if self._handle is None and not state.is_broken:
            self._handle = cluster_deployment.handle(self._config.prefix, self.name)
        if self._handle is not None:
            self.pool.resize(*self.room)
            self._ask_for_report()

    @property
    def is_deployed(self) -> bool:
        return self._handle is not None and self.problem is None

    @property
    def room(self) -> tuple[int, int]:
        """How many replicas run, and how many calls may be sent besides."""
        return self.replicas, self._spare()

    def _spare(self) -> int:
        """How many calls to send that have no replica yet: by them, Serve sees that more are wanted."""
        room = self._config.sizes[self.name].max_replicas - self.replicas
        return min(room, max(1, self.replicas // 4)) if room > 0 else 0

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

    def _ask_for_report(self) -> None:
        """Ask a replica what is installed, without waiting: it answers when it is free."""
        now = time.monotonic()
        if self._asked is not None:
            try:
                self.report = self._asked.result(timeout_s=0)
                self._asked = None
            except TimeoutError:
                if now - self._report_asked_at < REPORT_TIMEOUT_SECONDS:
                    return
                self._asked.cancel()
                self._asked = None
            except Exception as error:  # the replica is gone, or its machine
                log.info("No report of %s: %r", self.name, error)
                self._asked = None
        interval = REPORT_SECONDS if self.report is not None else WATCH_SECONDS
        if self.replicas and self._asked is None and now - self._report_asked_at >= interval:
            self._report_asked_at = now
            self._asked = self._handle.report.remote()


class ClusterBackend:
    """Raises `cluster_connection.NoToken` unless Ray's token authentication is on."""

    def __init__(self, config: ClusterConfig) -> None:
        cluster_connection.require_token()
        self._config = config
        self._statistics = Statistics()
        self._turns = TurnsLink(config.prefix)
        self._families = {name: _Family(name, config, self._turns, self._statistics) for name in config.sizes}
        # Two, because Ray may not return for minutes while the cluster is away.
        self._threads = [
            threading.Thread(target=self._watch, name="bgeraser-cluster", daemon=True),
            threading.Thread(target=self._refuse, name="bgeraser-cluster-refusals", daemon=True),
        ]
        self._is_stopping = threading.Event()
        self._seen_at = time.monotonic()  # when the cluster last answered
        self._is_connected = False

    @property
    def worker_count(self) -> int:
        """How many replicas run."""
        return sum(family.replicas for family in self._families.values())

    def start(self) -> None:
        """Connect to the cluster and deploy what is missing there. Returns at once."""
        self._seen_at = time.monotonic()
        for family in self._families.values():
            family.pool.start()
        for thread in self._threads:
            thread.start()

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
        for thread in self._threads:
            if thread.is_alive():
                thread.join(WATCH_SECONDS)  # one that waits for a cluster that is away is left behind

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

    # In the thread that watches the cluster

    def _watch(self) -> None:
        outage: str | None = None
        states: dict[str, FamilyState] = {}
        interval = WATCH_SECONDS
        while not self._is_stopping.is_set():
            try:
                if not self._is_connected:
                    self._connect()
                seen = self._update()
                interval = WATCH_SECONDS if seen != states else min(1.5 * interval, LONGEST_WATCH_SECONDS)
                states = seen
                self._seen_at = time.monotonic()
                outage = None
            except Exception as error:  # Ray has many kinds
                if repr(error) != outage:
                    outage = repr(error)
                    log.exception("The cluster cannot be reached")
                interval = WATCH_SECONDS
            self._is_stopping.wait(interval)

    def _refuse(self) -> None:
        """In a thread of its own: let calls fail that nobody will take."""
        problems: dict[str, str | None] = {}
        while not self._is_stopping.wait(WATCH_SECONDS):
            for family in self._families.values():
                problem = self._problem(family)
                if problem is not None:
                    family.refuse(problem)
                if family.problem != problems.get(family.name):
                    problems[family.name] = family.problem
                    log.error("Replicas for %s: %s", family.name, family.problem or "calls are taken again")

    def _connect(self) -> None:
        cluster_connection.connect(self._config.address)
        self._turns.connect()
        self._is_connected = True
        missing = [name for name, state in self._states().items() if state.status == MISSING]
        cluster_deployment.deploy(self._config.prefix, self._config.replica, self._config.sizes, missing)

    def _update(self) -> dict[str, FamilyState]:
        states = self._states()
        for name, state in states.items():
            self._families[name].update(state)
        self._turns.renew({name: family.room for name, family in self._families.items()})
        return states

    def _states(self) -> dict[str, FamilyState]:
        return cluster_deployment.states(self._config.prefix, self._families)
