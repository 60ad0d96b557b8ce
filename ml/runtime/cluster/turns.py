"""Whose call the replicas of a family run next, when several API servers share them.

Serve queues calls of different servers in no order, so that one that always has calls starves the others.
`Turns`, an actor that every server asks before it sends a call, gives turns in the order of the same weighted
queue as on one machine. If it cannot be reached, servers send their calls without.
"""

import asyncio
import itertools
import logging
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ml.backend import Priority
from ml.runtime.messages import StartCall
from ml.runtime.queue import QueuedCall, WeightedQueue

log = logging.getLogger(__name__)

#: The turns of a sender that has not been heard of for so long are given to others.
SILENT_SECONDS = 20.0
#: How many senders are remembered that are gone.
GONE_MAX = 10_000
#: A call that runs for so long counts as a long one.
LONG_SECONDS = 10.0
#: Servers bound their own queues.
QUEUE_SIZE = 1_000_000
#: Expected of calls of which nothing was measured.
UNKNOWN_SECONDS = 0.5


@dataclass(frozen=True)
class TurnRequest:
    """`sender` and `number` name an attempt to run a call; the rest is its place in the queue.

    Senders are the drivers of servers.
    """

    sender: str
    number: int
    priority: Priority
    expected_seconds: float
    is_long: bool
    is_billed: bool

    @classmethod
    def of(cls, sender: str, number: int, work: StartCall) -> "TurnRequest":
        seconds = UNKNOWN_SECONDS if work.estimate is None else work.estimate.mean_seconds
        call = work.call
        is_long = work.long_seconds is None
        return cls(sender, number, call.priority, seconds, is_long, call.is_billed)


@dataclass(eq=False)
class _Turn(QueuedCall):
    sender: str = field(kw_only=True)
    is_given: bool = field(kw_only=True, default=False)
    decided: asyncio.Event = field(kw_only=True, default_factory=asyncio.Event)


class _Line:
    """The turns of one family."""

    def __init__(self) -> None:
        self.queue: WeightedQueue[_Turn] = WeightedQueue(QUEUE_SIZE, 0, LONG_SECONDS)
        self.turns: dict[tuple[str, int], _Turn] = {}

    def give(self) -> None:
        """Give turns as long as replicas are free."""
        while (turn := self.queue.take(time.monotonic())) is not None:
            turn.is_given = True
            turn.decided.set()

    def end(self, name: tuple[str, int]) -> None:
        turn = self.turns.pop(name, None)
        if turn is not None:
            if not self.queue.remove(turn):
                self.queue.finish(turn)
            turn.decided.set()
            self.give()


class Turns:
    """For one event loop."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._senders: dict[str, str] = {}  # of servers
        self._heard_at: dict[str, float] = {}  # by sender
        self._gone: dict[str, None] = {}  # senders, the latest last

    async def take(self, family: str, request: TurnRequest) -> bool:
        """Wait for a turn. False if it was given back meanwhile."""
        line = self._lines.setdefault(family, _Line())
        turn = _Turn(
            request.priority,
            request.expected_seconds,
            request.is_long,
            time.monotonic(),
            request.is_billed,
            sender=request.sender,
        )
        line.turns[request.sender, request.number] = turn
        line.queue.put(turn)
        line.give()
        await turn.decided.wait()
        return turn.is_given

    async def give_back(self, family: str, sender: str, number: int) -> None:
        """The call has ended, or does not want its turn any more."""
        line = self._lines.get(family)
        if line is not None:
            line.end((sender, number))

    async def begin(self, server: str, sender: str) -> None:
        """`sender` is a server's driver from now on: the one that it had before is gone."""
        former = self._senders.get(server)
        self._senders[server] = sender
        if former not in (None, sender):
            self._forget({former})

    async def is_gone(self, sender: str) -> bool:
        """Whether nobody waits for what `sender` has sent."""
        heard_at = self._heard_at.get(sender)
        is_silent = heard_at is not None and time.monotonic() - heard_at > SILENT_SECONDS
        return is_silent or sender in self._gone

    async def renew(self, sender: str, sizes: Mapping[str, tuple[int, int]]) -> None:
        """`sender` lives, and sees so many replicas of each family, and may send so many more calls."""
        now = time.monotonic()
        self._heard_at[sender] = now
        self._gone.pop(sender, None)  # it was only silent
        self._forget({name for name, at in self._heard_at.items() if now - at > SILENT_SECONDS})
        for family, (replicas, spare) in sizes.items():
            line = self._lines.setdefault(family, _Line())
            line.queue.resize(replicas, spare)
            line.give()

    def _forget(self, senders: set[str]) -> None:
        """Give their turns to others."""
        for sender in senders:
            self._heard_at.pop(sender, None)
            self._gone[sender] = None
        for server in [server for server, sender in self._senders.items() if sender in senders]:
            del self._senders[server]
        while len(self._gone) > GONE_MAX:
            del self._gone[next(iter(self._gone))]
        for line in self._lines.values():
            for turn in [turn for turn in line.turns if turn[0] in senders]:
                line.end(turn)

    async def counts(self) -> dict[str, tuple[int, int]]:
        """How many turns of each family are wanted and given."""
        return {family: (len(line.queue), len(line.queue.running)) for family, line in self._lines.items()}


