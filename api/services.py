"""The services of one server process, which routes and the web editor use."""

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from api.alerts.announcements import Outlet
from api.alerts.unsubscribe_tokens import UnsubscribeTokens
from api.auth.authenticator import Authenticator
from api.auth.email.mailer import Mailer, mailer_of
from api.auth.former_accounts import FormerAddresses
from api.calls.admission import TEST_CALLS_PER_MINUTE
from api.calls.call_log import CallLog
from api.calls.in_flight import RunningWork
from api.calls.unbilled_admission import UnbilledAdmission
from api.db.database import Database
from api.durable.engine import Engine, EnginePolicy
from api.images.signing import Signer
from api.images.storage import Storage
from api.metrics import Metrics
from api.payments.stripe_client import StripeAccess
from api.payments.trials import Trials
from api.readiness import Readiness
from api.remote_files.pinned_requests import PinnedRequests
from api.remote_files.service import RemoteFiles
from api.settings import Settings
from api.webhooks.sender import WebhookSender
from billing.timestamps import utc_now
from ml.backend import Backend

if TYPE_CHECKING:
    from api.tracing.spans import Tracer


@dataclass(frozen=True)
class Services:
    database: Database
    storage: Storage
    signer: Signer
    backend: Backend
    authenticator: Authenticator
    former: FormerAddresses
    trials: Trials
    unsubscribe: UnsubscribeTokens
    public_url: str | None = None  # without a trailing slash; None: each request's own address
    call_timeout_seconds: float = 300.0
    job_timeout_seconds: float = 1800.0
    shutdown_seconds: float = 25.0  # time for running calls after a shutdown request
    retention: timedelta = timedelta(hours=24)
    account_storage_bytes: int = 2 * 1024**3
    test_calls_per_minute: int = TEST_CALLS_PER_MINUTE  # of each account's test keys together
    clock: Callable[[], datetime] = utc_now
    stripe: StripeAccess | None = None  # None: plans cannot be bought
    mailer: Mailer | None = None  # of alerts; None: they are not mailed
    #: This process's unique name in the leases of its holds.
    lease_owner: str = field(default_factory=lambda: f"process_{os.getpid()}_{secrets.token_hex(8)}")
    engine_policy: EnginePolicy = EnginePolicy.WHILE_NEEDED
    engine: Engine = field(init=False)
    alerts: Outlet = field(init=False)
    running: RunningWork = field(default_factory=RunningWork)
    metrics: Metrics = field(default_factory=Metrics)
    tracer: "Tracer | None" = None  # None: nothing is traced
    call_log: CallLog = field(init=False)
    unbilled: UnbilledAdmission = field(default_factory=UnbilledAdmission)
    readiness: Readiness = field(default_factory=Readiness)
    remote_files: RemoteFiles = field(default_factory=lambda: RemoteFiles(PinnedRequests()))
    webhook_sender: WebhookSender = field(default_factory=lambda: WebhookSender(PinnedRequests()))
    #: Account and idempotency key of each call whose files are being fetched.
    fetching_keys: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        engine = Engine(self.database, self.lease_owner, self.clock, self.engine_policy)
        object.__setattr__(self, "engine", engine)
        object.__setattr__(self, "alerts", Outlet(engine, has_mail=self.mailer is not None))
        object.__setattr__(self, "call_log", CallLog(self.metrics))
        self.database.observe = (
            self.metrics.observe_transaction if self.tracer is None else self._observe_and_trace
        )

    @property
    def guests_storage_bytes(self) -> int:
        """The storage quota of the account that all guests share."""
        return 4 * self.account_storage_bytes

    def test_rate_of(self, is_test: bool) -> int | None:
        """Calls a minute of a test key; None for what a live key or the editor asks for."""
        return self.test_calls_per_minute if is_test else None

    def _observe_and_trace(self, kind: str, seconds: float) -> None:
        assert self.tracer is not None
        self.metrics.observe_transaction(kind, seconds)
        self.tracer.transaction(kind, seconds)

    @classmethod
    def of(
        cls,
        settings: Settings,
        database: Database,
        storage: Storage,
        backend: Backend,
        clock: Callable[[], datetime] = utc_now,
    ) -> "Services":
        previous = settings.secret_key_previous
        secrets_ = (settings.signing_secret, previous.get_secret_value() if previous is not None else None)
        return cls(
            database=database,
            storage=storage,
            signer=Signer.of(
                settings.signing_secret, previous.get_secret_value() if previous is not None else None
            ),
            backend=backend,
            authenticator=Authenticator(database, settings.test_calls_per_minute),
            trials=Trials(tuple(each for each in secrets_ if each)),
            former=FormerAddresses(tuple(each for each in secrets_ if each)),
            unsubscribe=UnsubscribeTokens(tuple(each for each in secrets_ if each)),
            public_url=settings.public_url.rstrip("/") if settings.public_url else None,
            call_timeout_seconds=settings.call_timeout_seconds,
            job_timeout_seconds=settings.job_timeout_seconds,
            shutdown_seconds=settings.shutdown_seconds,
            retention=timedelta(hours=settings.retention_hours),
            account_storage_bytes=settings.account_storage_mb * 1024**2,
            test_calls_per_minute=settings.test_calls_per_minute,
            clock=clock,
            engine_policy=EnginePolicy.WHILE_NEEDED if settings.run_jobs else EnginePolicy.NEVER,
            stripe=StripeAccess.of(settings),
            mailer=mailer_of(settings),
            remote_files=RemoteFiles(PinnedRequests(allows_http=settings.allow_http_urls)),
            webhook_sender=WebhookSender(PinnedRequests(allows_http=settings.allow_http_urls)),
        )
