"""A discrete-event simulation of servers, with a virtual clock and the product's own queue.

Each simulated server has its own `ml.runtime.queue.WeightedQueue`, as each real one has. Priorities, ageing,
the slots that long and unbilled calls may not take, the bounded queue and the refusal of calls that would
wait too long are therefore the real ones; only arrivals, service times and the choice of a server are
simulated.

Guests' calls are not simulated: the supervisor of a real worker suspends and stops them in the middle of
their work. Nor are failures, restarts of servers, or callers who give up or come back after a refusal.
"""

import heapq
import itertools
import math
import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from ml.backend import Priority
from ml.runtime.queue import QueuedCall, QueueFull, WeightedQueue
from tests.benchmarks.load import percentile

#: How a proxy chooses a server: any with the same probability, or one of those with the fewest calls.
Routing = Literal["random", "least calls"]


@dataclass(frozen=True)
class Kind:
    """Calls of one kind. Each takes one of `service_seconds`, drawn at random."""

    name: str
    service_seconds: tuple[float, ...]
    share: float = 1.0  # of all calls, relative to the other kinds
    priority: Priority = Priority.PAID
    is_billed: bool = True
    is_long: bool = False

    def __post_init__(self) -> None:
        if self.priority is Priority.GUEST:
            raise ValueError("guests' calls, which real servers suspend, are not simulated")

    @cached_property
    def mean_seconds(self) -> float:
        return statistics.fmean(self.service_seconds)


@dataclass(frozen=True, eq=False)
class Arrival:
    """A call that arrives at `at`, in seconds from the start, and takes `service_seconds` of a worker."""

    at: float
    kind: Kind
    service_seconds: float


@dataclass(frozen=True)
class Servers:
    """`count` servers with `workers` each. The other values are those of `ml.runtime.local.LocalConfig`."""

    workers: int
    count: int = 1
    routing: Routing = "random"
    queue_size: int = 256
    max_wait_seconds: float = 25.0
    long_seconds: float = 10.0


@dataclass(frozen=True)
class Served:
    arrival: Arrival
    wait_seconds: float

    @property
    def ended_at(self) -> float:
        return self.arrival.at + self.wait_seconds + self.arrival.service_seconds


@dataclass(frozen=True)
class Outcome:
    """`served` in the order of arrival. `refused` were not admitted to a queue."""

    served: tuple[Served, ...]
    refused: tuple[Arrival, ...]

    @property
    def mean_wait_seconds(self) -> float:
        return sum(one.wait_seconds for one in self.served) / len(self.served)

    def wait_percentile_seconds(self, percent: float) -> float:
        return percentile([one.wait_seconds for one in self.served], percent)

    @property
    def per_second(self) -> float:
        """Served calls a second, from the first arrival to the last end."""
        return len(self.served) / (max(one.ended_at for one in self.served) - self.served[0].arrival.at)

    def of(self, priority: Priority) -> "Outcome":
        """What became of the calls of one priority."""
        return Outcome(
            tuple(one for one in self.served if one.arrival.kind.priority is priority),
            tuple(one for one in self.refused if one.kind.priority is priority),
        )

    def after(self, at: float) -> "Outcome":
        """Without the arrivals before `at`, which found the servers too empty."""
        return Outcome(
            tuple(one for one in self.served if one.arrival.at >= at),
            tuple(one for one in self.refused if one.at >= at),
        )


def poisson_arrivals(
    kinds: Sequence[Kind], per_second: float, *, seconds: float, seed: int
) -> tuple[Arrival, ...]:
    """The arrivals of `seconds`, `per_second` on average. The same seed gives the same ones."""
    source = random.Random(seed)
    return tuple(_arrivals(kinds, per_second, seconds, source))


