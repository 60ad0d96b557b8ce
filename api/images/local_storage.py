"""Stored images as files in one directory, by id.

images/<last two characters of the id>/img_…          mode 0600, one file for each image
images/<last two characters of the id>/img_….<name>   an artefact that a tool computed once for the image
images/unfinished/…                                   being written; renamed into place when complete
"""

import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from api.errors import NotFound, ServiceUnavailable
from api.images import storage
from api.images.spooling import Spool
from api.images.storage import Storage
from api.outage_log import OutageLog

_UNFINISHED = "unfinished"
_PROBE_BYTES = 4096  # one block: an empty file fits on a full disk


class LocalStorage(Storage):
    """Files under `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._outage_log = OutageLog("image storage")
        (directory / _UNFINISHED).mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def directory(self) -> Path:
        return self._directory

    def path(self, image_id: str) -> Path:
        """The path of an image, which need not exist. Raises `NotFound` for anything that is not an id."""
        storage.require_image_id(image_id)
        return self._directory / image_id[-2:] / image_id

    def write(self, image_id: str, content: bytes) -> None:
        self._write(self.path(image_id), content)

    def write_artefact(self, image_id: str, name: str, content: bytes) -> None:
        self._write(self._artefact_path(image_id, name), content)

    def read_artefact(self, image_id: str, name: str) -> bytes | None:
        try:
            return self._artefact_path(image_id, name).read_bytes()
        except OSError:
            return None

    def artefact_bytes(self, image_id: str) -> int:
        return sum(file.stat().st_size for file in self._artefacts(image_id))

    def delete_artefacts(self, image_id: str) -> None:
        for file in self._artefacts(image_id):
            file.unlink(missing_ok=True)

    def _artefacts(self, image_id: str) -> list[Path]:
        picture = self.path(image_id)
        return list(picture.parent.glob(f"{picture.name}.*"))

    def _artefact_path(self, image_id: str, name: str) -> Path:
        storage.require_artefact_name(name)
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
            raise ServiceUnavailable(storage.CANNOT_STORE) from error

    def open_spool(self) -> Spool:
        return Spool(self._directory / _UNFINISHED)

    def check_writable(self) -> None:
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
            raise ServiceUnavailable(storage.CANNOT_STORE) from error

    def read(self, image_id: str) -> bytes:
        try:
            return self.path(image_id).read_bytes()
        except FileNotFoundError:
            raise NotFound(storage.NO_SUCH_IMAGE) from None
        except OSError as error:
            self._outage_log.report(error)
            raise ServiceUnavailable(storage.CANNOT_READ) from error

    def locate(self, image_id: str) -> Path:
        path = self.path(image_id)
        if not path.is_file():
            raise NotFound(storage.NO_SUCH_IMAGE)
        return path

    def delete(self, image_id: str) -> None:
        self.path(image_id).unlink(missing_ok=True)
        self.delete_artefacts(image_id)

    def ids_older_than(self, age_seconds: float) -> Iterator[str]:
        oldest_kept = time.time() - age_seconds
        for file in self._directory.glob("??/img_*"):
            image_id = file.name.partition(".")[0]
            if storage.is_image_id(image_id) and _modified_at(file) < oldest_kept:
                yield image_id

    def delete_unfinished(self, age_seconds: float) -> int:
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
