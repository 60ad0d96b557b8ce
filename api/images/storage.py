"""Where the bytes of images are stored, by id; the database knows their owners.

`local_storage` keeps them in a directory, `bucket_storage` in an S3-compatible bucket.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Protocol

from api.errors import NotFound
from api.images.spooling import Spool

_IMAGE_ID = re.compile(r"img_[0-9A-Za-z]{8,40}")
_ARTEFACT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")

NO_SUCH_IMAGE = "No such image."
CANNOT_STORE = "Images cannot be stored at the moment."
CANNOT_READ = "Stored images cannot be read at the moment."


def is_image_id(text: str) -> bool:
    """Whether `text` has the form of an image id. Nothing else ever becomes part of a path."""
    return _IMAGE_ID.fullmatch(text) is not None


def require_image_id(text: str) -> None:
    """Raises `NotFound`, as for an id that does not exist."""
    if not is_image_id(text):
        raise NotFound(NO_SUCH_IMAGE)


def require_artefact_name(name: str) -> None:
    """Raises `ValueError`: names of artefacts are ours."""
    if _ARTEFACT_NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not a valid name of an artefact")


class RemoteImage(Protocol):
    """An image whose bytes are on another host."""

    @property
    def size_bytes(self) -> int: ...

    def read_range(self, first: int, last: int) -> AsyncIterator[bytes]:
        """The bytes from `first` to `last` (inclusive), in pieces. Raises `ServiceUnavailable`."""

    def signed_url(self) -> str | None:
        """A URL by which callers get the bytes from that host, if they are to. It works for some minutes.

        Blocks: the credentials that sign it may have to be fetched. Raises `ServiceUnavailable`.
        """


class Storage(ABC):
    """The stored bytes of images, and of the artefacts that were computed for them.

    Every method blocks: run it in a thread. They raise `ServiceUnavailable` if the storage fails, and
    `NotFound` for anything that is not an image id.
    """

    @abstractmethod
    def write(self, image_id: str, content: bytes) -> None:
        """Store `content` atomically; it is stored durably when this returns."""

    @abstractmethod
    def read(self, image_id: str) -> bytes:
        """The bytes of `image_id`. Raises `NotFound` if there are none."""

    @abstractmethod
    def locate(self, image_id: str) -> Path | RemoteImage:
        """Where the bytes of `image_id` are, for sending them to a caller. Raises `NotFound`."""

    @abstractmethod
    def delete(self, image_id: str) -> None:
        """Delete the image and its artefacts, if they exist."""

    @abstractmethod
    def write_artefact(self, image_id: str, name: str, content: bytes) -> None:
        """Store `content` next to an image; it is deleted with the image."""

    @abstractmethod
    def read_artefact(self, image_id: str, name: str) -> bytes | None:
        """The artefact; None if it cannot be read, because it can be computed again."""

    @abstractmethod
    def artefact_bytes(self, image_id: str) -> int:
        """The total size of the image's artefacts."""

    @abstractmethod
    def delete_artefacts(self, image_id: str) -> None: ...

    @abstractmethod
    def open_spool(self) -> Spool:
        """A place on this machine's disk for the files of a request."""

    @abstractmethod
    def check_writable(self) -> None:
        """Raises `ServiceUnavailable` if nothing can be stored."""

    @abstractmethod
    def ids_older_than(self, age_seconds: float) -> Iterator[str]:
        """Ids of what was written at least `age_seconds` ago, for comparison with the database.

        An artefact yields the id of its image, so an id may occur more than once.
        """

    @abstractmethod
    def delete_unfinished(self, age_seconds: float) -> int:
        """Delete what killed processes left unfinished, if older than `age_seconds`; returns the number."""
