"""What a job works on: its files as stored images, until it is done.

Files that came with the request are stored as images of the account, within its quota, and expire with the
job's end. Images that the account had stored before are only kept long enough.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Self

from sqlmodel import Session, col, select, update

from api.calls.types import CallRequest
from api.errors import NotFound
from api.images import service as images
from api.images.models import Image, ImageKind
from api.images.service import NewImage
from api.jobs.models import Job
from api.services import Services

_SLACK = timedelta(hours=1)


@dataclass(frozen=True)
class Inputs:
    """The ids of images by the form names of the files. `own`: those that were stored for this job."""

    files: dict[str, str]
    own: list[str] = field(default_factory=list)
    #: See `CallRequest.id_fields`.
    id_fields: dict[str, str] = field(default_factory=dict)
    #: In a batch with several steps: how many follow this one, and whether it is not the first.
    steps_left: int | None = None
    goes_on: bool = False

    @property
    def source_id(self) -> str | None:
        """See `CallRequest.source_id`."""
        return None if "image" in self.own else self.files["image"]

    @property
    def own_ids(self) -> list[str]:
        return [self.files[name] for name in self.own]

    def as_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))


def describe(services: Services, request: CallRequest, until: datetime) -> dict[str, NewImage]:
    """The images to store for the files that came with the request. Hashes them, so run it in a thread."""
    return {
        name: replace(
            images.describe(services, request.account_id, ImageKind.UPLOAD, images.sniff(content), content),
            expires_at=until + _SLACK,
        )
        for name, content in request.files.items()
        if name not in request.stored_ids
    }


def of(request: CallRequest, stored: Mapping[str, NewImage]) -> Inputs:
    """The inputs of a request whose own files are `stored`."""
    ids = {name: image.id for name, image in stored.items()}
    return Inputs({**request.stored_ids, **ids}, list(ids), dict(request.id_fields))


async def write(services: Services, request: CallRequest, stored: Mapping[str, NewImage]) -> None:
    for name, image in stored.items():
        await asyncio.to_thread(services.storage.write, image.id, request.files[name])


async def discard(services: Services, stored: Mapping[str, NewImage]) -> None:
    """Delete the bytes of images that were not recorded."""
    for image in stored.values():
        await asyncio.to_thread(services.storage.delete, image.id)


def record(
    session: Session, services: Services, inputs: Inputs, stored: Mapping[str, NewImage], until: datetime
) -> None:
    """Record the stored images, and keep the others until then. The account must be locked.

    Raises `StorageFull`, and `NotFound` if an image was deleted meanwhile.
    """
    if stored:
        account_id = next(iter(stored.values())).account_id
        size_bytes = sum(image.size_bytes for image in stored.values())
        images.check_room(session, services, account_id, size_bytes)
        session.add_all(image.row() for image in stored.values())
    for name, image_id in inputs.files.items():
        if name not in inputs.own:
            image = images.find(session, services, None, image_id)
            image.expires_at = max(image.expires_at, until + _SLACK)


def needed_by_unfinished(session: Session, account_id: str) -> dict[str, datetime]:
    """The images of the account's unfinished jobs, and until when those need them. Batches keep their own."""
    unfinished = select(Job.inputs, Job.expires_at).where(
        Job.account_id == account_id, col(Job.finished_at).is_(None), col(Job.batch_id).is_(None)
    )
    needed: dict[str, datetime] = {}
    for text, given_up_at in session.exec(unfinished):
        for image_id in Inputs.from_json(text).files.values():
            until = given_up_at + _SLACK
            needed[image_id] = max(until, needed.get(image_id, until))
    return needed


async def read(services: Services, account_id: str, inputs: Inputs) -> dict[str, bytes]:
    """The bytes by form name. Raises `NotFound`, which names the form field, if an image was deleted."""
    files = {}
    for name, image_id in inputs.files.items():
        try:
            files[name] = await images.read_for_call(services, account_id, image_id)
        except NotFound as error:
            error.param = inputs.id_fields.get(name, f"{name}_id")
            raise
    return files


def expire(session: Session, inputs: Inputs, now: datetime) -> None:
    """Let the next cleanup delete the images that were stored for the job."""
    if inputs.own:
        session.execute(
            update(Image)
            .where(col(Image.id).in_(inputs.own_ids), col(Image.expires_at) > now)
            .values(expires_at=now)
            .execution_options(synchronize_session=False)
        )
