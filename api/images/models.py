"""The table of stored images."""

from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import CheckConstraint
from sqlmodel import Field, SQLModel

from billing.timestamps import UtcDateTime

#: Expired images are kept this much longer, for running downloads and differing clocks.
EXPIRED_KEPT = timedelta(minutes=2)


class ImageKind(StrEnum):
    UPLOAD = "upload"
    RESULT = "result"
    CUTOUT = "cutout"  # a result of a selection, whose transparency is the mask


class Image(SQLModel, table=True):
    """A stored image. Its bytes are in storage under `id`; client file names are never used."""

    __tablename__ = "image"
    __table_args__ = (CheckConstraint("size_bytes >= 0", name="image_size_not_negative"),)

    id: str = Field(primary_key=True)  # img_…
    account_id: str = Field(foreign_key="account.id", index=True)
    kind: str
    format: str  # jpg, png, webp, avif, heic, bmp, gif, tiff, raw between two steps
    size_bytes: int
    #: Size of the stored artefacts (`api.images.storage`), which count towards the account's storage too.
    artefact_bytes: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    sha256: str
    width: int | None = Field(default=None)  # null: an upload that no worker has decoded yet
    height: int | None = Field(default=None)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)  # extended by every use
