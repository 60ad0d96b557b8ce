"""Admission of unbilled work: the editor's free runs, overlays, conversions, previews and opened images.

Credits do not limit unbilled work, so it is admitted before it starts: by a rate for each visitor and, for
guests, each network address; and by the amount that runs at once, for each visitor, each network address and
the whole process. Guests get a part of the process only, so that they cannot lock out accounts. Finished work
no longer counts. `ml.runtime.queue` keeps unbilled calls from holding more than half of the workers.

The limits hold for one process: with N processes a visitor may have N times as much. That suffices to keep
workers free; billed calls are counted exactly, in the database.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import TracebackType
from weakref import WeakValueDictionary

from api.errors import RateLimited
from api.rate_limit import MemoryRates
from ml.backend import Priority
from ml.errors import Overloaded

#: Unbilled work that runs at the same time, without previews.
VISITOR_AT_ONCE = 4
GUEST_NETWORK_AT_ONCE = 6
NETWORK_AT_ONCE = 16
GUESTS_AT_ONCE = 12
PROCESS_AT_ONCE = 32

#: Previews rendered at the same time for one visitor and for all guests together; further ones wait.
PREVIEWS_AT_ONCE = 2
GUEST_PREVIEWS_AT_ONCE = 4
PREVIEWS_WAITING_OF_NETWORK = 64
PREVIEWS_WAITING_OF_GUESTS = 256
PREVIEWS_WAITING = 512

#: A guest's conversion or preview is stopped after this time.
GUEST_RENDITION_SECONDS = 60.0


class UnbilledKind(StrEnum):
    RUN = "run"
    LOOK = "look"
    RENDERING = "rendering"
    EDIT = "edit"
    OVERLAY = "overlay"
    CONVERSION = "conversion"
    OPENING = "opening"


@dataclass(frozen=True)
class Allowance:
    """Limits of one kind of work. None: no rate of its own."""

    at_once: int  # of one visitor
    a_minute: int | None = None  # of one visitor
    guests_a_minute: int | None = None  # of all guests at one network address


#: An account's opened images count towards its rate of API calls, as `POST /api/images` does.
ALLOWANCES = {
    UnbilledKind.RUN: Allowance(at_once=2, guests_a_minute=10),
    # A look is a row without work until it is drawn.
    UnbilledKind.LOOK: Allowance(at_once=2, a_minute=240, guests_a_minute=240),
    UnbilledKind.RENDERING: Allowance(at_once=2, a_minute=60, guests_a_minute=30),
    UnbilledKind.EDIT: Allowance(at_once=2, a_minute=60),
    UnbilledKind.OVERLAY: Allowance(at_once=4, a_minute=60, guests_a_minute=120),
    UnbilledKind.CONVERSION: Allowance(at_once=2, a_minute=30, guests_a_minute=60),
    UnbilledKind.OPENING: Allowance(at_once=2, guests_a_minute=6),
}


@dataclass(frozen=True)
class Claimant:
    """The visitor that requests unbilled work. `network` comes from `api.networks.network_of`."""

    name: str  # of the account or the guest's session
    network: str
    priority: Priority

    @property
    def is_guest(self) -> bool:
        return self.priority is Priority.GUEST


class UnbilledSlot:
    """Permission for one piece of unbilled work, until it is released. A context manager."""

    def __init__(self, running: Counter[tuple[str, ...]], counted: list[tuple[str, ...]]) -> None:
        self._running = running
        self._counted = counted
        running.update(counted)

    def release(self) -> None:
        """Release the slot; calling this again does nothing."""
        for bucket in self._counted:
            self._running[bucket] -= 1
            if not self._running[bucket]:
                del self._running[bucket]
        self._counted = []

    def __enter__(self) -> "UnbilledSlot":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class UnbilledAdmission:
    """This process's running unbilled work, and each visitor's recent rate."""

    def __init__(self) -> None:
        self._rates = MemoryRates()  # by kind, and visitor or network
        self._running: Counter[tuple[str, ...]] = Counter()
        self._waiting: Counter[tuple[str, ...]] = Counter()
        self._lines: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._guests_line = asyncio.Semaphore(GUEST_PREVIEWS_AT_ONCE)

    def admit(self, kind: UnbilledKind, claimant: Claimant, now: datetime) -> UnbilledSlot:
        """Admit one piece of work, before anything is done for it.

        Raises `RateLimited` when the visitor or the network has reached a limit, and `Overloaded` when the
        process has.
        """
        allowance = ALLOWANCES[kind]
        own = [("visitor", claimant.name, kind.value), ("visitor", claimant.name)]
        network = ("guests", claimant.network) if claimant.is_guest else ("network", claimant.network)
        common = ("guests",) if claimant.is_guest else ("process",)
        most = {
            own[0]: allowance.at_once,
            own[1]: VISITOR_AT_ONCE,
            network: GUEST_NETWORK_AT_ONCE if claimant.is_guest else NETWORK_AT_ONCE,
        }
        if any(self._running[bucket] >= limit for bucket, limit in most.items()):
            raise RateLimited("Too much is running at once; wait for some of it to finish.", 1)
        if self._running[("all",)] >= PROCESS_AT_ONCE or (
            claimant.is_guest and self._running[("guests",)] >= GUESTS_AT_ONCE
        ):
            raise Overloaded("The server is running as much free work as it allows at once.", 5)
        if allowance.a_minute is not None:
            self._take(kind, claimant.name, allowance.a_minute, now)
        if claimant.is_guest and allowance.guests_a_minute is not None:
            self._take(kind, f"guests at {claimant.network}", allowance.guests_a_minute, now)
        return UnbilledSlot(self._running, [*own, network, common, ("all",)])

    @asynccontextmanager
    async def preview_turn(self, claimant: Claimant) -> AsyncIterator[None]:
        """Wait until one preview may be rendered, and hold that slot.

        Pages request many previews at once, so previews wait instead of being refused. Raises `RateLimited`
        or `Overloaded` when too many are waiting.
        """
        network = ("guests", claimant.network) if claimant.is_guest else ("network", claimant.network)
        if self._waiting[network] >= PREVIEWS_WAITING_OF_NETWORK:
            raise RateLimited("Too many previews are being rendered; wait for some of them.", 1)
        if self._waiting[("all",)] >= PREVIEWS_WAITING or (
            claimant.is_guest and self._waiting[("guests",)] >= PREVIEWS_WAITING_OF_GUESTS
        ):
            raise Overloaded("The server is rendering as many previews as it allows at once.", 5)
        counted = [network, ("all",), *([("guests",)] if claimant.is_guest else [])]
        with UnbilledSlot(self._waiting, counted):
            line = self._lines.get(claimant.name)
            if line is None:
                line = self._lines[claimant.name] = asyncio.Semaphore(PREVIEWS_AT_ONCE)
            async with line:
                if not claimant.is_guest:
                    yield
                    return
                async with self._guests_line:
                    yield

    def _take(self, kind: UnbilledKind, subject: str, a_minute: int, now: datetime) -> None:
        name = (kind.value, subject)
        if not self._rates.take(name, limit=a_minute, now=now):
            seconds = self._rates.state(name, limit=a_minute, now=now).retry_after_seconds
            raise RateLimited(f"At most {a_minute} a minute; try again in {seconds} s.", seconds)
