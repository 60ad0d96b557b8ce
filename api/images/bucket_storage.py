"""Stored images in a bucket of Amazon S3, or of a service with the same interface.

<prefix>/<image id>/image              the image
<prefix>/<image id>/artefacts/<name>   an artefact that a tool computed once for it
<prefix>/probe/…                       written and deleted again to see whether the bucket can be used

Credentials, region and endpoint are those of the usual `AWS_*` variables. Large images are uploaded in parts;
those of a process that was killed meanwhile stay until a lifecycle rule of the bucket deletes them.
"""

import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from api.errors import NotFound, ServiceUnavailable
from api.images import storage
from api.images.media_types import MEDIA_TYPES
from api.images.spooling import Spool
from api.images.storage import Storage
from api.outage_log import OutageLog
from ml.errors import UnsupportedFormat
from ml.imaging import codecs

if TYPE_CHECKING:
    from obstore.store import S3Store

#: Long enough to begin a download; one that has begun goes on.
SIGNED_URL_LIFETIME = timedelta(minutes=15)

_CONNECT_TIMEOUT = timedelta(seconds=5)
_REQUEST_TIMEOUT = timedelta(seconds=60)
_RETRIES_MAX = 4
_RETRY_TIMEOUT = timedelta(seconds=20)
#: Larger images are uploaded in parts of this size.
_PART_BYTES = 16 * 1024**2
_PARTS_AT_ONCE = 4
_PIECE_BYTES = 256 * 1024
_ZIP_BEGINNING = b"PK\x03\x04"


@dataclass(frozen=True)
class BucketAddress:
    """A bucket, and the prefix of all keys in it, without slashes at the ends."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, url: str) -> "BucketAddress":
        """The address in s3://bucket/prefix. Raises `ValueError`."""
        parts = urlsplit(url)
        is_plain = not (parts.query or parts.fragment or "@" in parts.netloc or ":" in parts.netloc)
        if parts.scheme != "s3" or not parts.netloc or not is_plain:
            raise ValueError(f"{url!r} is not s3://bucket/prefix")
        return cls(parts.netloc, parts.path.strip("/"))


class BucketStorage(Storage):
    """Objects in a bucket. Files of requests are spooled into `spool_directory` on this machine.

    With `signs_urls`, callers get images from the bucket itself, by signed URLs.
    """

    def __init__(self, address: BucketAddress, spool_directory: Path, *, signs_urls: bool = False) -> None:
        self._store = _open_store(address)
        self._spool_directory = spool_directory
        self._signs_urls = signs_urls
        self._outage_log = OutageLog("image storage")
        spool_directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    def write(self, image_id: str, content: bytes) -> None:
        self._put(_image_key(image_id), content, _attributes(image_id, content))

    def read(self, image_id: str) -> bytes:
        import obstore

        with self._reading():
            return obstore.get(self._store, _image_key(image_id)).bytes().to_bytes()

    def locate(self, image_id: str) -> "_BucketImage":
        import obstore

        key = _image_key(image_id)
        with self._reading():
            size_bytes = obstore.head(self._store, key)["size"]
        return _BucketImage(self._store, key, size_bytes, self._signs_urls, self._outage_log)

    def delete(self, image_id: str) -> None:
        storage.require_image_id(image_id)
        self._delete_below(image_id)

    def write_artefact(self, image_id: str, name: str, content: bytes) -> None:
        self._put(_artefact_key(image_id, name), content, {})

    def read_artefact(self, image_id: str, name: str) -> bytes | None:
        import obstore

        try:
            with self._reading():
                return obstore.get(self._store, _artefact_key(image_id, name)).bytes().to_bytes()
        except (NotFound, ServiceUnavailable):
            return None

    def artefact_bytes(self, image_id: str) -> int:
        import obstore

        with self._reading():
            return sum(
                entry["size"]
                for page in obstore.list(self._store, prefix=_artefacts_prefix(image_id))
                for entry in page
            )

    def delete_artefacts(self, image_id: str) -> None:
        self._delete_below(_artefacts_prefix(image_id))

    def open_spool(self) -> Spool:
        return Spool(self._spool_directory)

    def check_writable(self) -> None:
        import obstore

        key = f"probe/{secrets.token_hex(8)}"
        self._put(key, b"probe", {})
        with self._writing():
            obstore.delete(self._store, key)

    def ids_older_than(self, age_seconds: float) -> Iterator[str]:
        import obstore

        newest = datetime.now(UTC) - timedelta(seconds=age_seconds)
        with self._reading():
            for page in obstore.list(self._store):
                for entry in page:
                    image_id = entry["path"].partition("/")[0]
                    if storage.is_image_id(image_id) and entry["last_modified"] < newest:
                        yield image_id

    def delete_unfinished(self, age_seconds: float) -> int:  # noqa: ARG002 - as the interface has it
        return 0  # Objects appear when they are complete, and spools have no name.

    def _put(self, key: str, content: bytes, attributes: dict[str, str]) -> None:
        import obstore

        with self._writing():
            obstore.put(
                self._store,
                key,
                content,
                attributes=attributes,
                chunk_size=_PART_BYTES,
                max_concurrency=_PARTS_AT_ONCE,
            )

    def _delete_below(self, prefix: str) -> None:
        import obstore

        with self._writing():
            for page in obstore.list(self._store, prefix=prefix):
                obstore.delete(self._store, [entry["path"] for entry in page])

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with _outages(self._outage_log, storage.CANNOT_STORE):
            try:
                yield
            except FileNotFoundError as error:  # the bucket itself
                raise ServiceUnavailable(storage.CANNOT_STORE) from error

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with _outages(self._outage_log, storage.CANNOT_READ):
            yield


