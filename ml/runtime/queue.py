"""The bounded queue in front of the workers: paid before free, four to one, and long calls never everywhere.

Order is weighted fair queueing (self-clocked, Golestani 1994). Calls wait first come, first served in one
flow for each priority, by short or long, by whether they may use every worker. The flow that would finish its
next call earliest goes next, where a paid call's expected seconds count a quarter, and a guest's twice. So
when all have calls waiting, paid work gets four times the seconds of free work; no flow starves, and one that
was empty has saved up no claim.

Ageing: once the head of a flow has waited `AGED_SECONDS`, twice the longest wait that admission accepts, it
weighs four times as much. An aged free call is thus at par with fresh paid ones, never before them.

Long calls hold at most all slots but one, so a short call is never behind long ones only. Unbilled calls hold
at most half of the slots: work that costs nothing can be asked for without end, and would otherwise occupy
every worker, or every slot that long calls may hold. Unbilled calls of an account that are expected to end
within `BRIEF_SECONDS`, such as the preview of an opened picture, are exempt, so that an editor opens while a
guest's long call runs. A guest's long call that keeps a billed long one waiting is found by `find_preemptible`, to
be stopped. Nothing here reads a clock or takes a lock: the time is passed in, and `ml.runtime.local` calls under its
own lock.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from ml.backend import Priority

WEIGHTS = {Priority.PAID: 8, Priority.FREE: 2, Priority.GUEST: 1}
RANKS = {Priority.PAID: 0, Priority.FREE: 1, Priority.GUEST: 2}  # who goes first among equals
#: The part of the queue that calls of one priority may fill, so that none can keep the others out.
SHARES = {Priority.PAID: 0.75, Priority.FREE: 0.75, Priority.GUEST: 0.25}
#: An unbilled call of an account that is expected to end within this time may use any worker.
BRIEF_SECONDS = 2.0
AGED_SECONDS = 50.0
AGED_FACTOR = 4

_MAX_WEIGHT = max(WEIGHTS.values()) * AGED_FACTOR

#: How soon a running call ends that is asked to stop, see `find_preemptible`.
PREEMPTION_SECONDS = 5.0

#: Weight of the newest wait in the average by which forecasts are corrected, and the bounds of that average.
STRETCH_RATE = 0.1
MIN_STRETCH, MAX_STRETCH = 0.5, 5.0

#: What a call costs its flow at least and at most, so that no estimate can pin or freeze a flow.
MIN_COST_SECONDS = 0.05
MAX_COST_SECONDS = 60.0


class QueueFull(Exception):
    """The queue, or the share of it that one priority may fill, has no room."""


@dataclass(eq=False)
class QueuedCall:
    """One call as the queue sees it. `expected_seconds` is the work's, without waiting."""

    priority: Priority
    expected_seconds: float
    is_long: bool
    submitted_at: float
    is_billed: bool = True
    sequence: int = 0  # set by the queue, in order of arrival
    forecast_seconds: float = 0.0  # until its turn, without later arrivals; set by `expected_wait_seconds`
    began_at: float = 0.0  # set by `take`

    @property
    def is_capped(self) -> bool:
        """Whether it counts among the unbilled calls that hold at most half of the slots."""
        is_brief = not self.is_long and self.expected_seconds <= BRIEF_SECONDS
        return not self.is_billed and not (is_brief and self.priority is not Priority.GUEST)


E = TypeVar("E", bound=QueuedCall)


class _Key(NamedTuple):
    """A flow's name. Sorts paid before free, short before long: the order among equals."""

    rank: int
    is_long: bool
    is_capped: bool


class _Allowed(NamedTuple):
    """Which calls may take the slot that is free."""

    long: bool
    capped: bool


@dataclass
class _Flow(Generic[E]):
    entries: deque[E] = field(default_factory=deque)
    served_until: int = 0  # virtual time at which its last call finished

    def finish(self, now: float) -> int:
        """Virtual time at which its first waiting call would finish."""
        head = self.entries[0]
        weight = WEIGHTS[head.priority]
        if now - head.submitted_at >= AGED_SECONDS:
            weight *= AGED_FACTOR
        cost_seconds = min(max(head.expected_seconds, MIN_COST_SECONDS), MAX_COST_SECONDS)
        # Milliseconds times the largest weight: every quotient is whole, so what is equal on paper is equal
        # here, and the order among equals holds.
        return self.served_until + round(cost_seconds * 1000) * _MAX_WEIGHT // weight


