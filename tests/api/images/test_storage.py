"""What every kind of storage promises."""

import asyncio
from pathlib import Path

import pytest

from api.errors import NotFound
from api.images.local_storage import LocalStorage
from api.images.storage import Storage
from tests.support.ml.photos import photo, png_bytes
from tests.support.s3 import open_storage
from tests.support.traversals import TRAVERSALS

IMAGE = "img_0123456789abcdefABCDEF"
OTHER = "img_0123456789abcdefABCDEF2"  # begins as the other one does
PICTURE = png_bytes(photo("chelsea")[:20, :30])


@pytest.fixture(params=["local", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return LocalStorage(tmp_path / "images")
    return open_storage(request.getfixturevalue("bucket"), tmp_path)


def sent(storage: Storage, image_id: str) -> bytes:
    """What a caller gets."""
    found = storage.locate(image_id)
    if isinstance(found, Path):
        return found.read_bytes()

    async def read() -> bytes:
        return b"".join([piece async for piece in found.read_range(0, found.size_bytes - 1)])

    return asyncio.run(read())


def test_written_bytes_are_read_back(storage: Storage) -> None:
    storage.write(IMAGE, PICTURE)
    assert storage.read(IMAGE) == PICTURE
    assert sent(storage, IMAGE) == PICTURE
    storage.write(IMAGE, b"other")
    assert storage.read(IMAGE) == b"other"


def test_large_bytes_are_read_back(storage: Storage) -> None:
    content = bytes(range(256)) * 160_000  # 39 MiB, three parts of a multipart upload
    storage.write(IMAGE, content)
    assert storage.read(IMAGE) == content
    assert sent(storage, IMAGE) == content


def test_a_deleted_image_is_not_found_and_deletion_is_idempotent(storage: Storage) -> None:
    storage.write(IMAGE, b"picture")
    storage.write(OTHER, b"other")
    storage.write_artefact(IMAGE, "preview-64", b"preview")
    storage.write_artefact(OTHER, "preview-64", b"other's preview")
    storage.delete(IMAGE)
    storage.delete(IMAGE)
    for find in (storage.read, storage.locate):
        with pytest.raises(NotFound):
            find(IMAGE)
    assert storage.read_artefact(IMAGE, "preview-64") is None
    assert storage.read(OTHER) == b"other"
    assert storage.read_artefact(OTHER, "preview-64") == b"other's preview"


def test_artefacts_are_counted_and_deleted_apart_from_their_image(storage: Storage) -> None:
    storage.write(IMAGE, b"picture")
    assert storage.artefact_bytes(IMAGE) == 0
    assert storage.read_artefact(IMAGE, "embedding") is None
    storage.write_artefact(IMAGE, "embedding", b"12345")
    storage.write_artefact(IMAGE, "preview-64", b"123")
    storage.write_artefact(IMAGE, "embedding", b"1234567")
    assert storage.artefact_bytes(IMAGE) == 10
    assert storage.read_artefact(IMAGE, "embedding") == b"1234567"
    storage.delete_artefacts(IMAGE)
    assert storage.artefact_bytes(IMAGE) == 0
    assert storage.read(IMAGE) == b"picture"


@pytest.mark.parametrize("name", ["../up", "a/b", "", "a.b", "x" * 101, "ä"])
def test_names_of_artefacts_are_checked(storage: Storage, name: str) -> None:
    with pytest.raises(ValueError, match="not a valid name"):
        storage.write_artefact(IMAGE, name, b"x")
    with pytest.raises(ValueError, match="not a valid name"):
        storage.read_artefact(IMAGE, name)


def test_untrusted_names_never_become_paths(storage: Storage) -> None:
    operations = (
        storage.read,
        storage.locate,
        storage.delete,
        storage.delete_artefacts,
        storage.artefact_bytes,
        lambda name: storage.write(name, b"x"),
        lambda name: storage.write_artefact(name, "preview", b"x"),
    )
    for name in TRAVERSALS:
        for operation in operations:
            with pytest.raises(NotFound):
                operation(name)


def test_images_and_artefacts_are_listed_by_age(storage: Storage) -> None:
    storage.write(IMAGE, b"picture")
    storage.write_artefact(OTHER, "preview-64", b"preview")
    storage.check_writable()
    assert set(storage.ids_older_than(-5)) == {IMAGE, OTHER}
    assert list(storage.ids_older_than(60)) == []


def test_a_spool_is_on_this_machine(storage: Storage) -> None:
    with storage.open_spool() as spool:
        spool.add(b"content")
        file = spool.end_file()
        spool.flush()
        assert file.read() == b"content"
