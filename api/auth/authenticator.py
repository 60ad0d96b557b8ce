"""Who calls: from header values to the account behind an API key, and a brake on those who try bad keys."""

import asyncio
import logging
from collections import OrderedDict
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session

from api.auth import api_keys
from api.calls import admission
from api.calls.account_status import AccountStatus
from api.db.database import Database
from api.errors import InvalidApiKey, RateLimited, ServiceUnavailable
from api.rate_limit import MemoryRates
from billing.ledger import accounts, ledger
from billing.ledger.models import Account
from billing.ledger.plans import PlanName

_BAD_KEYS_A_MINUTE = 30  # of one address; as many at once
_REMEMBERED = 10_000  # addresses, and good keys: bounded, so that nobody fills the memory with made-up ones
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Caller:
    """The account behind a request, and its status when it was authenticated."""

    account_id: str
    key_id: str
    plan: PlanName
    account_status: AccountStatus


class Authenticator:
    """Tells callers by their keys. Validity is asked of the database every time, so revoking acts at once.

    The brake counts in this process only: with N processes an address has N times the attempts. It protects
    the database from floods; keys themselves cannot be guessed. It never refuses a key that is good, because
    one address may be a proxy or a network of many callers: a key of the wrong form costs a checksum and is
    refused without the database, and keys of a braked address are looked up one at a time, so that a flood
    of well-formed guesses occupies one reading thread and no more.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._bad_by_address = MemoryRates(_REMEMBERED)
        self._good_lately: OrderedDict[str, None] = OrderedDict()
        self._braked_lookups = asyncio.Semaphore(1)
        self._touches: dict[str, asyncio.Task[None]] = {}

    async def authenticate(
        self, *, authorization: str | None, x_api_key: str | None, address: str, now: datetime
    ) -> Caller:
        """The caller behind both headers. Raises InvalidApiKey, RateLimited, ServiceUnavailable."""
        plain = key_in(authorization, x_api_key)
        if not api_keys.looks_valid(plain):
            refusal = self._refusal(address, now)
            self._count_bad(address, now)
            raise refusal
        fingerprint = api_keys.hash_of(plain)
        refusal = self._refusal(address, now)
        is_braked = isinstance(refusal, RateLimited) and fingerprint not in self._good_lately
        try:
            async with self._braked_lookups if is_braked else nullcontext():
                key, account = await self._database.read(lambda s: api_keys.find_with_account(s, plain, now))
        except InvalidApiKey as error:
            self._good_lately.pop(fingerprint, None)
            self._count_bad(address, now)
            raise (refusal if is_braked else error) from None
        self._good_lately[fingerprint] = None
        self._good_lately.move_to_end(fingerprint)
        if len(self._good_lately) > _REMEMBERED:
            self._good_lately.popitem(last=False)
        if api_keys.touch_is_due(key, now) and key.id not in self._touches:
            self._touches[key.id] = asyncio.create_task(self._touch(key.id, now))
        status = await self._account_status(account, now)
        return Caller(account.id, key.id, PlanName(account.plan), status)

    async def close(self) -> None:
        """Waits for what is still being noted; before the database is closed."""
        await asyncio.gather(*self._touches.values())

    async def _account_status(self, account: Account, now: datetime) -> AccountStatus:
        rate = admission.rate_of(account, now)
        if account.period_ends_at is not None and account.period_ends_at > now:
            return AccountStatus(rate, account.available)

        def grant_new_period(session: Session) -> int:
            locked = accounts.lock(session, account.id)
            ledger.refresh(session, locked, now)
            return locked.available

        return AccountStatus(rate, await self._database.run(grant_new_period))

    async def _touch(self, key_id: str, now: datetime) -> None:
        # Beside the call, in a transaction of its own: when a key was last used is worth no caller's wait.
        try:
            await self._database.run(lambda session: api_keys.touch(session, key_id, now))
        except ServiceUnavailable:
            _log.warning("the last use of %s was not noted", key_id)
        finally:
            del self._touches[key_id]

    def _refusal(self, address: str, now: datetime) -> InvalidApiKey | RateLimited:
        """What a bad key from this address is answered with."""
        state = self._bad_by_address.state(address, limit=_BAD_KEYS_A_MINUTE, now=now)
        if state.remaining == 0:
            return RateLimited("Too many calls with keys that are not valid.", state.retry_after_seconds)
        return InvalidApiKey(api_keys.REFUSAL)

    def _count_bad(self, address: str, now: datetime) -> None:
        self._bad_by_address.take(address, limit=_BAD_KEYS_A_MINUTE, now=now)


def key_in(authorization: str | None, x_api_key: str | None) -> str:
    """The key in the headers: `Authorization: Bearer …`, else `X-Api-Key: …`. Raises InvalidApiKey."""
    scheme, _, credentials = (authorization or "").strip().partition(" ")
    if scheme.lower() == "bearer" and credentials.strip():
        return credentials.strip()
    if x_api_key and x_api_key.strip():
        return x_api_key.strip()
    raise InvalidApiKey("This call needs an API key: Authorization: Bearer bge_live_…")
