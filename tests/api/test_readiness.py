"""`/readyz` reports which part fails, and the log says why."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from api.db.models import PeriodicWork
from api.readiness import KEPT_SECONDS, Readiness
from tests.support.apps import LocalApi, local_api


@pytest.fixture
def api(tmp_path: Path) -> Iterator[LocalApi]:
    with local_api(tmp_path) as opened:
        yield opened


def ready(api: LocalApi) -> httpx.Response:
    """A fresh check; the answer before may be kept for some seconds."""
    api.services.readiness._checked_at = float("-inf")
    return api.request("GET", "/readyz")


def parts(api: LocalApi) -> tuple[str, str]:
    data = ready(api).json()["data"]
    return data["database"], data["storage"]


def test_a_read_only_database_is_distinguished_from_an_unreachable_one(api: LocalApi) -> None:
    assert parts(api) == ("ok", "ok")
    with api.services.database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only=ON")
    with capture_logs() as logged:
        assert parts(api) == ("read-only", "ok")
    assert "readonly" in logged[0]["reason"]
    message = ready(api).json()["error"]["message"]
    assert "the database takes no writes" in message


def test_a_database_without_our_tables_is_unavailable(api: LocalApi, tmp_path: Path) -> None:
    """An empty file in its place answers `select 1`."""
    key = api.new_key("ada@example.com")
    (tmp_path / "empty").touch()
    (tmp_path / "empty").rename(tmp_path / "bgeraser.db")
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"bgeraser.db{suffix}").unlink(missing_ok=True)
    with capture_logs() as logged:
        assert parts(api) == ("unavailable", "ok")
    assert "no such table" in logged[0]["reason"]
    assert api.request("GET", "/api/account", headers={"X-Api-Key": key}).status_code == 503


def test_a_missing_image_directory_fails_the_storage_check_only(api: LocalApi, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "images")
    with capture_logs() as logged:
        assert parts(api) == ("ok", "unavailable")
    assert "No such file or directory" in logged[0]["reason"]
    assert "images cannot be stored" in ready(api).json()["error"]["message"]


def test_concurrent_readiness_requests_share_one_write(api: LocalApi) -> None:
    seconds = [0.0]
    readiness = Readiness(lambda: seconds[0])
    written = set()
    for now in (0.0, 0.5, KEPT_SECONDS - 0.1, KEPT_SECONDS):
        seconds[0] = now
        api.call(readiness.check, api.services.database, api.services.storage)
        with api.services.database.transaction() as session:
            written.add(session.get_one(PeriodicWork, "readiness").due_at)
    assert len(written) == 2
