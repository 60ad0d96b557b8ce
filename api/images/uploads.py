"""Uploads: checked, stripped of metadata and stored, for one call of the rate and no credit."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlmodel import Session

from api.calls import admission
from api.calls.account_status import AccountStatus
from api.calls.admission import Refused, Replayed
from api.calls.idempotency import Answer
from api.calls.types import CallFailed
from api.images import metadata_removal
from api.images import service as images
from api.images.models import ImageKind
from api.images.service import NewImage
from api.rate_limit import RateState
from api.services import Services
from billing.ledger import accounts
from ml.imaging import codecs


@dataclass(frozen=True)
class UploadResult:
    """The JSON body of an upload's answer, which a replay repeats byte for byte."""

    body: bytes
    rate: RateState
    is_replay: bool


async def store(
    services: Services,
    account_id: str,
    content: bytes,
    *,
    idempotency_key: str | None,
    build_body: Callable[[NewImage], bytes],
    url: str | None = None,
    rate_taken: RateState | None = None,
    test_rate: int | None = None,
) -> UploadResult:
    """Store an upload and answer with `build_body`, or repeat the answer of the same key and file.

    `url` is where `content` was fetched from, and `rate_taken` the outcome of `admit_fetch`. `test_rate`: see
    `admission.admit`. Raises as `store_upload`, and `CallFailed` with `IdempotencyMismatch`,
    `IdempotencyInProgress` or `RateLimited`.
    """
    if idempotency_key is None:
        image, rate = await store_upload(services, account_id, content, rate_taken, test_rate)
        return UploadResult(build_body(image), rate, is_replay=False)
    fingerprint = await asyncio.to_thread(_fingerprint, content if url is None else url)
    outcome = rate_taken or await _admit(services, account_id, idempotency_key, fingerprint, test_rate)
    if isinstance(outcome, UploadResult):
        return outcome
    image, content = await clean_upload(services, account_id, content)
    own_answer = Answer(200, build_body(image), image.id)

    def record(session: Session) -> Answer:
        answer = admission.record_unbilled(
            session,
            account_id=account_id,
            idempotency_key=idempotency_key,
            fingerprint=fingerprint,
            answer=own_answer,
            now=services.clock(),
        )
        if answer is own_answer:
            images.check_room(session, services, account_id, image.size_bytes)
            session.add(image.row())
        return answer

    answer = await images.store_bytes_and_row(services, image.id, content, record)
    is_replay = answer is not own_answer
    if is_replay:  # The same upload was stored by another request meanwhile.
        await asyncio.to_thread(services.storage.delete, image.id)
    return UploadResult(answer.body, outcome, is_replay)


async def admit_fetch(
    services: Services,
    account_id: str,
    url: str,
    *,
    idempotency_key: str | None,
    test_rate: int | None = None,
) -> RateState | UploadResult:
    """Take a call of the rate before `url` is fetched; or the answer of the same key and URL.

    Raises `RateLimited`, and `CallFailed` as `store`.
    """
    if idempotency_key is None:
        return await services.database.run(
            lambda session: admission.take_rate(session, account_id, services.clock(), test_rate)
        )
    return await _admit(services, account_id, idempotency_key, _fingerprint(url), test_rate)


async def _admit(
    services: Services, account_id: str, idempotency_key: str, fingerprint: str, test_rate: int | None
) -> RateState | UploadResult:
    outcome = await services.database.run(
        lambda session: admission.admit_unbilled(
            session,
            account_id=account_id,
            idempotency_key=idempotency_key,
            fingerprint=fingerprint,
            now=services.clock(),
            test_rate=test_rate,
        )
    )
    if isinstance(outcome, Refused):
        raise CallFailed(outcome.error, AccountStatus(outcome.rate, outcome.available))
    if isinstance(outcome, Replayed):
        return UploadResult(outcome.answer.body, outcome.rate, is_replay=True)
    return outcome


async def store_upload(
    services: Services,
    account_id: str,
    content: bytes,
    rate_taken: RateState | None = None,
    test_rate: int | None = None,
) -> tuple[NewImage, RateState]:
    """Store an uploaded image without its metadata; takes one call of the rate unless that was done.

    Raises `StorageFull`, `RateLimited` and as `clean_upload`.
    """
    image, content = await clean_upload(services, account_id, content)

    def record(session: Session) -> RateState:
        # The account is locked, so that two uploads cannot share the last room.
        if rate_taken is None:
            rate = admission.take_rate(session, account_id, services.clock(), test_rate)
        else:
            rate = admission.rate_of(accounts.lock(session, account_id), services.clock(), test_rate)
        images.check_room(session, services, account_id, image.size_bytes)
        session.add(image.row())
        return rate

    return image, await images.store_bytes_and_row(services, image.id, content, record)


async def clean_upload(services: Services, account_id: str, content: bytes) -> tuple[NewImage, bytes]:
    """An uploaded file's description, and its content without metadata.

    Raises `FileTooLarge` and as `metadata_removal.strip_metadata`.
    """
    images.check_size(len(content))
    images.sniff(content)
    clean = await metadata_removal.strip_metadata(services, content)
    images.check_size(len(clean))
    warnings = await asyncio.to_thread(codecs.omitted, content)
    described = await asyncio.to_thread(_describe, services, account_id, clean)
    return replace(described, warnings=warnings), clean


def _describe(services: Services, account_id: str, content: bytes) -> NewImage:
    width, height = codecs.upright_size(content)
    format = images.sniff(content)
    return images.describe(services, account_id, ImageKind.UPLOAD, format, content, width, height)


def _fingerprint(source: bytes | str) -> str:
    """Of a file's content, or of the URL that it is fetched from."""
    kind = b"upload:" if isinstance(source, bytes) else b"upload from:"
    content = source if isinstance(source, bytes) else source.encode()
    return hashlib.sha256(kind + hashlib.sha256(content).digest()).hexdigest()
