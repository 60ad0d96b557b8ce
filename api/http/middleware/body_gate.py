"""Limits for the request bodies that one process reads at once, and for their memory.

A body is admitted before its first byte is read. It counts as arriving until it is read, and its bytes count
until the request is answered, because the image stays in memory that long. A body without room waits unread
for some seconds, so that bursts of small bodies pass; then it is refused. No account or address can take all
the memory, and free accounts together get at most half of it.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from starlette.exceptions import HTTPException

from api.errors import ApiError, RateLimited, ServerBusy

WAIT_SECONDS = 10.0
RETRY_AFTER_SECONDS = 5
#: The limits of waiting bodies, per sender and in total. Each uses a connection but no memory.
WAITING_OF_SENDER_MAX = 128
WAITING_MAX = 1024

#: The limits of bodies that are read at once.
OF_ACCOUNT_MIN = 4
OF_GUEST = 2
OF_GUESTS_AT_ADDRESS = 8
OF_ACCOUNTS_AT_ADDRESS = 64


class TooManyBodies(RateLimited, HTTPException):
    """The sender's bodies fill its share. FastAPI's own body reader only lets HTTP exceptions through."""

    def __init__(self, message: str) -> None:
        HTTPException.__init__(self, status_code=429, detail=message)
        self.message = message
        self.retry_after_seconds = RETRY_AFTER_SECONDS


class BodiesFillMemory(ServerBusy, HTTPException):
    """The bodies of all senders fill the memory for bodies."""

    def __init__(self) -> None:
        message = "The server is receiving too many uploads at the moment. Please try again."
        HTTPException.__init__(self, status_code=503, detail=message)
        self.message = message
        self.retry_after_seconds = RETRY_AFTER_SECONDS


@dataclass(frozen=True)
class Sender:
    """The sender of a body: an account, a guest's session, or only an address before authentication."""

    address: str
    account_id: str | None = None
    guest_id: str | None = None
    is_paid: bool = False
    concurrent_calls: int = 0


class _Share(NamedTuple):
    """One limit that a body counts towards."""

    name: str
    bodies: int | None
    bytes: int | None


class BodyGate:
    """For one event loop. `capacity_bytes` limits the memory of all bodies together."""

    def __init__(self, capacity_bytes: int, largest_body_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._largest_bytes = largest_body_bytes
        self._bodies: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def bytes_in_flight(self) -> int:
        return self._bytes[_ALL]

    @property
    def bodies_arriving(self) -> int:
        return self._bodies[_ALL]

    async def admit(self, sender: Sender, size_bytes: int) -> "Admission":
        """Admit a body of `size_bytes`; 0 if its size is not known yet.

        Waits for room for at most `WAIT_SECONDS`. Raises `TooManyBodies` or `BodiesFillMemory`.
        """
        shares = self._shares(sender)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WAIT_SECONDS
        own = shares[0].name
        while (refusal := self._refusal(shares, 1, size_bytes)) is not None:
            if self._waiting[own] >= WAITING_OF_SENDER_MAX or len(self._waiters) >= WAITING_MAX:
                raise refusal
            if not await self._wait_for_room(own, deadline - loop.time()):
                raise refusal
        self._add(shares, 1, size_bytes)
        return Admission(self, shares, size_bytes)

    def _shares(self, sender: Sender) -> list[_Share]:
        """The sender's own share first, the process's last."""
        half = max(self._capacity_bytes // 2, self._largest_bytes)
        quarter = max(self._capacity_bytes // 4, self._largest_bytes)
        eighth = max(self._capacity_bytes // 8, self._largest_bytes)
        address = _Share(f"strangers at {sender.address}", OF_GUESTS_AT_ADDRESS, eighth)
        shares = []
        if sender.account_id is not None:
            at_once = max(OF_ACCOUNT_MIN, sender.concurrent_calls)
            shares = [
                _Share(sender.account_id, at_once, half if sender.is_paid else quarter),
                _Share(f"accounts at {sender.address}", OF_ACCOUNTS_AT_ADDRESS, None),
            ]
        elif sender.guest_id is not None:
            shares = [_Share(sender.guest_id, OF_GUEST, eighth), address]
        else:
            shares = [address]
        if not sender.is_paid:
            shares.append(_Share(_UNPAID, None, half))
        return [*shares, _Share(_ALL, None, self._capacity_bytes)]

    def _refusal(self, shares: list[_Share], bodies: int, size_bytes: int) -> ApiError | None:
        for share in shares:
            if share.bodies is not None and self._bodies[share.name] + bodies > share.bodies:
                return TooManyBodies(
                    f"You may send at most {share.bodies} uploads at once; the others must wait."
                )
            if share.bytes is not None and self._bytes[share.name] + size_bytes > share.bytes:
                if share.name in (_UNPAID, _ALL):
                    return BodiesFillMemory()
                return TooManyBodies("Your uploads in progress are too large together.")
        return None

    async def _wait_for_room(self, own: str, seconds: float) -> bool:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[own] += 1
        self._waiters.add(waiter)
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await waiter
            return True
        except TimeoutError:
            return False
        finally:
            self._waiters.discard(waiter)
            _subtract(self._waiting, own, 1)

    def _add(self, shares: list[_Share], bodies: int, size_bytes: int) -> None:
        for share in shares:
            self._bodies[share.name] += bodies
            self._bytes[share.name] += size_bytes

    def _release(self, shares: list[_Share], bodies: int, size_bytes: int) -> None:
        for share in shares:
            _subtract(self._bodies, share.name, bodies)
            _subtract(self._bytes, share.name, size_bytes)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


class Admission:
    """The share of one admitted body."""

    def __init__(self, gate: BodyGate, shares: list[_Share], size_bytes: int) -> None:
        self._gate = gate
        self._shares = shares
        self._size_bytes = size_bytes
        self._arrives = True

    def grow_to(self, size_bytes: int) -> None:
        """Count a body that is larger than declared. Raises as `BodyGate.admit`, without waiting."""
        more = size_bytes - self._size_bytes
        if more <= 0:
            return
        refusal = self._gate._refusal(self._shares, 0, more)
        if refusal is not None:
            raise refusal
        self._gate._add(self._shares, 0, more)
        self._size_bytes = size_bytes

    def arrived(self) -> None:
        """Record that the body was read or its rest is discarded, so that another body may arrive."""
        if self._arrives:
            self._arrives = False
            self._gate._release(self._shares, 1, 0)

    def close(self) -> None:
        """Release the memory of the body when its request has ended."""
        self.arrived()
        self._gate._release(self._shares, 0, self._size_bytes)
        self._size_bytes = 0


def _subtract(counts: Counter[str], name: str, amount: int) -> None:
    """Delete names at zero, so that the table does not grow with every caller."""
    counts[name] -= amount
    if counts[name] <= 0:
        del counts[name]


_ALL = "all"
_UNPAID = "unpaid"
