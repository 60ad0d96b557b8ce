"""Retries over HTTP, with and without an Idempotency-Key."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from billing.ledger.plans import PlanName
from tests.support.calling import code_of, crop, param_of, small_picture
from tests.support.ml.photos import jpeg_bytes, open_bytes, photo
from tests.support.server import Customer, RunningServer


@pytest.fixture
def customer(server: RunningServer) -> Customer:
    return server.new_customer(PlanName.BUSINESS)


def is_replay_of(second: httpx.Response, first: httpx.Response) -> bool:
    """Byte for byte, free, and marked; its own request id is in the header only."""
    return (
        second.status_code == first.status_code
        and second.content == first.content
        and second.headers.get("idempotent-replayed") == "true"
        and second.headers["x-credits-charged"] == "0"
        and second.headers["x-request-id"] != first.headers["x-request-id"]
    )


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "first order"}])
def test_repeating_a_call_replays_it_without_a_charge(
    server: RunningServer, customer: Customer, headers: dict[str, str]
) -> None:
    picture = small_picture()
    first = crop(server, customer, picture, headers=headers)
    second = crop(server, customer, picture, headers=headers)
    assert "idempotent-replayed" not in first.headers
    assert first.headers["x-credits-charged"] == "1"
    assert is_replay_of(second, first)
    assert second.headers["x-credits-remaining"] == "4999"
    assert server.balance(customer) == (4999, 0)


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "deleted"}])
def test_repeating_a_call_after_its_result_was_deleted_runs_it_again(
    server: RunningServer, customer: Customer, headers: dict[str, str]
) -> None:
    picture = small_picture()
    first = crop(server, customer, picture, headers=headers)
    with server.client(customer) as client:
        client.delete(f"/api/images/{first.json()['data']['imageId']}").raise_for_status()
    second = crop(server, customer, picture, headers=headers)
    assert "idempotent-replayed" not in second.headers
    assert second.headers["x-credits-charged"] == "1"
    assert httpx.get(second.json()["data"]["imageUrl"]).status_code == 200
    assert is_replay_of(crop(server, customer, picture, headers=headers), second)


def test_a_replay_counts_towards_the_rate(server: RunningServer) -> None:
    customer = server.new_customer()
    picture = small_picture()
    began = time.time()
    answers = [crop(server, customer, picture) for _ in range(4)]
    # Each call of the free plan puts the moment of a full burst 3 s further away, however late it comes.
    assert int(answers[-1].headers["x-ratelimit-reset"]) >= began + 4 * 3


def test_a_replay_succeeds_without_credits(server: RunningServer) -> None:
    customer = server.new_customer(credits=1)
    picture = small_picture()
    first = crop(server, customer, picture)
    assert is_replay_of(crop(server, customer, picture), first)
    assert code_of(crop(server, customer)) == "INSUFFICIENT_CREDITS"


def test_the_same_values_written_differently_are_the_same_call(
    server: RunningServer, customer: Customer
) -> None:
    picture = small_picture()
    first = crop(server, customer, picture, width="20", x="0")
    second = crop(server, customer, picture, width="20px", x="0.0", quality="090")
    assert is_replay_of(second, first)


def test_an_image_response_is_replayed_as_json_and_vice_versa(
    server: RunningServer, customer: Customer
) -> None:
    picture = small_picture()
    as_picture = {"Accept": "image/*"}
    first = crop(server, customer, picture, headers=as_picture)
    second = crop(server, customer, picture)
    third = crop(server, customer, picture, headers=as_picture)
    assert second.headers["idempotent-replayed"] == third.headers["idempotent-replayed"] == "true"
    assert first.content == third.content
    assert httpx.get(second.json()["data"]["imageUrl"]).content == first.content
    assert first.headers["x-image-url"] == third.headers["x-image-url"]
    assert server.balance(customer) == (4999, 0)


@pytest.mark.parametrize("change", [{"width": "11"}, {"format": "jpg"}])
def test_another_request_under_the_key_is_422(
    server: RunningServer, customer: Customer, change: dict[str, Any]
) -> None:
    headers = {"Idempotency-Key": "one key"}
    picture = small_picture()
    assert crop(server, customer, picture, headers=headers).status_code == 200
    second = crop(server, customer, picture, headers=headers, **change)
    assert (second.status_code, code_of(second)) == (422, "IDEMPOTENCY_MISMATCH")
    assert param_of(second) == "Idempotency-Key"
    other_picture = crop(server, customer, headers=headers)
    assert code_of(other_picture) == "IDEMPOTENCY_MISMATCH"
    assert server.balance(customer) == (4999, 0)


def test_two_accounts_may_use_one_key(server: RunningServer, customer: Customer) -> None:
    headers = {"Idempotency-Key": "one key"}
    other = server.new_customer()
    picture = small_picture()
    assert crop(server, customer, picture, headers=headers).headers["x-credits-charged"] == "1"
    assert crop(server, other, picture, headers=headers).headers["x-credits-charged"] == "1"


def test_a_key_of_255_characters_works(server: RunningServer, customer: Customer) -> None:
    headers = {"Idempotency-Key": "k" * 255}
    picture = small_picture()
    first = crop(server, customer, picture, headers=headers)
    assert is_replay_of(crop(server, customer, picture, headers=headers), first)


def test_100_concurrent_calls_with_one_key_are_one_call(server: RunningServer, customer: Customer) -> None:
    picture = small_picture()
    headers = {"Idempotency-Key": "a hundred at once"}
    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(lambda _: crop(server, customer, picture, headers=headers), range(100)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    bodies = {answer.content for answer in answers if answer.status_code == 200}
    assert len(bodies) == 1
    assert sum(int(answer.headers["x-credits-charged"]) for answer in answers) == 1
    for answer in answers:
        if answer.status_code == 409:
            assert code_of(answer) == "IDEMPOTENCY_IN_PROGRESS"
            assert int(answer.headers["retry-after"]) >= 1
    assert server.balance(customer) == (4999, 0)


def test_100_concurrent_identical_calls_without_a_key_share_one_execution(
    server: RunningServer, customer: Customer
) -> None:
    picture = small_picture()
    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(lambda _: crop(server, customer, picture), range(100)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert sum(int(answer.headers["x-credits-charged"]) for answer in answers) == 1
    assert server.balance(customer) == (4999, 0)


def test_an_error_of_the_work_is_replayed_under_its_key(server: RunningServer, customer: Customer) -> None:
    damaged = jpeg_bytes(photo("coffee"))[:20_000]
    headers = {"Idempotency-Key": "damaged"}
    first = crop(server, customer, damaged, headers=headers)
    second = crop(server, customer, damaged, headers=headers)
    assert (first.status_code, code_of(first)) == (422, "UNREADABLE_IMAGE")
    assert is_replay_of(second, first)
    without_key = [crop(server, customer, damaged) for _ in range(2)]
    assert all("idempotent-replayed" not in answer.headers for answer in without_key)
    assert server.balance(customer) == (5000, 0)


def test_a_corrected_request_may_reuse_its_key(server: RunningServer, customer: Customer) -> None:
    headers = {"Idempotency-Key": "corrected"}
    picture = small_picture()
    assert code_of(crop(server, customer, picture, headers=headers, quality="0")) == "INVALID_PARAMETER"
    # Impossible only for this picture, so found by the worker; yet nothing that is kept.
    outside = crop(server, customer, picture, headers=headers, x="5000", width="10")
    assert outside.status_code == 422
    good = crop(server, customer, picture, headers=headers)
    assert (good.status_code, good.headers["x-credits-charged"]) == (200, "1")


def test_200_parallel_calls_each_get_their_own_image(server: RunningServer) -> None:
    customers = [server.new_customer(PlanName.BUSINESS) for _ in range(4)]
    source = photo("astronaut")
    content = jpeg_bytes(source, quality=95)
    decoded = open_bytes(content)

    def call(number: int) -> bool:
        left, top = number % 20 * 20, number // 20 * 40
        box = {"x": str(left), "y": str(top), "width": "20", "height": "40", "format": "png"}
        response = crop(server, customers[number % 4], content, headers={"Accept": "image/*"}, **box)
        assert response.status_code == 200, response.text
        return bool((open_bytes(response.content) == decoded[top : top + 40, left : left + 20]).all())

    with ThreadPoolExecutor(32) as threads:
        assert all(threads.map(call, range(200)))
    assert sum(server.balance(customer)[0] for customer in customers) == 4 * 5000 - 200


def test_a_replayed_body_keeps_the_first_request_id(server: RunningServer, customer: Customer) -> None:
    picture = small_picture()
    first = crop(server, customer, picture)
    second = crop(server, customer, picture)
    assert json.loads(second.content)["requestId"] == first.headers["x-request-id"]
