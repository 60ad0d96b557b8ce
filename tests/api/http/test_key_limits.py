"""What the settings of a key forbid, in every way in: the credits of a month, the tools, the expiry."""

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from api.auth import api_keys, key_settings
from api.auth.key_settings import KeySettings
from billing.ledger.plans import PlanName
from billing.timestamps import utc_now
from tests.support.batch_calls import batch_of, control, read_batch, send_batch
from tests.support.calling import code_of, crop, small_picture
from tests.support.server import Customer, RunningServer
from tests.support.waiting import wait_until


def with_key(
    server: RunningServer, customer: Customer, settings: KeySettings, *, is_test: bool = False
) -> Customer:
    """The same account with a key of these settings."""
    with server.database.transaction() as session:
        _, plain = api_keys.create(
            session, customer.account_id, "limited", utc_now(), settings=settings, is_test=is_test
        )
    return Customer(customer.account_id, customer.email, plain)


def used(server: RunningServer, customer: Customer) -> int:
    with server.client(customer) as client:
        limit: dict[str, Any] = client.get("/api/account").json()["data"]["key"]["monthlyLimit"]
    return int(limit["used"])


@pytest.fixture
def customer(server: RunningServer) -> Customer:
    return server.new_customer(PlanName.BUSINESS)


def test_50_parallel_calls_with_a_limit_of_10_succeed_exactly_10_times(
    server: RunningServer, customer: Customer
) -> None:
    limited = with_key(server, customer, KeySettings(monthly_limit=10))
    before, _ = server.balance(customer)
    with ThreadPoolExecutor(25) as threads:
        answers = list(threads.map(lambda _: crop(server, limited), range(50)))
    assert Counter(answer.status_code for answer in answers) == {200: 10, 402: 40}
    refused = next(answer.json()["error"] for answer in answers if answer.status_code == 402)
    assert refused["code"] == "INSUFFICIENT_CREDITS"
    assert refused["message"].startswith("This API key has reached its limit of 10 credits a month.")
    assert refused["renewsAt"].endswith("-01T00:00:00Z")
    assert refused["renewsAt"] in refused["message"]
    assert "topUpUrl" not in refused
    assert used(server, limited) == 10
    assert server.balance(customer) == (before - 10, 0)
    assert crop(server, customer).status_code == 200  # another key of the account
    assert server.drifts() == []


def test_a_failed_call_and_a_replay_do_not_count(server: RunningServer, customer: Customer) -> None:
    limited = with_key(server, customer, KeySettings(monthly_limit=2))
    assert crop(server, limited, b"\x89PNG\r\n\x1a\nbroken").status_code == 422
    picture = small_picture()
    assert [crop(server, limited, picture).status_code for _ in range(3)] == [200, 200, 200]
    assert used(server, limited) == 1


def test_both_keys_of_a_rotation_share_one_count(server: RunningServer, customer: Customer) -> None:
    old = with_key(server, customer, KeySettings(monthly_limit=2, tools=frozenset({"crop"})))
    with server.database.transaction() as session:
        row = api_keys.find(session, old.key, utc_now())
        _, plain = api_keys.rotate(session, old.account_id, row.id, grace_seconds=3600, now=utc_now())
    new = Customer(customer.account_id, customer.email, plain)
    assert [crop(server, each).status_code for each in (old, new, old, new)] == [200, 200, 402, 402]
    with server.client(new) as client:
        refused = client.post("/api/tools/upscale", files={"image": small_picture()})
    assert (refused.status_code, code_of(refused)) == (403, "FORBIDDEN")


def test_a_job_counts_for_its_key_and_gives_back_what_it_did_not_use(
    server: RunningServer, customer: Customer
) -> None:
    limited = with_key(server, customer, KeySettings(monthly_limit=1))
    headers = {"Prefer": "respond-async"}
    broken = crop(server, limited, b"\x89PNG\r\n\x1a\nbroken", headers=headers)
    assert broken.status_code == 202
    wait_until(lambda: used(server, limited) == 0)
    assert crop(server, limited, headers=headers).status_code == 202
    assert crop(server, limited, headers=headers).status_code == 402
    assert used(server, limited) == 1


def test_a_batch_stops_at_the_limit_of_its_key_and_goes_on_when_it_is_raised(
    server: RunningServer, customer: Customer
) -> None:
    limited = with_key(server, customer, KeySettings(monthly_limit=2))
    pictures = [(f"{number}.png", small_picture()) for number in range(4)]
    batch_id = batch_of(send_batch(server, limited, pictures))
    wait_until(lambda: read_batch(server, limited, batch_id)["status"] == "blocked")
    counts = read_batch(server, limited, batch_id)["counts"]
    assert (counts["succeeded"], counts["queued"]) == (2, 2)
    assert used(server, limited) == 2
    time.sleep(12)  # as long as a process waits between two looks at blocked batches
    assert read_batch(server, limited, batch_id)["status"] == "blocked"
    refused = send_batch(server, limited, pictures[:1], tool="crop", width="9", height="9")
    assert refused.status_code == 402
    with server.database.transaction() as session:
        row = api_keys.find(session, limited.key, utc_now())
        api_keys.change_settings(
            session, customer.account_id, row.id, KeySettings(monthly_limit=9), utc_now()
        )
    wait_until(lambda: read_batch(server, limited, batch_id)["status"] == "completed")
    assert used(server, limited) == 4
    control(server, limited, batch_id, "cancel")


