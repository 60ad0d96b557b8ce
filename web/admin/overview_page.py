"""The panel's first page: the service at a glance."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request
from sqlmodel import Session, select
from starlette.responses import Response

from api.errors import ServiceUnavailable
from api.operators import overview
from api.operators.overview import CallFigures, FailureList, StoredFigures
from api.payments.models import Reconciliation
from api.readiness import PartStates
from api.services import Services
from api.settings import Settings
from ml.backend import BackendState
from ml.checkpoints.registry import Checkpoint, State
from web.admin import rendering
from web.admin.access import PATH
from web.auth import visitor

#: How long the figures are kept whose computation reads many rows.
KEPT_SECONDS = 20.0


@dataclass(frozen=True)
class Figures:
    calls: CallFigures
    failures: FailureList
    stored: StoredFigures
    database_bytes: int
    reconciliation: Reconciliation | None
    checkpoints: list[tuple[Checkpoint, State]]


class KeptFigures:
    """Computes the figures once, however many operators ask, and keeps them for a while."""

    def __init__(
        self, services: Services, settings: Settings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._services = services
        self._settings = settings
        self._clock = clock
        self._lock = asyncio.Lock()
        self._read_at = float("-inf")
        self._figures: Figures | None = None

    async def get(self) -> Figures:
        """Raises ServiceUnavailable."""
        async with self._lock:
            if self._figures is None or self._clock() >= self._read_at + KEPT_SECONDS:
                self._figures = await self._compute()
                self._read_at = self._clock()
            return self._figures

    async def _compute(self) -> Figures:
        services = self._services
        await services.call_log.write(services.database)  # include the calls of the last seconds

        def read(
            session: Session,
        ) -> tuple[CallFigures, FailureList, tuple[int, int], int, Reconciliation | None]:
            found = (
                overview.calls_of_last_day(session, services.clock()),
                overview.failures(session),
                overview.stored_images(session),
                overview.database_bytes(session, services.database),
                overview.last_reconciliation(session),
            )
            session.expunge_all()
            return found

        calls, failures, (images, image_bytes), database_bytes, reconciliation = await services.database.read(
            read
        )
        disk = await asyncio.to_thread(overview.disk_of, services.storage)
        used, free = disk if disk is not None else (None, None)
        return Figures(
            calls=calls,
            failures=failures,
            stored=StoredFigures(images, image_bytes, used, free),
            database_bytes=database_bytes,
            reconciliation=reconciliation,
            checkpoints=await asyncio.to_thread(overview.checkpoint_states, self._settings.models_path),
        )


async def overview_page(request: Request) -> Response:
    services = visitor.services_of(request)
    kept: KeptFigures = request.app.state.admin_figures
    backend: BackendState = await asyncio.to_thread(services.backend.state)
    parts: PartStates = await services.readiness.check(services.database, services.storage)
    figures, round_trip_ms = await kept.get(), await _round_trip_ms(services)
    found = figures.reconciliation
    return rendering.show(
        request,
        "overview.html",
        PATH,
        backend=backend,
        parts=parts,
        figures=figures,
        installed=[each for each, state in figures.checkpoints if state is State.INSTALLED],
        missing=[(each, state) for each, state in figures.checkpoints if state is not State.INSTALLED],
        round_trip_ms=round_trip_ms,
        database_kind="SQLite" if services.database.is_sqlite else "PostgreSQL",
        is_stripe_on=services.stripe is not None,
        drift=json.loads(found.details) if found is not None else {},
    )


async def _round_trip_ms(services: Services) -> float | None:
    """How long the database takes to answer; None if it does not."""
    began = time.perf_counter()
    try:
        await services.database.read(lambda session: session.scalar(select(1)))
    except ServiceUnavailable:
        return None
    return (time.perf_counter() - began) * 1000
