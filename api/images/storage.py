"""Stored images as files in one directory, by id; the database knows their owners.

images/<last two characters of the id>/img_…          mode 0600, one file for each image
images/<last two characters of the id>/img_….<name>   an artefact that a tool computed once for the image
images/unfinished/…                                   being written; renamed into place when complete
"""

import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from api.errors import NotFound, ServiceUnavailable
from api.images.spooling import Spool
from api.outage_log import OutageLog

_IMAGE_ID = re.compile(r"img_[0-9A-Za-z]{8,40}")
_ARTEFACT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_UNFINISHED = "unfinished"
_PROBE_BYTES = 4096  # one block: an empty file fits on a full disk


def is_image_id(text: str) -> bool:
    """Whether `text` has the form of an image id. Nothing else ever becomes part of a path."""
    return _IMAGE_ID.fullmatch(text) is not None


class Storage:
    """Files under `directory`. Every method blocks: run it in a thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._outage_log = OutageLog("image storage")
        (directory / _UNFINISHED).mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, image_id: str) -> Path:
        """The path of an image, which need not exist. Raises `NotFound` for anything that is not an id."""
        if not is_image_id(image_id):
            raise NotFound("No such image.")
        return self._directory / image_id[-2:] / image_id

    def write(self, image_id: str, content: bytes) -> None:
        """Store `content` atomically; it is on disk when this returns."""
        self._write(self.path(image_id), content)

    def write_artefact(self, image_id: str, name: str, content: bytes) -> None:
        """Store `content` next to an image; it is deleted with the image."""
        self._write(self._artefact_path(image_id, name), content)

    def read_artefact(self, image_id: str, name: str) -> bytes | None:
        """The artefact; None if it cannot be read, because it can be computed again."""
        try:
            return self._artefact_path(image_id, name).read_bytes()
        except OSError:
            return None

    def artefact_bytes(self, image_id: str) -> int:
        """The total size of the image's artefacts."""
        return sum(file.stat().st_size for file in self._artefacts(image_id))

    def delete_artefacts(self, image_id: str) -> None:
        for file in self._artefacts(image_id):
            file.unlink(missing_ok=True)

    def _artefacts(self, image_id: str) -> list[Path]:
        picture = self.path(image_id)
        return list(picture.parent.glob(f"{picture.name}.*"))

    def _artefact_path(self, image_id: str, name: str) -> Path:
        if _ARTEFACT_NAME.fullmatch(name) is None:
            raise ValueError(f"{name!r} is not a valid name of an artefact")
        return self.path(image_id).with_suffix(f".{name}")

    def _write(self, target: Path, content: bytes) -> None:
        unfinished = self._directory / _UNFINISHED / f"{target.name}.{secrets.token_hex(4)}"
        try:
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                target.parent.mkdir(exist_ok=True, mode=0o700)
                unfinished.rename(target)
            except BaseException:
                unfinished.unlink(missing_ok=True)
                raise
            _sync_directory(target.parent)
        except OSError as error:
            # A full or broken disk is not the caller's fault, and may be repaired.
            self._outage_log.report(error)
            raise ServiceUnavailable("Images cannot be stored at the moment.") from error

    def open_spool(self) -> Spool:
        """A place for the files of a request, on the disk of the images. Raises `ServiceUnavailable`."""
        return Spool(self._directory / _UNFINISHED)

    def check_writable(self) -> None:
        """Raises ServiceUnavailable if nothing can be stored: the disk is full or the directory is gone."""
        probe = self._directory / _UNFINISHED / f"probe.{secrets.token_hex(4)}"
        try:
            try:
                with probe.open("wb") as file:
                    file.write(bytes(_PROBE_BYTES))
                    file.flush()
                    os.fsync(file.fileno())
            finally:
                probe.unlink(missing_ok=True)
        except OSError as error:
            self._outage_log.report(error)
            raise ServiceUnavailable("Images cannot be stored at the moment.") from error

    def read(self, image_id: str) -> bytes:
        """The bytes of `image_id`. Raises `NotFound` if there is no such file."""
        try:
            return self.path(image_id).read_bytes()
        except FileNotFoundError:
            raise NotFound("No such image.") from None
        except OSError as error:
            self._outage_log.report(error)
            raise ServiceUnavailable("Stored images cannot be read at the moment.") from error

    def delete(self, image_id: str) -> None:
        """Delete the image and its artefacts, if they exist."""
        self.path(image_id).unlink(missing_ok=True)
        self.delete_artefacts(image_id)

    def ids_older_than(self, age_seconds: float) -> Iterator[str]:
        """Ids of files written at least `age_seconds` ago, for comparison with the database.

        An artefact yields the id of its image, so an id may occur more than once.
        """
        oldest_kept = time.time() - age_seconds
        for file in self._directory.glob("??/img_*"):
            image_id = file.name.partition(".")[0]
            if is_image_id(image_id) and _modified_at(file) < oldest_kept:
                yield image_id

    def delete_unfinished(self, age_seconds: float) -> int:
        """Delete unfinished files of killed processes, if older than `age_seconds`; returns their number."""
        oldest_kept = time.time() - age_seconds
        lost = [
            file for file in (self._directory / _UNFINISHED).iterdir() if _modified_at(file) < oldest_kept
        ]
        for file in lost:
            file.unlink(missing_ok=True)
        return len(lost)


def _modified_at(file: Path) -> float:
    """Unix seconds; infinity if the file was deleted meanwhile, so that it counts as new."""
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _sync_directory(directory: Path) -> None:
    """Make a rename survive a power failure."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
