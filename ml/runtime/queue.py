"""The bounded, weighted queue in front of the workers.

The order is weighted fair queueing (self-clocked, Golestani 1994). There is one first-in-first-out flow for
each combination of priority, short or long, and capped or not. The flow whose next call would finish earliest
goes next, where the expected seconds of a paid call count a quarter of a free call's and those of a guest's
call twice as much. So under full load paid calls get four times the seconds of free ones, no flow starves,
and an idle flow does not accumulate credit.

Ageing: once the head of a flow has waited `AGED_SECONDS`, twice the longest wait that admission accepts, its
weight is multiplied by four. An aged free call thus equals fresh paid ones, but never precedes them.

Long calls occupy at most all slots but one, so that short calls never wait for long ones only. Unbilled calls
occupy at most half of the slots, because they can be requested without limit. Unbilled calls of an account
that are expected to finish within `BRIEF_SECONDS`, such as the preview of an opened picture, are exempt, so
that the editor opens while a guest's long call runs. `find_preemptible` finds a guest's long call that keeps
a billed long one waiting, so that it can be cancelled. `must_pause` suspends a guest's running calls while
billed ones need the processor's cores, unless a billed call waits for just this guest's worker. Nothing here
reads a clock or takes a lock: the time is passed in, and the dispatcher holds its own lock.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from ml.backend import Priority

WEIGHTS = {Priority.PAID: 8, Priority.FREE: 2, Priority.GUEST: 1}
RANKS = {Priority.PAID: 0, Priority.FREE: 1, Priority.GUEST: 2}  # order among equals
#: The share of the queue that calls of one priority may fill, so that none excludes the others.
SHARES = {Priority.PAID: 0.75, Priority.FREE: 0.75, Priority.GUEST: 0.25}
#: An unbilled call of an account that is expected to end within this time may use any worker.
BRIEF_SECONDS = 2.0
AGED_SECONDS = 50.0
AGED_FACTOR = 4

_MAX_WEIGHT = max(WEIGHTS.values()) * AGED_FACTOR

#: How soon a cancelled call ends, see `find_preemptible`.
PREEMPTION_SECONDS = 5.0

#: A guest's call that is suspended for so long may then run for a moment, so that guests progress at all. One
#: part in twenty leaves the 95th percentile of billed calls undisturbed.
PAUSE_SECONDS = 20.0
TURN_SECONDS = 1.0

#: Forecasts are corrected by a moving average of actual waits: the weight of the newest, and its bounds.
STRETCH_RATE = 0.1
MIN_STRETCH, MAX_STRETCH = 0.5, 5.0

#: Bounds of a call's cost in its flow, so that a wrong estimate cannot starve or favour a flow.
MIN_COST_SECONDS = 0.05
MAX_COST_SECONDS = 60.0


class QueueFull(Exception):
    """The queue, or the share of it that one priority may fill, is full."""


@dataclass(eq=False)
class QueuedCall:
    """One call in the queue. `expected_seconds` does not include waiting."""

    priority: Priority
    expected_seconds: float
    is_long: bool
    submitted_at: float
    is_billed: bool = True
    sequence: int = 0  # set by the queue, in order of arrival
    forecast_seconds: float = 0.0  # of waiting, without later arrivals; set by `expected_wait_seconds`
    began_at: float = 0.0  # set by `take`
    paused_at: float | None = None  # set by `must_pause`, as are the next two
    paused_seconds: float = 0.0
    turn_ends_at: float = 0.0

    @property
    def is_capped(self) -> bool:
        """Whether it counts among the unbilled calls that hold at most half of the slots."""
        is_brief = not self.is_long and self.expected_seconds <= BRIEF_SECONDS
        return not self.is_billed and not (is_brief and self.priority is not Priority.GUEST)

    def ran_seconds(self, now: float) -> float:
        """How long it has been running, without the time for which it was suspended."""
        return (now if self.paused_at is None else self.paused_at) - self.began_at - self.paused_seconds

    def end_pause(self, now: float) -> None:
        if self.paused_at is not None:
            self.paused_seconds += now - self.paused_at
            self.paused_at = None


E = TypeVar("E", bound=QueuedCall)


class _Key(NamedTuple):
    """The key of a flow. Sorts paid before free, short before long: the order among equals."""

    rank: int
    is_long: bool
    is_capped: bool


class _Allowed(NamedTuple):
    """Which calls may take a free slot."""

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
        # Milliseconds times the largest weight: every quotient is an integer, so that ties are exact.
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
        """A copy, for simulating the future."""
        twin = _Order[E]()
        twin.virtual_time = self.virtual_time
        twin.flows = {key: _Flow(deque(flow.entries), flow.served_until) for key, flow in self.flows.items()}
        return twin

    def flow(self, entry: QueuedCall) -> _Flow[E]:
        return self.flows[_Key(RANKS[entry.priority], entry.is_long, entry.is_capped)]

    def add(self, entry: E) -> None:
        """Insert into its flow in order of arrival: a requeued entry gets its old place."""
        flow = self.flow(entry)
        if not flow.entries:
            # An idle flow starts at the current virtual time.
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
    """Waiting and running calls.

    `size` calls may wait, `slots` is the number of workers. A running call counts as long once it
    has run for `long_seconds`, whatever its estimate. `full_speed_calls` may run at once without slowing each
    other down.
    """

    def __init__(self, size: int, slots: int, long_seconds: float, full_speed_calls: int = 1) -> None:
        self._size = size
        self.resize(slots)
        self._long_seconds = long_seconds
        self._full_speed_calls = full_speed_calls
        self._order = _Order[E]()
        self._waiting: set[E] = set()
        self._running: set[E] = set()
        self._arrivals = 0
        self._stretch = dict.fromkeys(Priority, 1.0)

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[E]:
        """The waiting calls, in arbitrary order."""
        return iter(self._waiting)

    @property
    def running(self) -> frozenset[E]:
        return frozenset(self._running)

    def resize(self, slots: int, spare: int = 0) -> None:
        """Change the number of workers. Calls that run on more of them go on.

        `spare` more calls may be taken, which wait for a worker elsewhere.
        """
        self._slots = slots
        self._spare = spare
        self._long_slots = max(1, slots - 1)
        self._capped_slots = max(1, slots // 2)

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
        if len(self._running) >= self._slots + self._spare:
            return None
        allowed = _Allowed(
            long=sum(self._is_long(entry, now) for entry in self._running) < self._long_slots,
            capped=sum(self._is_capped(entry, now) for entry in self._running) < self._capped_slots,
        )
        entry = self._order.take(now, allowed)
        if entry is not None:
            self._waiting.discard(entry)
            self._running.add(entry)
            entry.began_at = now
            entry.paused_at, entry.paused_seconds, entry.turn_ends_at = None, 0.0, 0.0
            self._compare_with_forecast(entry)
        return entry

    def _compare_with_forecast(self, entry: E) -> None:
        if entry.forecast_seconds < 1.0:
            return  # the ratio of short waits is meaningless
        stretch = self._stretch[entry.priority]
        stretch += STRETCH_RATE * ((entry.began_at - entry.submitted_at) / entry.forecast_seconds - stretch)
        self._stretch[entry.priority] = min(max(stretch, MIN_STRETCH), MAX_STRETCH)

    def find_preemptible(self, now: float, billed: E) -> E | None:
        """The guest's long call to cancel so that the long call `billed` can start soon; else None."""
        long = [entry for entry in self._running if self._is_long(entry, now)]
        if not (billed.is_billed and billed.is_long) or len(long) < self._long_slots:
            return None
        return max((entry for entry in long if _is_preemptible(entry)), key=_began_at, default=None)

    def must_pause(self, now: float, running: E) -> bool:
        """Whether a running call must be suspended now: a guest's, while billed calls need its cores."""
        is_hindrance = (
            _is_preemptible(running)
            and len(self._running) > self._full_speed_calls
            and any(entry.is_billed for entry in self._running)
            and not self._is_waited_for(now, running)
        )
        if not is_hindrance:
            running.end_pause(now)
            return False
        if now < running.turn_ends_at:
            return False
        if running.paused_at is None:
            running.paused_at = now
        elif now - running.paused_at >= PAUSE_SECONDS:
            running.end_pause(now)
            running.turn_ends_at = now + TURN_SECONDS
            return False
        return True

    def _is_waited_for(self, now: float, guest: E) -> bool:
        """Whether a billed call can only start when `guest` has ended, because long calls run elsewhere."""
        other_long = sum(self._is_long(entry, now) for entry in self._running if entry is not guest)
        keeps_short = other_long == self._slots - 1
        keeps_long = self._is_long(guest, now) and other_long == self._long_slots - 1
        return any(
            entry.is_billed and (keeps_long if entry.is_long else keeps_short) for entry in self._waiting
        )

    def is_outranked(self, running: E) -> bool:
        """Whether a call of a higher priority waits that came after this one was taken."""
        return any(
            RANKS[entry.priority] < RANKS[running.priority] and entry.submitted_at > running.began_at
            for entry in self._waiting
        )

    def finish(self, entry: E) -> None:
        """Remove a finished call: its slot is free."""
        self._running.discard(entry)

    def requeue(self, entry: E) -> None:
        """Put back a call that was taken but not started, at its old place, even into a full queue."""
        self._running.discard(entry)
        self._waiting.add(entry)
        self._order.add(entry)

    def remove(self, entry: E) -> bool:
        """Withdraw a waiting call. False if it does not wait any more."""
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
        """How long `newcomer` would wait if it were added now.

        The forecast is multiplied by the recent ratio of actual to forecast waits of its priority, because
        later paid calls overtake waiting free ones and estimates can be biased.
        """
        newcomer.forecast_seconds = dict(self.forecast(now, newcomer))[newcomer]
        return newcomer.forecast_seconds * self._stretch[newcomer.priority]

    def forecast(self, now: float, newcomer: E | None = None) -> list[tuple[E, float]]:
        """Every waiting call in the order of service, with the seconds until then.

        `newcomer` is treated as if it had just been added. Later arrivals are not considered.
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
        slots += [_Slot(0.0, True, True)] * (max(1, self._slots) - len(slots))
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
                # All waiting calls are long or capped, and such calls occupy all slots that they may: this
                # slot stays idle until one of those ends.
                ends = (slot.free_in_seconds for slot in slots if not (slot.is_short and slot.is_uncapped))
                slots.append(_Slot(min(ends), True, True))
                continue
            served.append((entry, seconds))
            slots.append(_Slot(seconds + entry.expected_seconds, not entry.is_long, not entry.is_capped))
        return served

    def _is_long(self, running: QueuedCall, now: float) -> bool:
        return running.is_long or running.ran_seconds(now) >= self._long_seconds

    @staticmethod
    def _is_capped(running: QueuedCall, now: float) -> bool:
        return running.is_capped or (not running.is_billed and now - running.began_at > BRIEF_SECONDS)


class _Slot(NamedTuple):
    """A worker in a forecast.

    Sorts by the end of its call. Of two that end together the long or capped one comes first, because its end
    allows the next call of its kind to start.
    """

    free_in_seconds: float
    is_short: bool
    is_uncapped: bool


def _is_preemptible(running: QueuedCall) -> bool:
    return not running.is_billed and running.priority is Priority.GUEST


def _began_at(running: QueuedCall) -> float:
    return running.began_at


def _remaining_seconds(entry: QueuedCall, now: float, yields: bool = False) -> float:
    """Remaining seconds of a running call, of an overdue one a quarter of its elapsed time."""
    elapsed = entry.ran_seconds(now)
    left = entry.expected_seconds - elapsed
    seconds = left if left > 0 else elapsed / 4
    return min(seconds, PREEMPTION_SECONDS) if yields else seconds
