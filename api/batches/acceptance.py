"""Accepting a batch: its images are stored, then one transaction records it, its items and its task.

The order is that of a job: retry key, rate, credits. No credit is held yet, but there must be one: each step
of each image holds its own when it gets a job.
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlmodel import Session, col, func, insert, select

from api import response_bodies
from api.batches import image_lifetimes, progress, steps, transitions
from api.batches.descriptions import describe
from api.batches.models import Batch, BatchItem, BatchStatus, BatchStepFile, ItemStatus
from api.batches.steps import BatchStep
from api.calls import admission, call_holds, idempotency
from api.calls.account_status import AccountStatus
from api.calls.admission import Refused, Replayed
from api.calls.idempotency import Answer
from api.calls.types import CallFailed, CallResult
from api.errors import InvalidParameter, NotFound, RateLimited, StepUnavailable
from api.images import service as images
from api.images.models import Image, ImageKind
from api.images.service import NewImage
from api.memberships import roles
from api.rate_limit import RateState
from api.services import Services
from billing.errors import InsufficientCredits
from billing.identifiers import new_id
from billing.ledger import accounts, ledger
from ml.errors import BadParameter, ModelUnavailable
from ml.imaging import codecs

ITEMS_MAX = 5_000
#: Of one account.
_UNFINISHED_MAX = 20
_IDS_PER_QUERY = 500
_ROWS_PER_INSERT = 500
IDS_FIELD, STEPS_FIELD = "image_ids", "steps"


class SentFile(Protocol):
    """A file as it was sent, which is on disk. Reading it blocks."""

    size_bytes: int

    def read(self, size_bytes: int | None = None) -> bytes: ...


@dataclass(frozen=True)
class BatchSource:
    """One image as it was sent: as a file, the id of a stored image or a URL. `error` if it is unusable."""

    name: str
    file: SentFile | None = None
    image_id: str | None = None
    url: str | None = None
    error: Exception | None = None
    #: The stored image was uploaded for this batch only: it is deleted once it is done.
    is_own: bool = False


@dataclass(frozen=True)
class BatchRequest:
    request_id: str
    account_id: str
    key_id: str | None
    base_url: str
    steps: Sequence[BatchStep]
    sources: Sequence[BatchSource]
    retention: timedelta
    idempotency_key: str | None = None
    #: See `CallRequest`.
    person_id: str | None = None
    #: Where the batch's end is announced.
    callback_url: str | None = None
    #: See `CallRequest`.
    budget_id: str | None = None
    is_test: bool = False

    def fingerprint(self, hashes: Mapping[int, str]) -> str:
        """As `CallRequest.fingerprint`: equal for identical requests. `hashes` of files by their position."""
        described = {
            "batch": steps.to_json(self.steps).decode(),
            "retention": self.retention.total_seconds(),
            "callback_url": self.callback_url,
            **({"test": True} if self.is_test else {}),
            "sources": [
                (
                    source.name,
                    hashes.get(position),
                    source.image_id,
                    source.url,
                    None if source.error is None else str(source.error),
                )
                for position, source in enumerate(self.sources)
            ],
        }
        return hashlib.sha256(json.dumps(described).encode()).hexdigest()

    def files_bytes(self) -> int:
        """The size of the files that can be stored."""
        return sum(source.file.size_bytes for source in self.sources if source.file and not source.error)


@dataclass(frozen=True)
class _Accepted:
    body: bytes
    answer_id: str
    rate: RateState
    available: int


async def accept(services: Services, request: BatchRequest) -> CallResult:
    """Accept the batch: an answer with status 202, or the stored one to an identical request.

    Raises `CallFailed` with the refusal, `StorageFull`, `NotFound`, `ServiceUnavailable`, `InvalidParameter`;
    `ModelUnavailable` or, of several steps, `StepUnavailable`.
    """
    await services.engine.prepare()
    hashes = await asyncio.to_thread(_hashes, request.sources)
    fingerprint = await asyncio.to_thread(request.fingerprint, hashes)
    accepting = _Accepting(services, request, new_id("batch"), hashes, fingerprint, services.clock())
    # Before the files are written, so that refused requests write none.
    admitted = await services.database.run(accepting.admit)
    if isinstance(admitted, Refused):
        raise CallFailed(admitted.error, AccountStatus(admitted.rate, admitted.available))
    if isinstance(admitted, Replayed):
        return _replay(admitted)
    # Otherwise the steps before the one that can never succeed would be charged.
    await asyncio.to_thread(_check_installed, services, request.steps)
    stored = await asyncio.to_thread(accepting.describe_files)
    try:
        await asyncio.to_thread(accepting.write_files, stored)
        outcome = await services.database.run(lambda session: accepting.record(session, stored))
    except BaseException:
        await asyncio.to_thread(_discard, services, stored)
        raise
    if isinstance(outcome, _Accepted):
        services.engine.wake()
        status = AccountStatus(outcome.rate, outcome.available)
        return _result(outcome.body, outcome.answer_id, status, is_replay=False)
    await asyncio.to_thread(_discard, services, stored)
    if isinstance(outcome, Refused):
        raise CallFailed(outcome.error, AccountStatus(outcome.rate, outcome.available))
    return _replay(outcome)


@dataclass(frozen=True)
class _Accepting:
    services: Services
    request: BatchRequest
    batch_id: str
    hashes: Mapping[int, str]
    fingerprint: str
    now: datetime

    def admit(self, session: Session) -> RateState | Replayed | Refused:
        """Check the retry key, take the rate, and check that the account has a credit and room."""
        rate = self._check(session, rate_taken=False)
        if not isinstance(rate, RateState):
            return rate
        account = accounts.lock(session, self.request.account_id)
        ledger.refresh(session, account, self.now)
        try:
            call_holds.require_credit(
                session,
                account,
                self.now,
                budget_id=self.request.budget_id,
                is_test=self.request.is_test,
            )
        except InsufficientCredits as error:
            return Refused(error, rate, account.available)
        unfinished = select(func.count()).where(
            Batch.account_id == account.id,
            col(Batch.status).not_in([BatchStatus.COMPLETED.value, BatchStatus.CANCELLED.value]),
        )
        if session.exec(unfinished).one() >= _UNFINISHED_MAX:
            busy = f"At most {_UNFINISHED_MAX} of your batches may be unfinished. Wait until one has ended."
            return Refused(RateLimited(busy, 60), rate, account.available)
        if files_bytes := self.request.files_bytes():
            images.check_room(session, self.services, account.id, files_bytes)
        return rate

    def describe_files(self) -> dict[int, NewImage]:
        """The images to store by the position of their item. Reads their beginnings: for a thread."""
        kept_until = self.now + transitions.PATIENCE + transitions.RETENTION_MAX
        described = {}
        for position, sha256 in self.hashes.items():
            file = self.request.sources[position].file
            assert file is not None
            image = images.describe_hashed(
                self.services,
                self.request.account_id,
                ImageKind.UPLOAD,
                images.sniff(file.read(codecs.SNIFF_BYTES)),
                file.size_bytes,
                sha256,
            )
            described[position] = replace(image, expires_at=kept_until)
        return described

    def write_files(self, stored: Mapping[int, NewImage]) -> None:
        """One at a time in memory."""
        for position, image in stored.items():
            file = self.request.sources[position].file
            assert file is not None
            self.services.storage.write(image.id, file.read())

    def record(self, session: Session, stored: Mapping[int, NewImage]) -> _Accepted | Replayed | Refused:
        request, now = self.request, self.now
        rate = self._check(session, rate_taken=True)
        if not isinstance(rate, RateState):
            return rate
        account = accounts.lock(session, request.account_id)
        if stored:
            size_bytes = sum(image.size_bytes for image in stored.values())
            images.check_room(session, self.services, account.id, size_bytes)
            _insert(session, Image, [image.row().model_dump() for image in stored.values()])
        batch = self._batch()
        session.add(batch)
        session.flush()
        expiries = self._keep_named_images(session, batch)
        _insert(session, BatchItem, self._items(stored, expiries))
        progress.enqueue(session, self.services, batch)
        body = response_bodies.success(describe(session, batch), request.request_id)
        answer_id = idempotency.insert_answer(
            session,
            account_id=account.id,
            key=self._retry_key(),
            fingerprint=self.fingerprint,
            answer=Answer(202, body, None),
            now=now,
        )
        return _Accepted(body, answer_id, rate, account.available)

    def _check(self, session: Session, *, rate_taken: bool) -> RateState | Replayed | Refused:
        """Raises Forbidden for a former member."""
        accounts.lock(session, self.request.account_id)
        roles.require_member(session, self.request.account_id, self.request.person_id)
        outcome = admission.check_retry_and_rate(
            session,
            account_id=self.request.account_id,
            key=self._retry_key(),
            fingerprint=self.fingerprint,
            now=self.now,
            rate_taken=rate_taken,
            test_rate=self.services.test_rate_of(self.request.is_test),
        )
        if isinstance(outcome, Replayed) and self._is_void(session, outcome.answer):
            idempotency.forget(session, outcome.replay_id)
            return outcome.rate
        return outcome

    def _is_void(self, session: Session, answer: Answer) -> bool:
        """Whether the batch of the answer was deleted: its URLs would be 404.

        Without a key a cancelled one counts too, because nobody means to get it again.
        """
        batch = session.get(Batch, json.loads(answer.body)["data"]["batchId"], populate_existing=True)
        if batch is None or transitions.is_over(batch, self.now):
            return True
        return self.request.idempotency_key is None and batch.status == BatchStatus.CANCELLED

    def _retry_key(self) -> str:
        return idempotency.retry_key(self.request.idempotency_key, self.fingerprint, random=False)

    def _batch(self) -> Batch:
        request = self.request
        return Batch(
            id=self.batch_id,
            account_id=request.account_id,
            key_id=request.key_id,
            person_id=request.person_id,
            is_test=request.is_test,
            request_id=request.request_id,
            base_url=request.base_url,
            callback_url=request.callback_url,
            steps=steps.to_json(request.steps),
            step_count=len(request.steps),
            item_count=len(request.sources),
            retention_seconds=int(request.retention.total_seconds()),
            created_at=self.now,
            expires_at=self.now + transitions.PATIENCE,
        )

    def _items(
        self, stored: Mapping[int, NewImage], expiries: Mapping[str, datetime]
    ) -> list[dict[str, Any]]:
        rows = []
        for position, source in enumerate(self.request.sources):
            error = source.error
            item = BatchItem(
                id=new_id("item"),
                batch_id=self.batch_id,
                position=position,
                name=source.name,
                status=ItemStatus.QUEUED if error is None else ItemStatus.FAILED,
                url=source.url,
                source_id=stored[position].id if position in stored else source.image_id,
                is_source_own=source.image_id is None or source.is_own,
                source_expires_at=expiries.get(source.image_id or ""),
                error=None if error is None else json.dumps(response_bodies.error_fields(error)),
                finished_at=None if error is None else self.now,
            )
            rows.append(item.model_dump())
        return rows

    def _keep_named_images(self, session: Session, batch: Batch) -> dict[str, datetime]:
        """Keep the stored images of the items and of the steps' other files; returns when they expired.

        Raises `NotFound`, which names the first that is not the account's.
        """
        named = [source.image_id for source in self.request.sources if source.image_id is not None]
        others = [image_id for step in self.request.steps for image_id in step.stored_ids.values()]
        wanted = list(dict.fromkeys([*named, *others]))
        expiries: dict[str, datetime] = {}
        for some in (
            wanted[start : start + _IDS_PER_QUERY] for start in range(0, len(wanted), _IDS_PER_QUERY)
        ):
            own = (col(Image.id).in_(some), col(Image.account_id) == batch.account_id)
            statement = select(Image.id, Image.expires_at).where(*own, col(Image.expires_at) > self.now)
            expiries |= dict(session.exec(statement).all())
            # Other batches that still keep an image know when it would have expired without them.
            for image_id, expires_at in image_lifetimes.former_expiries(session, some).items():
                if image_id in expiries:
                    expiries[image_id] = min(expiries[image_id], expires_at)
            image_lifetimes.keep(session, some, transitions.kept_until(batch))
        for number, image_id in enumerate(named):
            if image_id not in expiries:
                error = NotFound(f"{IDS_FIELD}: image {number + 1} does not exist.")
                error.param = IDS_FIELD
                raise error
        for image_id in others:
            if image_id not in expiries:
                error = NotFound("A step names an image that does not exist: it may have expired.")
                error.param = STEPS_FIELD
                raise error
        session.add_all(
            BatchStepFile(batch_id=batch.id, image_id=image_id, image_expires_at=expiries[image_id])
            for image_id in dict.fromkeys(others)
        )
        return expiries


def _check_installed(services: Services, listed: Sequence[BatchStep]) -> None:
    """Reads files: for a thread. Raises `ModelUnavailable`, `StepUnavailable`, `InvalidParameter`."""
    for number, step in enumerate(listed):
        try:
            services.backend.check_installed(step.tool.name, step.params)
        except ModelUnavailable as error:
            if len(listed) == 1:
                raise
            raise StepUnavailable(f"{STEPS_FIELD}: in step {number + 1}, {error}") from None
        except BadParameter as error:
            if len(listed) == 1:
                raise
            problem = f"{STEPS_FIELD}: in step {number + 1}, {error.name} {error.message}"
            raise InvalidParameter(STEPS_FIELD, problem) from None


def _hashes(sources: Sequence[BatchSource]) -> dict[int, str]:
    """The SHA-256 of each usable file by its position. Reads them one after the other, for a thread."""
    return {
        position: hashlib.sha256(source.file.read()).hexdigest()
        for position, source in enumerate(sources)
        if source.file is not None and source.error is None
    }


def _insert(session: Session, table: type[Image] | type[BatchItem], rows: Sequence[dict[str, Any]]) -> None:
    statement = insert(table.__table__)  # type: ignore[union-attr]  # SQLModel does not declare it
    for start in range(0, len(rows), _ROWS_PER_INSERT):
        session.execute(statement, rows[start : start + _ROWS_PER_INSERT])


def _discard(services: Services, stored: Mapping[int, NewImage]) -> None:
    for image in stored.values():
        services.storage.delete(image.id)


def _replay(replayed: Replayed) -> CallResult:
    status = AccountStatus(replayed.rate, replayed.available)
    return _result(replayed.answer.body, replayed.replay_id, status, is_replay=True)


def _result(body: bytes, replay_id: str, account_status: AccountStatus, *, is_replay: bool) -> CallResult:
    data = json.loads(body)["data"]
    return CallResult(202, data, None, body, account_status, replay_id, None, is_replay)