def test_a_tool_that_is_not_allowed_is_refused_in_every_way_in(
    server: RunningServer, customer: Customer
) -> None:
    limited = with_key(server, customer, KeySettings(tools=frozenset({"crop"})))
    before = server.balance(customer)
    picture = small_picture()
    file = {"image": picture}
    steps = json.dumps([{"tool": "crop", "params": {"width": "9"}}, {"tool": "upscale", "params": {}}])
    with server.client(limited) as client:
        refused = [
            client.post("/api/tools/upscale", files=file),
            client.post("/api/tools/upscale", files=file, headers={"Prefer": "respond-async"}),
            client.post("/api/tools/upscale", json={"image": {"url": "https://example.invalid/a.png"}}),
            send_batch(server, limited, [("a.png", picture)], tool="upscale"),
            send_batch(server, limited, [("a.png", picture)], steps=steps),
        ]
        for answer in refused:
            assert (answer.status_code, code_of(answer)) == (403, "FORBIDDEN")
            assert "It may use: crop." in answer.json()["error"]["message"]
        dialect = client.post("/v1.0/removebg", files={"image_file": picture})
        assert dialect.status_code == 403
        assert "may not use bg-removal" in dialect.json()["errors"][0]["title"]
        assert crop(server, limited, picture).status_code == 200
    assert server.balance(customer) == (before[0] - 1, 0)


@pytest.mark.parametrize("action", ["pause", "resume", "retry", None])
def test_a_batch_is_not_changed_with_a_key_that_could_not_have_made_it(
    server: RunningServer, customer: Customer, action: str | None
) -> None:
    batch_id = batch_of(send_batch(server, customer, [("a.png", small_picture())], tool="bg-removal"))
    others = [
        with_key(server, customer, KeySettings(tools=frozenset({"crop"}))),
        with_key(server, customer, KeySettings(), is_test=True),
    ]
    for other in others:
        with server.client(other) as client:
            path = f"/api/batches/{batch_id}"
            answer = client.delete(path) if action is None else client.post(f"{path}/{action}")
        assert (answer.status_code, code_of(answer)) == (403, "FORBIDDEN")
    with server.client(customer) as client:
        assert client.delete(f"/api/batches/{batch_id}").status_code == 200


def test_an_expired_key_is_told_so(server: RunningServer, customer: Customer) -> None:
    expired = with_key(server, customer, KeySettings(expires_at=utc_now() + timedelta(seconds=1.5)))
    assert crop(server, expired).status_code == 200
    time.sleep(1.6)
    answer = crop(server, expired)
    assert (answer.status_code, code_of(answer)) == (401, "INVALID_API_KEY")
    assert "expired at" in answer.json()["error"]["message"]


def test_the_last_use_and_its_address_are_recorded(server: RunningServer, customer: Customer) -> None:
    key = with_key(server, customer, KeySettings())
    with server.client(key) as client:
        assert client.get("/api/account").status_code == 200

    def address() -> str | None:
        with server.database.transaction() as session:
            return api_keys.find(session, key.key, utc_now()).last_used_address

    wait_until(lambda: address() == "127.0.0.1")


def test_the_account_describes_the_key_and_usage_names_it_after_it_was_revoked(
    server: RunningServer, customer: Customer
) -> None:
    chosen = KeySettings(monthly_limit=5, tools=frozenset({"crop", "brush"}))
    limited = with_key(server, customer, chosen)
    assert crop(server, limited).status_code == 200
    with server.client(limited) as client:
        key = client.get("/api/account").json()["data"]["key"]
    assert (key["isTest"], key["tools"], key["expiresAt"]) == (False, ["brush", "crop"], None)
    assert (key["monthlyLimit"]["credits"], key["monthlyLimit"]["used"]) == (5, 1)
    with server.database.transaction() as session:
        row = api_keys.find(session, limited.key, utc_now())
        assert key_settings.of(session, row) == chosen
        api_keys.revoke(session, customer.account_id, row.id, utc_now())
    with server.client(customer) as client:
        usage = client.get("/api/usage").json()["data"]
    own = [each for each in usage if each["keyId"] == key["keyId"]]
    assert [(each["tool"], each["calls"], each["credits"]) for each in own] == [("crop", 1, 1)]