def _arrivals(
    kinds: Sequence[Kind], per_second: float, seconds: float, source: random.Random
) -> Iterator[Arrival]:
    at, shares = 0.0, [kind.share for kind in kinds]
    while (at := at + source.expovariate(per_second)) < seconds:
        kind = source.choices(kinds, shares)[0]
        yield Arrival(at, kind, source.choice(kind.service_seconds))


def redrawn(arrivals: Sequence[Arrival], seed: int) -> tuple[Arrival, ...]:
    """The same calls at the same times, but with service times drawn anew."""
    source = random.Random(seed)
    return tuple(Arrival(one.at, one.kind, source.choice(one.kind.service_seconds)) for one in arrivals)


def simulate(arrivals: Sequence[Arrival], servers: Servers, *, seed: int = 0) -> Outcome:
    """What becomes of `arrivals`, which are in the order of time. `seed` is that of the choice of servers."""
    return _Simulation(servers, random.Random(seed)).run(arrivals)


@dataclass(eq=False)
class _Call(QueuedCall):
    arrival: Arrival | None = None


class _Server:
    def __init__(self, servers: Servers) -> None:
        self.calls = 0  # waiting and running
        self._limits = servers
        self._free = servers.workers
        self._queue: WeightedQueue[_Call] = WeightedQueue(
            servers.queue_size, servers.workers, servers.long_seconds, full_speed_calls=servers.workers
        )

    def admit(self, arrival: Arrival) -> bool:
        """As `ml.runtime.dispatcher.Dispatcher.submit` does."""
        kind = arrival.kind
        call = _Call(
            kind.priority,
            kind.mean_seconds,
            kind.is_long,
            arrival.at,
            is_billed=kind.is_billed,
            arrival=arrival,
        )
        longest = self._limits.max_wait_seconds
        if longest < math.inf and self._queue.expected_wait_seconds(arrival.at, call) > longest:
            return False
        try:
            self._queue.put(call)
        except QueueFull:
            return False
        self.calls += 1
        return True

    def begin(self, now: float) -> Iterator[_Call]:
        """The calls that free workers take now."""
        while self._free:
            call = self._queue.take(now)
            if call is None:
                return
            self._free -= 1
            yield call

    def end(self, call: _Call) -> None:
        self._queue.finish(call)
        self._free += 1
        self.calls -= 1


class _Simulation:
    def __init__(self, servers: Servers, source: random.Random) -> None:
        self._servers = [_Server(servers) for _ in range(servers.count)]
        self._routing = servers.routing
        self._source = source
        self._ends: list[tuple[float, int, _Server, _Call]] = []  # a heap
        self._numbers = itertools.count()  # so that calls which end together are not compared
        self._served: dict[Arrival, Served] = {}

    def run(self, arrivals: Sequence[Arrival]) -> Outcome:
        refused = []
        for arrival in arrivals:
            self._advance(arrival.at)
            server = self._chosen()
            if server.admit(arrival):
                self._begin(server, arrival.at)
            else:
                refused.append(arrival)
        self._advance(math.inf)
        return Outcome(tuple(self._served[one] for one in arrivals if one in self._served), tuple(refused))

    def _advance(self, until: float) -> None:
        while self._ends and self._ends[0][0] <= until:
            now, _, server, call = heapq.heappop(self._ends)
            server.end(call)
            self._begin(server, now)

    def _begin(self, server: _Server, now: float) -> None:
        for call in server.begin(now):
            arrival = call.arrival
            assert arrival is not None
            self._served[arrival] = Served(arrival, now - arrival.at)
            ends_at = now + arrival.service_seconds
            heapq.heappush(self._ends, (ends_at, next(self._numbers), server, call))

    def _chosen(self) -> _Server:
        if len(self._servers) == 1:
            return self._servers[0]
        if self._routing == "random":
            return self._source.choice(self._servers)
        calls = [server.calls for server in self._servers]
        fewest = min(calls)
        return self._source.choice(
            [server for server, count in zip(self._servers, calls, strict=True) if count == fewest]
        )
