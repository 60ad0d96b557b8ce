"""Stored files are complete or absent, and never outside their directory."""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from api.errors import NotFound
from api.images.storage import Storage
from tests.support.traversals import TRAVERSALS

IMAGE = "img_0123456789abcdefABCDEF"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path / "images")


def test_written_bytes_are_read_back(storage: Storage) -> None:
    storage.write(IMAGE, b"picture")
    assert storage.read(IMAGE) == b"picture"


def test_a_deleted_image_is_not_found_and_deletion_is_idempotent(storage: Storage) -> None:
    storage.write(IMAGE, b"picture")
    storage.delete(IMAGE)
    storage.delete(IMAGE)
    with pytest.raises(NotFound):
        storage.read(IMAGE)


def test_files_are_readable_by_the_process_user_only(storage: Storage) -> None:
    storage.write(IMAGE, b"picture")
    path = storage.path(IMAGE)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", TRAVERSALS)
def test_untrusted_names_never_become_paths(storage: Storage, name: str) -> None:
    for operation in (storage.path, storage.read, storage.delete, lambda n: storage.write(n, b"x")):
        with pytest.raises(NotFound):
            operation(name)


def test_every_path_is_inside_the_directory(storage: Storage, tmp_path: Path) -> None:
    assert storage.path(IMAGE).resolve().is_relative_to(tmp_path / "images")


def test_files_are_listed_by_age(storage: Storage) -> None:
    storage.write(IMAGE, b"old")
    an_hour_ago = time.time() - 3600
    os.utime(storage.path(IMAGE), (an_hour_ago, an_hour_ago))
    storage.write("img_new0new0new0", b"new")
    assert list(storage.ids_older_than(1800)) == [IMAGE]


def test_old_partial_files_of_killed_processes_are_deleted(storage: Storage, tmp_path: Path) -> None:
    left = tmp_path / "images" / "unfinished" / f"{IMAGE}.0a1b2c3d"
    left.write_bytes(b"half")
    assert storage.delete_unfinished(60) == 0
    an_hour_ago = time.time() - 3600
    os.utime(left, (an_hour_ago, an_hour_ago))
    assert storage.delete_unfinished(60) == 1
    assert not left.exists()


def test_a_full_disk_is_reported_and_leaves_no_partial_file(tmp_path: Path) -> None:
    # A limit on the size of files simulates a full disk, in a separate process because it cannot be undone.
    script = (
        "import sys, pathlib\n"
        "from api.errors import ServiceUnavailable\n"
        "from api.images.storage import Storage\n"
        "try:\n"
        f"    Storage(pathlib.Path(sys.argv[1])).write({IMAGE!r}, bytes(100_000))\n"
        "except ServiceUnavailable:\n"
        "    print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "images")],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )
    assert done.stdout.splitlines()[-1] == "refused", done.stderr  # after the line of the log
    assert [path for path in (tmp_path / "images").rglob("*") if path.is_file()] == []