class _Order(Generic[E]):
    """The flows and their common virtual time."""

    def __init__(self) -> None:
        self.flows: dict[_Key, _Flow[E]] = {
            _Key(rank, is_long, is_capped): _Flow()
            for rank in RANKS.values()
            for is_long in (False, True)
            for is_capped in (False, True)
        }
        self.virtual_time = 0

    def copy(self) -> "_Order[E]":
        """The same state with lists of its own, to try a future on."""
        twin = _Order[E]()
        twin.virtual_time = self.virtual_time
        twin.flows = {key: _Flow(deque(flow.entries), flow.served_until) for key, flow in self.flows.items()}
        return twin

    def flow(self, entry: QueuedCall) -> _Flow[E]:
        return self.flows[_Key(RANKS[entry.priority], entry.is_long, entry.is_capped)]

    def add(self, entry: E) -> None:
        """Into its flow, in order of arrival (an entry that comes back stands where it stood)."""
        flow = self.flow(entry)
        if not flow.entries:
            # An idle flow's unused share is gone: it starts at the present.
            flow.served_until = max(flow.served_until, self.virtual_time)
        behind = sum(1 for other in flow.entries if other.sequence > entry.sequence)
        flow.entries.insert(len(flow.entries) - behind, entry)

    def take(self, now: float, allowed: _Allowed) -> E | None:
        ready = [
            (flow.finish(now), key)
            for key, flow in self.flows.items()
            if flow.entries and (allowed.long or not key.is_long) and (allowed.capped or not key.is_capped)
        ]
        if not ready:
            return None
        finish, key = min(ready)
        flow = self.flows[key]
        flow.served_until = finish
        self.virtual_time = max(self.virtual_time, finish)
        return flow.entries.popleft()


