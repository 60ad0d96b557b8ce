"""Settings: the generated secret."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from api import settings


def test_processes_that_start_concurrently_share_one_secret(tmp_path: Path) -> None:
    place = tmp_path / "data" / "secret.key"
    with ThreadPoolExecutor(16) as threads:
        secrets = set(threads.map(lambda _: settings._secret_file(place), range(64)))
    assert len(secrets) == 1
    assert len(secrets.pop()) >= 32
    assert [path.name for path in place.parent.iterdir()] == ["secret.key"]
    assert place.stat().st_mode & 0o777 == 0o600