class TurnsLink:
    """This driver's way to the cluster's `Turns`. Without them, calls are sent at once."""

    def __init__(self, prefix: str, server: str) -> None:
        self.sender = uuid.uuid4().hex
        self._name = _actor_name(prefix)
        self._server = server
        self._numbers = itertools.count()
        self._actor: Any = None
        self._renewals: list[tuple[float, Any]] = []  # that were not answered yet

    def connect(self) -> None:
        """Find the actor, or start it."""
        import ray

        self._actor = (
            ray.remote(Turns)
            .options(
                name=self._name,
                lifetime="detached",
                get_if_exists=True,
                num_cpus=0,
                max_concurrency=100_000,
                max_restarts=-1,
            )
            .remote()
        )
        self._actor.begin.remote(self._server, self.sender)

    @property
    def is_reachable(self) -> bool:
        """Whether it answers. It is asked in the thread that watches the cluster."""
        return not self._renewals or time.monotonic() - self._renewals[0][0] < SILENT_SECONDS / 2

    def renew(self, sizes: Mapping[str, tuple[int, int]]) -> None:
        import ray

        asked = [ref for _, ref in self._renewals]
        done, _ = ray.wait(asked, num_returns=len(asked), timeout=0) if asked else ([], [])
        self._renewals = [(at, ref) for at, ref in self._renewals if ref not in done]
        self._renewals.append((time.monotonic(), self._actor.renew.remote(self.sender, sizes)))

    def take(self, family: str, work: StartCall) -> "_RemoteTurn":
        request = TurnRequest.of(self.sender, next(self._numbers), work)
        return _RemoteTurn(self, self._actor, family, request)


class _RemoteTurn:
    """`ml.runtime.cluster.worker.Turn`."""

    def __init__(self, link: TurnsLink, actor: Any, family: str, request: TurnRequest) -> None:
        self._link = link
        self._actor = actor
        self._family = family
        self._request = request
        self._ref = actor.take.remote(family, request)

    def wait(self, seconds: float) -> bool:
        import ray

        done, _ = ray.wait([self._ref], timeout=seconds)
        if not done:
            return not self._link.is_reachable
        with suppress(Exception):  # the actor is gone: Serve's own order must do
            ray.get(self._ref)
        return True

    def give_back(self) -> None:
        request = self._request
        self._actor.give_back.remote(self._family, request.sender, request.number)


class Senders:
    """Of whom the cluster's `Turns` know, as seen by a replica: `ml.runtime.cluster.replica.SenderWatch`."""

    def __init__(self, prefix: str) -> None:
        self._name = _actor_name(prefix)

    async def is_gone(self, sender: str) -> bool:
        import ray

        try:
            actor = await asyncio.to_thread(ray.get_actor, self._name)
            return bool(await actor.is_gone.remote(sender))
        except Exception as error:  # the actor is gone or starts again: it cannot say
            log.info("Whether a sender is gone is not known: %r", error)
            return False


def _actor_name(prefix: str) -> str:
    return f"{prefix}-turns"