class WeightedQueue(Generic[E]):
    """Calls that wait and calls that run.

    `size` calls may wait, `slots` is the number of workers. A running call counts as a long one as soon as it
    has run for `long_seconds`, whatever was expected of it.
    """

    def __init__(self, size: int, slots: int, long_seconds: float) -> None:
        self._size = size
        self._slots = slots
        self._long_slots = max(1, slots - 1)
        self._capped_slots = max(1, slots // 2)
        self._long_seconds = long_seconds
        self._order = _Order[E]()
        self._waiting: set[E] = set()
        self._running: set[E] = set()
        self._arrivals = 0
        self._stretch = dict.fromkeys(Priority, 1.0)

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[E]:
        """The waiting calls, in no order."""
        return iter(self._waiting)

    @property
    def running(self) -> frozenset[E]:
        return frozenset(self._running)

    def check_room(self, priority: Priority) -> None:
        """Raise QueueFull if a call of `priority` would not fit: in the queue, or in the priority's share."""
        same = sum(1 for entry in self._waiting if entry.priority is priority)
        if len(self._waiting) >= self._size or same >= math.ceil(self._size * SHARES[priority]):
            raise QueueFull

    def put(self, entry: E) -> None:
        """Append `entry`. Raises QueueFull."""
        self.check_room(entry.priority)
        self._arrivals += 1
        entry.sequence = self._arrivals
        self._waiting.add(entry)
        self._order.add(entry)

    def take(self, now: float) -> E | None:
        """The next call for a free slot, counted as running from `now`; None if none may run here now."""
        allowed = _Allowed(
            long=sum(self._is_long(entry, now) for entry in self._running) < self._long_slots,
            capped=sum(self._is_capped(entry, now) for entry in self._running) < self._capped_slots,
        )
        entry = self._order.take(now, allowed)
        if entry is not None:
            self._waiting.discard(entry)
            self._running.add(entry)
            entry.began_at = now
            self._compare_with_forecast(entry)
        return entry

    def _compare_with_forecast(self, entry: E) -> None:
        if entry.forecast_seconds < 1.0:
            return  # of short waits the quotient says nothing
        stretch = self._stretch[entry.priority]
        stretch += STRETCH_RATE * ((entry.began_at - entry.submitted_at) / entry.forecast_seconds - stretch)
        self._stretch[entry.priority] = min(max(stretch, MIN_STRETCH), MAX_STRETCH)

    def find_preemptible(self, now: float, billed: E) -> E | None:
        """The guest's long call that must end so that `billed`, a long one too, can begin soon; else None."""
        long = [entry for entry in self._running if self._is_long(entry, now)]
        if not (billed.is_billed and billed.is_long) or len(long) < self._long_slots:
            return None
        return max((entry for entry in long if _is_preemptible(entry)), key=_began_at, default=None)

    def finish(self, entry: E) -> None:
        """A call that ran is over; its slot is free."""
        self._running.discard(entry)

    def requeue(self, entry: E) -> None:
        """A call that was taken but not begun waits again, at its old place; always fits."""
        self._running.discard(entry)
        self._waiting.add(entry)
        self._order.add(entry)

    def remove(self, entry: E) -> bool:
        """Withdraw a waiting call; False if it waits no more."""
        if entry not in self._waiting:
            return False
        self._waiting.discard(entry)
        self._order.flow(entry).entries.remove(entry)
        return True

    def drain(self) -> list[E]:
        """Withdraw every waiting call, oldest first."""
        entries = sorted(self._waiting, key=lambda entry: entry.sequence)
        for entry in entries:
            self.remove(entry)
        return entries

    def expected_wait_seconds(self, now: float, newcomer: E) -> float:
        """How long `newcomer` would wait if it were put now.

        The forecast of those already here, times what waits of its priority lately were against theirs: paid
        calls that come later go before free ones that wait, and estimates may be wrong in one direction.
        """
        newcomer.forecast_seconds = dict(self.forecast(now, newcomer))[newcomer]
        return newcomer.forecast_seconds * self._stretch[newcomer.priority]

    def forecast(self, now: float, newcomer: E | None = None) -> list[tuple[E, float]]:
        """Every waiting call in the order it will be served, with the seconds until then.

        `newcomer` is counted as if it had just been put. Later arrivals are not foreseen.
        """
        order = self._order.copy()
        if newcomer is not None:
            newcomer.sequence = self._arrivals + 1
            order.add(newcomer)
        yields = newcomer is not None and self.find_preemptible(now, newcomer) is not None
        slots = [
            _Slot(
                _remaining_seconds(entry, now, yields and _is_preemptible(entry)),
                not self._is_long(entry, now),
                not self._is_capped(entry, now),
            )
            for entry in self._running
        ]
        slots += [_Slot(0.0, True, True)] * (self._slots - len(slots))
        served: list[tuple[E, float]] = []
        while len(served) < len(self._waiting) + (newcomer is not None):
            slots.sort()
            seconds = slots.pop(0).free_in_seconds
            allowed = _Allowed(
                long=sum(not slot.is_short for slot in slots) < self._long_slots,
                capped=sum(not slot.is_uncapped for slot in slots) < self._capped_slots,
            )
            entry = order.take(now + seconds, allowed)
            if entry is None:
                # All that waits is long or capped, and others hold all that such calls may: this slot is of
                # no use before one of them ends.
                ends = (slot.free_in_seconds for slot in slots if not (slot.is_short and slot.is_uncapped))
                slots.append(_Slot(min(ends), True, True))
                continue
            served.append((entry, seconds))
            slots.append(_Slot(seconds + entry.expected_seconds, not entry.is_long, not entry.is_capped))
        return served

    def _is_long(self, running: QueuedCall, now: float) -> bool:
        return running.is_long or now - running.began_at >= self._long_seconds

    @staticmethod
    def _is_capped(running: QueuedCall, now: float) -> bool:
        return running.is_capped or (not running.is_billed and now - running.began_at > BRIEF_SECONDS)


class _Slot(NamedTuple):
    """A worker in a forecast, and the call in it.

    Sorts by its end. Of two that end together the long or capped one comes first, since its end is what makes
    room for the next one of its kind.
    """

    free_in_seconds: float
    is_short: bool
    is_uncapped: bool


def _is_preemptible(running: QueuedCall) -> bool:
    return not running.is_billed and running.priority is Priority.GUEST


def _began_at(running: QueuedCall) -> float:
    return running.began_at


def _remaining_seconds(entry: QueuedCall, now: float, yields: bool = False) -> float:
    """What a running call still needs; one that overran is taken to need a quarter more than it has had."""
    elapsed = now - entry.began_at
    left = entry.expected_seconds - elapsed
    seconds = left if left > 0 else elapsed / 4
    return min(seconds, PREEMPTION_SECONDS) if yields else seconds