@dataclass(frozen=True)
class _BucketImage:
    store: "S3Store"
    key: str
    size_bytes: int
    signs_urls: bool
    outage_log: OutageLog

    async def read_range(self, first: int, last: int) -> AsyncIterator[bytes]:
        import obstore

        with _outages(self.outage_log, storage.CANNOT_READ):
            found = await obstore.get_async(self.store, self.key, options={"range": (first, last + 1)})
            async for piece in found.stream(min_chunk_size=_PIECE_BYTES):
                yield bytes(piece)

    def signed_url(self) -> str | None:
        import obstore

        if not self.signs_urls:
            return None
        with _outages(self.outage_log, storage.CANNOT_READ):
            return obstore.sign(self.store, "GET", self.key, SIGNED_URL_LIFETIME)


def _open_store(address: BucketAddress) -> "S3Store":
    from obstore.store import S3Store

    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    return S3Store(
        address.bucket,
        prefix=address.prefix or None,
        client_options={
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": _CONNECT_TIMEOUT,
            "timeout": _REQUEST_TIMEOUT,
        },
        retry_config={"max_retries": _RETRIES_MAX, "retry_timeout": _RETRY_TIMEOUT},
    )


@contextmanager
def _outages(outage_log: OutageLog, message: str) -> Iterator[None]:
    """Turns the errors of the bucket into ours."""
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError:
        raise NotFound(storage.NO_SUCH_IMAGE) from None
    except (BaseError, OSError) as error:
        outage_log.report(error)
        raise ServiceUnavailable(message) from error


def _image_key(image_id: str) -> str:
    storage.require_image_id(image_id)
    return f"{image_id}/image"


def _artefacts_prefix(image_id: str) -> str:
    storage.require_image_id(image_id)
    return f"{image_id}/artefacts"


def _artefact_key(image_id: str, name: str) -> str:
    storage.require_artefact_name(name)
    return f"{_artefacts_prefix(image_id)}/{name}"


def _attributes(image_id: str, content: bytes) -> dict[str, str]:
    """What the bucket sends to those who have a signed URL."""
    format = _format(content)
    return {
        "Content-Type": MEDIA_TYPES.get(format, "application/octet-stream"),
        "Content-Disposition": f'attachment; filename="{image_id}.{format}"',
        "Cache-Control": "private, max-age=3600",
    }


def _format(content: bytes) -> str:
    try:
        return codecs.sniff(content[: codecs.SNIFF_BYTES])
    except UnsupportedFormat:
        return "zip" if content.startswith(_ZIP_BEGINNING) else "bin"
