"""A long call renews its lease; one that lost it is never charged. The clock is simulated."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from api import background, cleanup
from api.auth import api_keys
from api.calls import admission
from billing.ledger.models import Account
from tests.support.apps import LocalApi, local_api
from tests.support.calling import code_of, small_picture
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.waiting import wait_until

SLOW_PICTURE = jpeg_bytes(np.tile(photo("motorcycle_left"), (4, 4, 1)))


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalApi]:
    with local_api(tmp_path_factory.mktemp("leases"), has_workers=True) as opened:
        wait_until(lambda: opened.services.backend.state().ready)
        yield opened


@pytest.fixture
def key(api: LocalApi, tmp_path: Path) -> str:
    return api.new_key(f"{tmp_path.name}@example.com")


def call(api: LocalApi, key: str, content: bytes) -> httpx.Response:
    return api.request(
        "POST",
        "/api/tools/crop",
        files={"image": content},
        data={"format": "avif", "quality": "100"},
        headers={"X-Api-Key": key},
    )


@pytest.fixture
def begun(api: LocalApi, key: str) -> Iterator["Future[httpx.Response]"]:
    """A slow call that a worker has begun."""
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(call, api, key, SLOW_PICTURE)
        wait_until(lambda: api.services.backend.state().running == 1 or future.done())
        assert not future.done()
        yield future


def balance(api: LocalApi, key: str) -> tuple[int, int]:
    with api.services.database.transaction() as session:
        account_id = api_keys.find(session, key, api.clock()).account_id
        account = session.get_one(Account, account_id)
        return account.available, account.held


def test_a_call_longer_than_its_lease_is_charged_if_the_lease_was_renewed(
    api: LocalApi, key: str, begun: "Future[httpx.Response]"
) -> None:
    for _ in range(6):
        api.clock.move(seconds=admission.RENEW_EVERY_SECONDS)
        api.call(background.renew_leases_once, api.services)
        assert api.call(cleanup.release_lapsed_holds, api.services.database, api.clock()) == 0
    assert begun.result().status_code == 200
    assert balance(api, key) == (14, 0)


def test_a_call_whose_lease_lapsed_is_not_charged(
    api: LocalApi, key: str, begun: "Future[httpx.Response]"
) -> None:
    api.clock.move(seconds=admission.LEASE_SECONDS + 1)
    answer = begun.result()
    assert (answer.status_code, code_of(answer)) == (503, "SERVICE_UNAVAILABLE")
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["x-credits-charged"] == "0"
    assert balance(api, key) == (15, 0)
    assert call(api, key, small_picture()).status_code == 200


def test_work_whose_hold_was_expired_is_stopped(
    api: LocalApi, key: str, begun: "Future[httpx.Response]"
) -> None:
    api.clock.move(seconds=admission.LEASE_SECONDS + 1)
    assert api.call(cleanup.release_lapsed_holds, api.services.database, api.clock()) == 1
    assert balance(api, key) == (15, 0)
    api.call(background.renew_leases_once, api.services)
    answer = begun.result()
    assert (answer.status_code, code_of(answer)) == (503, "SERVICE_UNAVAILABLE")
    assert "stopped" in answer.json()["error"]["message"]  # by us, not found too late when it was done
    assert balance(api, key) == (15, 0)


def test_a_retry_after_a_lapsed_lease_runs_again_while_the_first_call_still_runs(
    api: LocalApi, key: str, begun: "Future[httpx.Response]"
) -> None:
    api.clock.move(seconds=admission.LEASE_SECONDS + 1)
    with ThreadPoolExecutor(1) as threads:
        retry = threads.submit(call, api, key, SLOW_PICTURE)
        answers = [begun.result(), retry.result()]
    assert sorted(answer.status_code for answer in answers) == [200, 503]
    assert balance(api, key) == (14, 0)
