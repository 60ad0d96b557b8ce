"""Authentication by API key: from header values to the caller's account, with a limit on invalid keys."""

import asyncio
import logging
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime

from cachetools import LRUCache
from sqlmodel import Session

from api.auth import api_keys, key_settings
from api.auth.models import ApiKey
from api.calls import admission
from api.calls.account_status import AccountStatus
from api.calls.types import priority_of
from api.db.database import Database
from api.errors import Forbidden, InvalidApiKey, RateLimited, ServiceUnavailable
from api.networks import network_of
from api.rate_limit import MemoryRates
from billing.ledger import accounts, ledger
from billing.ledger.models import Account
from billing.ledger.plans import PlanName
from ml.backend import Priority

#: Invalid keys accepted from one address: the rate, refilled evenly, and the burst.
_INVALID_KEYS_PER_MINUTE = 30
#: The limit of remembered addresses, and of remembered valid keys, so that a flood cannot fill the memory.
CACHE_SIZE = 10_000
#: No header and no JSON text of a caller has it at the beginning of a key.
_TEST_SCOPE = "\x1ftest:"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Caller:
    """The account behind a request, and its status when it was authenticated."""

    account_id: str
    key_id: str
    plan: PlanName
    account_status: AccountStatus
    #: The names of the tools that the key may use; None: all.
    tools: frozenset[str] | None = None
    #: Where its calls count; None for a test key.
    budget_id: str | None = None
    is_test: bool = False
    #: The member of the account who made the key; None: its owner.
    person_id: str | None = None

    @property
    def is_of_member(self) -> bool:
        return self.person_id is not None

    def require_owner(self) -> None:
        """Raises Forbidden for a key of a member: what it sets up would outlast the membership."""
        if self.is_of_member:
            raise Forbidden("Only keys that the account's owner made may do this.")

    def require_tool(self, name: str) -> None:
        """Raises Forbidden if the key may not use the tool."""
        if self.tools is not None and name not in self.tools:
            allowed = ", ".join(sorted(self.tools))
            raise Forbidden(f"This API key may not use {name}. It may use: {allowed}.")

    def check_rate(self) -> None:
        """Raises RateLimited if no call of the rate was left when the key was authenticated."""
        admission.check_rate(self.account_status.rate, is_test=self.is_test)

    def scoped(self, idempotency_key: str | None) -> str | None:
        """The caller's idempotency key, apart from those of live calls for a test key."""
        return _TEST_SCOPE + idempotency_key if self.is_test and idempotency_key else idempotency_key

    @property
    def priority(self) -> Priority:
        """The queue priority of its calls: those of a test key are never before anybody's billed ones."""
        return Priority.GUEST if self.is_test else priority_of(self.plan)


class Authenticator:
    """Authenticates callers by their keys, in the database each time, so that revoking acts at once.

    Invalid keys are counted in this process only: with N processes an address has N times the attempts. The
    limit protects the database from floods; keys cannot be guessed. It never refuses a valid key, because
    one address may be a proxy or a network of many callers. A malformed key costs a checksum and is refused
    without the database. Keys from an address over the limit are looked up one at a time, so that a flood of
    well-formed guesses occupies a single reading thread.
    """

    def __init__(
        self, database: Database, test_calls_per_minute: int = admission.TEST_CALLS_PER_MINUTE
    ) -> None:
        self._database = database
        self._test_calls_per_minute = test_calls_per_minute
        self._invalid_by_address = MemoryRates(CACHE_SIZE)
        self._valid_keys: LRUCache[str, None] = LRUCache(CACHE_SIZE)
        self._limited_lookups = asyncio.Semaphore(1)
        self._touches: dict[str, asyncio.Task[None]] = {}

    async def authenticate(
        self, *, authorization: str | None, x_api_key: str | None, address: str, now: datetime
    ) -> Caller:
        """The caller behind both headers. Raises InvalidApiKey, RateLimited, ServiceUnavailable."""
        plain = key_in(authorization, x_api_key)
        used_from, address = address, network_of(address)
        if not api_keys.is_well_formed(plain):
            refusal = self._refusal(address, now)
            self._count_invalid(address, now)
            raise refusal
        fingerprint = api_keys.hash_of(plain)
        refusal = self._refusal(address, now)
        is_limited = isinstance(refusal, RateLimited) and fingerprint not in self._valid_keys
        try:
            async with self._limited_lookups if is_limited else nullcontext():
                key, account = await self._database.read(lambda s: api_keys.find_with_account(s, plain, now))
        except InvalidApiKey as error:
            self._valid_keys.pop(fingerprint, None)
            self._count_invalid(address, now)
            raise (refusal if is_limited else error) from None
        self._valid_keys[fingerprint] = None
        if key.id not in self._touches and api_keys.touch_is_due(key, used_from, now):
            self._touches[key.id] = asyncio.create_task(self._touch(key.id, used_from, now))
        status = await self._account_status(account, key, now)
        return Caller(
            account.id,
            key.id,
            PlanName(account.plan),
            status,
            tools=key_settings.tools_of(key),
            budget_id=api_keys.budget_id_of(key),
            is_test=key.is_test,
            person_id=key.created_by_id,
        )

    async def close(self) -> None:
        """Wait for pending writes; call it before the database is closed."""
        await asyncio.gather(*self._touches.values())

    async def _account_status(self, account: Account, key: ApiKey, now: datetime) -> AccountStatus:
        rate = admission.rate_of(account, now, self._test_calls_per_minute if key.is_test else None)
        if account.verified_at is None or (
            account.period_ends_at is not None and account.period_ends_at > now
        ):
            return AccountStatus(rate, account.available)

        def grant_new_period(session: Session) -> int:
            locked = accounts.lock(session, account.id)
            ledger.refresh(session, locked, now)
            return locked.available

        return AccountStatus(rate, await self._database.run(grant_new_period))

    async def _touch(self, key_id: str, address: str, now: datetime) -> None:
        # Runs in a separate task and transaction, so that calls do not wait for it.
        try:
            await self._database.run(lambda session: api_keys.touch(session, key_id, address, now))
        except ServiceUnavailable:
            _log.warning("the last use of %s could not be recorded", key_id)
        finally:
            del self._touches[key_id]

    def _refusal(self, address: str, now: datetime) -> InvalidApiKey | RateLimited:
        """The error for an invalid key from this address."""
        state = self._invalid_by_address.state(address, limit=_INVALID_KEYS_PER_MINUTE, now=now)
        if state.remaining == 0:
            return RateLimited("Too many calls with keys that are not valid.", state.retry_after_seconds)
        return InvalidApiKey(api_keys.REFUSAL)

    def _count_invalid(self, address: str, now: datetime) -> None:
        self._invalid_by_address.take(address, limit=_INVALID_KEYS_PER_MINUTE, now=now)


def key_in(authorization: str | None, x_api_key: str | None) -> str:
    """The key in the headers: `Authorization: Bearer …`, else `X-Api-Key: …`. Raises InvalidApiKey."""
    scheme, _, credentials = (authorization or "").strip().partition(" ")
    if scheme.lower() == "bearer" and credentials.strip():
        return credentials.strip()
    if x_api_key and x_api_key.strip():
        return x_api_key.strip()
    raise InvalidApiKey("This call needs an API key: Authorization: Bearer bge_live_…")
