"""The pictures of the editor's batches: uploaded in pieces of several files, then named by their ids.

A file that is not a picture does not refuse its piece. The batch still lists it, as an item that has failed.
"""

import asyncio
from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from sqlmodel import Session

from api.batches import item_names
from api.batches.acceptance import BatchSource
from api.calls import admission
from api.errors import FileTooLarge, InvalidParameter, MissingImage
from api.images import service as images
from api.images.models import ImageKind
from api.images.service import NewImage
from api.images.storage import is_image_id
from api.services import Services
from ml.errors import UnsupportedFormat

#: Of one batch. Callers of the API may send more.
PICTURES_MAX = 1_000
#: Of one piece. It takes one call of the account's rate, however many files it has.
FILES_MAX = 20
#: What the editor puts into one piece, unless a single file is larger.
PIECE_BYTES = 8 * 1024**2
_PATH_LENGTH_MAX = 1_000
#: Why a file has no stored image, by what the editor reports of it.
_REFUSALS: dict[str, Exception] = {
    "UNSUPPORTED_FORMAT": UnsupportedFormat("This file is not an image in a supported format."),
    "FILE_TOO_LARGE": FileTooLarge(f"The file is larger than {images.FILE_LIMIT_BYTES // 1024**2} MiB."),
    "MISSING_IMAGE": MissingImage("The file is empty."),
}


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(max_length=_PATH_LENGTH_MAX)
    image_id: str | None = Field(None, alias="imageId")
    refused: str | None = None


_PICTURES = TypeAdapter(Annotated[list[_Sent], Field(min_length=1, max_length=PICTURES_MAX)])


async def store(services: Services, account_id: str, contents: Sequence[bytes]) -> list[str | Exception]:
    """Store the files of a piece: the id of each image, or why the file is none.

    Takes one call of the rate. Raises `RateLimited`, `StorageFull`.
    """
    checked = await asyncio.to_thread(_check_all, services, account_id, contents)
    pairs = zip(checked, contents, strict=True)
    stored = [(image, content) for image, content in pairs if isinstance(image, NewImage)]

    def record(session: Session) -> None:
        # The account is locked, so that two pieces cannot share the last room.
        admission.take_rate(session, account_id, services.clock())
        images.check_room(session, services, account_id, sum(image.size_bytes for image, _ in stored))
        session.add_all([image.row() for image, _ in stored])

    try:
        for image, content in stored:
            await asyncio.to_thread(services.storage.write, image.id, content)
        await services.database.run(record)
    except BaseException:
        for image, _ in stored:
            await asyncio.to_thread(services.storage.delete, image.id)
        raise
    return [each.id if isinstance(each, NewImage) else each for each in checked]


def _check_all(services: Services, account_id: str, contents: Sequence[bytes]) -> list[NewImage | Exception]:
    return [_check(services, account_id, content) for content in contents]


def _check(services: Services, account_id: str, content: bytes) -> NewImage | Exception:
    if not content:
        return _REFUSALS["MISSING_IMAGE"]
    try:
        images.check_size(len(content))
        format = images.sniff(content)
    except (FileTooLarge, UnsupportedFormat) as error:
        return error
    return images.describe(services, account_id, ImageKind.UPLOAD, format, content)


def sources(text: str) -> list[BatchSource]:
    """The pictures of a batch, a JSON list of `{"name", "imageId"}`, or `{"name", "refused"}` with a code.

    The images belong to the batch from then on. Raises `InvalidParameter`. For a thread.
    """
    try:
        listed = _PICTURES.validate_json(text)
    except ValidationError:
        example = '{"name", "imageId"} or {"name", "refused"}'
        raise _invalid(f"must be a JSON list of 1 to {PICTURES_MAX:,} of {example}.") from None
    found = [_source(position, each) for position, each in enumerate(listed)]
    ids = [source.image_id for source in found if source.image_id is not None]
    if not ids:
        raise _invalid("none of the files is a picture.")
    if len(set(ids)) < len(ids):
        raise _invalid("names a picture more than once.")
    return found


def _source(position: int, sent: _Sent) -> BatchSource:
    name = item_names.of_path(sent.name, position)
    if sent.refused is None and sent.image_id is not None and is_image_id(sent.image_id):
        return BatchSource(name, image_id=sent.image_id, is_own=True)
    if sent.image_id is None and sent.refused in _REFUSALS:
        return BatchSource(name, error=_REFUSALS[sent.refused])
    raise _invalid(f"number {position + 1} must have either an imageId or the code of its refusal.")


def _invalid(problem: str) -> InvalidParameter:
    return InvalidParameter("pictures", f"pictures: {problem}")
