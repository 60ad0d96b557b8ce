"""Disconnected clients, killed workers and stopped servers: the credit is charged once or released."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from billing.ledger.plans import PlanName
from tests.support.calling import code_of, crop, small_picture
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.raw_client import RawClient, send_call
from tests.support.server import Customer, RunningServer, ServerFactory, StartServer
from tests.support.waiting import wait_until

#: Encoding this takes seconds, so that something can happen meanwhile.
SLOW: dict[str, Any] = {"format": "avif", "quality": "100", "width": "100%", "height": "100%"}
SLOW_PICTURE = jpeg_bytes(np.tile(photo("motorcycle_left"), (5, 5, 1)))


@pytest.fixture(scope="module")
def one_worker(
    tmp_path_factory: pytest.TempPathFactory, server_factory: ServerFactory
) -> Iterator[RunningServer]:
    """A server that does one call at a time."""
    with server_factory(tmp_path_factory.mktemp("one-worker"), {"BGERASER_WORKERS": "1"}) as running:
        yield running
        assert running.drifts() == []


@pytest.fixture
def customer(one_worker: RunningServer) -> Customer:
    return one_worker.new_customer(PlanName.STANDARD)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def queue(server: RunningServer) -> tuple[int, int]:
    """Calls waiting and calls running."""
    data = httpx.get(f"{server.address}/readyz").json()["data"]["queue"]
    return data["waiting"], data["running"]


def crop_slowly(server: RunningServer, customer: Customer, **headers: str) -> httpx.Response:
    return crop(server, customer, SLOW_PICTURE, headers=headers, **SLOW)


def slow_call(
    threads: ThreadPoolExecutor, server: RunningServer, customer: Customer, **headers: str
) -> "Future[httpx.Response]":
    """A slow call, begun by a worker when this returns."""
    wait_until(lambda: queue(server) == (0, 0))  # an answered call counts as running for a moment longer
    future = threads.submit(crop_slowly, server, customer, **headers)
    wait_until(lambda: queue(server)[1] == 1)
    return future


def leaving_client(
    server: RunningServer, customer: Customer, content: bytes, fields: dict[str, str], **headers: str
) -> RawClient:
    """A client that has sent a whole call and has not read anything."""
    return send_call(server, customer, "crop", {"image": content}, fields, **headers)


def test_a_queued_call_is_withdrawn_when_its_client_disconnects(
    one_worker: RunningServer, customer: Customer, threads: ThreadPoolExecutor
) -> None:
    running = slow_call(threads, one_worker, customer)
    client = leaving_client(one_worker, customer, small_picture(), {"width": "5"})
    wait_until(lambda: queue(one_worker) == (1, 1))
    assert one_worker.balance(customer) == (498, 2)
    client.close()
    wait_until(lambda: one_worker.balance(customer) == (499, 1))
    assert queue(one_worker)[0] == 0
    assert running.result().status_code == 200
    assert one_worker.balance(customer) == (499, 0)


def test_a_running_call_whose_client_disconnects_finishes_is_charged_once_and_stored(
    one_worker: RunningServer, customer: Customer
) -> None:
    client = leaving_client(one_worker, customer, SLOW_PICTURE, SLOW, **{"Idempotency-Key": "left"})
    wait_until(lambda: queue(one_worker)[1] == 1)
    client.close()
    wait_until(lambda: one_worker.balance(customer) == (499, 0))
    retry = crop_slowly(one_worker, customer, **{"Idempotency-Key": "left"})
    assert (retry.status_code, retry.headers["idempotent-replayed"]) == (200, "true")
    assert httpx.get(retry.json()["data"]["imageUrl"]).status_code == 200
    assert one_worker.balance(customer) == (499, 0)


def test_a_retry_during_the_first_call_gets_retry_after_and_then_its_response(
    one_worker: RunningServer, customer: Customer, threads: ThreadPoolExecutor
) -> None:
    first = slow_call(threads, one_worker, customer, **{"Idempotency-Key": "patience"})
    retry = crop_slowly(one_worker, customer, **{"Idempotency-Key": "patience"})
    assert (retry.status_code, code_of(retry)) == (409, "IDEMPOTENCY_IN_PROGRESS")
    assert int(retry.headers["retry-after"]) >= 1
    answer = first.result()
    retry = crop_slowly(one_worker, customer, **{"Idempotency-Key": "patience"})
    assert retry.content == answer.content


def test_exceeding_the_concurrency_of_the_plan_is_429(
    one_worker: RunningServer, threads: ThreadPoolExecutor
) -> None:
    free = one_worker.new_customer()
    first = slow_call(threads, one_worker, free)
    second = threads.submit(crop, one_worker, free)
    wait_until(lambda: queue(one_worker) == (1, 1))
    third = crop(one_worker, free)
    assert (third.status_code, code_of(third)) == (429, "RATE_LIMITED")
    assert int(third.headers["retry-after"]) >= 1
    assert (first.result().status_code, second.result().status_code) == (200, 200)
    assert one_worker.balance(free) == (13, 0)


def test_a_killed_worker_answers_500_without_a_charge_and_the_next_call_succeeds(
    one_worker: RunningServer, customer: Customer, threads: ThreadPoolExecutor
) -> None:
    running = slow_call(threads, one_worker, customer)

    def kill_workers() -> bool:
        """A call whose first worker died before starting it is retried once, so one kill may not suffice."""
        for worker in psutil.Process(one_worker.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                worker.send_signal(signal.SIGKILL)
        return running.done()

    wait_until(kill_workers)
    answer = running.result()
    assert (answer.status_code, code_of(answer)) == (500, "PROCESSING_FAILED")
    assert answer.headers["x-credits-charged"] == "0"
    assert answer.headers["x-credits-remaining"] == "500"
    assert one_worker.balance(customer) == (500, 0)
    wait_until(lambda: httpx.get(f"{one_worker.address}/readyz").status_code == 200)
    assert crop(one_worker, customer).status_code == 200


def test_a_stopping_server_finishes_its_running_calls(
    start_server: StartServer, threads: ThreadPoolExecutor
) -> None:
    server = start_server(BGERASER_WORKERS="1")
    customer = server.new_customer()
    running = slow_call(threads, server, customer)
    assert server.stop() in (0, -signal.SIGTERM)  # uvicorn ends by the signal it was sent, after its work
    assert running.result().status_code == 200
    assert server.balance(customer) == (14, 0)


def test_an_unavailable_database_is_503_and_service_resumes_when_it_returns(
    one_worker: RunningServer, customer: Customer
) -> None:
    files = [one_worker.data_dir / f"bgeraser.db{suffix}" for suffix in ("", "-wal", "-shm")]
    moved = [(file, file.with_name(file.name + ".away")) for file in files if file.exists()]
    for file, away in moved:
        file.rename(away)
    try:
        answer = crop(one_worker, customer)
        assert (answer.status_code, code_of(answer)) == (503, "SERVICE_UNAVAILABLE")
        assert int(answer.headers["retry-after"]) >= 1
        wait_until(lambda: httpx.get(f"{one_worker.address}/readyz").status_code == 503)
        ready = httpx.get(f"{one_worker.address}/readyz")
        assert (ready.status_code, ready.json()["data"]["database"]) == (503, "unavailable")
    finally:
        for file, away in moved:
            away.rename(file)
    assert crop(one_worker, customer).status_code == 200


def test_identical_calls_on_two_servers_are_one_call(
    start_server: StartServer, threads: ThreadPoolExecutor
) -> None:
    first = start_server(BGERASER_WORKERS="1")
    second = start_server(data_dir=first.data_dir, BGERASER_WORKERS="1")
    assert first.address != second.address
    customer = first.new_customer(PlanName.BUSINESS)
    running = slow_call(threads, first, customer)
    joined = threads.submit(crop_slowly, second, customer)
    answers = [running.result(), joined.result()]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content
    assert sorted(answer.headers["x-credits-charged"] for answer in answers) == ["0", "1"]
    assert first.balance(customer) == (4999, 0)


@pytest.mark.long
def test_a_call_is_not_charged_when_its_server_is_killed(
    start_server: StartServer, threads: ThreadPoolExecutor
) -> None:
    server = start_server(BGERASER_WORKERS="1")
    customer = server.new_customer()
    running = slow_call(threads, server, customer, **{"Idempotency-Key": "killed"})
    os.kill(server.process.pid, signal.SIGKILL)
    assert isinstance(running.exception(), httpx.HTTPError)
    server.process.wait()
    again = start_server(data_dir=server.data_dir, BGERASER_WORKERS="1")
    deadline = time.monotonic() + 60
    while True:
        retry = crop_slowly(again, customer, **{"Idempotency-Key": "killed"})
        if retry.status_code == 200:
            break
        assert code_of(retry) == "IDEMPOTENCY_IN_PROGRESS"
        assert time.monotonic() < deadline
        time.sleep(int(retry.headers["retry-after"]))
    assert again.balance(customer) == (14, 0)
    assert again.drifts() == []
