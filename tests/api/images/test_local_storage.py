"""Files of images are complete or absent, and never outside their directory; see `test_storage` too."""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from api.errors import NotFound
from api.images.local_storage import LocalStorage
from tests.support.traversals import TRAVERSALS

IMAGE = "img_0123456789abcdefABCDEF"


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "images")


def test_files_are_readable_by_the_process_user_only(storage: LocalStorage) -> None:
    storage.write(IMAGE, b"picture")
    path = storage.path(IMAGE)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", TRAVERSALS)
def test_untrusted_names_never_become_paths(storage: LocalStorage, name: str) -> None:
    with pytest.raises(NotFound):
        storage.path(name)


def test_every_path_is_inside_the_directory(storage: LocalStorage, tmp_path: Path) -> None:
    assert storage.path(IMAGE).resolve().is_relative_to(tmp_path / "images")


def test_files_are_listed_by_age(storage: LocalStorage) -> None:
    storage.write(IMAGE, b"old")
    an_hour_ago = time.time() - 3600
    os.utime(storage.path(IMAGE), (an_hour_ago, an_hour_ago))
    storage.write("img_new0new0new0", b"new")
    assert list(storage.ids_older_than(1800)) == [IMAGE]


def test_old_partial_files_of_killed_processes_are_deleted(storage: LocalStorage, tmp_path: Path) -> None:
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
        "from api.images.local_storage import LocalStorage\n"
        "try:\n"
        f"    LocalStorage(pathlib.Path(sys.argv[1])).write({IMAGE!r}, bytes(100_000))\n"
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
