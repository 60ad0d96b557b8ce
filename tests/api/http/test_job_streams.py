"""The events of a job: each of its states once, resumed where the stream broke off."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np
import pytest

from api.auth import api_keys
from billing.ledger.plans import PlanName
from tests.support.calling import code_of, param_of
from tests.support.job_calls import crop_later, ended_job, job_of
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.server import Customer, RunningServer

#: Takes seconds, so that there is something to tell.
SLOW: dict[str, Any] = {"format": "avif", "quality": "100", "width": "100%", "height": "100%"}
SLOW_PICTURE = jpeg_bytes(np.tile(photo("motorcycle_left"), (5, 4, 1)))


@pytest.fixture
def customer(server: RunningServer) -> Customer:
    return server.new_customer(PlanName.FREE)


def read_events(response: httpx.Response) -> Iterator[tuple[int, dict[str, Any]]]:
    """Ids and data of the stream's events."""
    event_id = 0
    for line in response.iter_lines():
        name, _, value = line.partition(": ")
        if name == "id":
            event_id = int(value)
        elif name == "event":
            assert value == "job"
        elif name == "data":
            yield event_id, json.loads(value)


def test_a_stream_tells_every_change_until_the_end_and_is_resumed(
    server: RunningServer, customer: Customer
) -> None:
    job_id = job_of(crop_later(server, customer, SLOW_PICTURE, **SLOW))
    path = f"/api/jobs/{job_id}/events"
    with server.client(customer) as client:
        with client.stream("GET", path) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            events = read_events(stream)
            seen = [next(events)]
            while seen[-1][1]["status"] == "queued":
                seen.append(next(events))
        # Broken off while the job runs.
        assert seen[-1][1]["status"] == "running"
        with client.stream("GET", path, headers={"Last-Event-ID": str(seen[-1][0])}) as stream:
            seen += read_events(stream)
        ids = [event_id for event_id, _ in seen]
        assert ids == sorted(set(ids))
        assert seen[-1][1]["status"] == "succeeded"
        shown = client.get(f"/api/jobs/{job_id}").json()["data"]
        assert seen[-1][1] == shown
        again = client.get(path, headers={"Last-Event-ID": str(ids[-1])})
        assert (again.status_code, again.content) == (204, b"")
        whole = client.get(path)
        assert [event_id for event_id, _ in read_events(whole)] == [ids[-1]]


def test_a_wrong_event_id_is_refused(server: RunningServer, customer: Customer) -> None:
    job_id = job_of(crop_later(server, customer))
    with server.client(customer) as client:
        answer = client.get(f"/api/jobs/{job_id}/events", headers={"Last-Event-ID": "latest"})
    assert (answer.status_code, code_of(answer), param_of(answer)) == (
        422,
        "INVALID_PARAMETER",
        "Last-Event-ID",
    )
    ended_job(server, customer, job_id)


def test_an_account_opens_so_many_streams_at_once(server: RunningServer, customer: Customer) -> None:
    job_id = job_of(crop_later(server, customer, SLOW_PICTURE, **SLOW))
    start, statuses = threading.Barrier(30), list[int]()

    def listen(_: int) -> None:
        with server.client(customer) as client:
            start.wait(60)
            with client.stream("GET", f"/api/jobs/{job_id}/events") as stream:
                statuses.append(stream.status_code)
                start.wait(60)  # until all have an answer

    with ThreadPoolExecutor(30) as threads:
        list(threads.map(listen, range(30)))
    assert statuses.count(200) <= 20
    assert statuses.count(200) + statuses.count(429) == 30
    with server.client(customer) as client:
        client.delete(f"/api/jobs/{job_id}")


def test_a_stream_ends_with_its_key(server: RunningServer, customer: Customer) -> None:
    slow = [job_of(crop_later(server, customer, SLOW_PICTURE, **SLOW)) for _ in range(2)]
    with server.client(customer) as client, client.stream("GET", f"/api/jobs/{slow[1]}/events") as stream:
        events = read_events(stream)
        assert next(events)[1]["status"] in {"queued", "running"}
        with server.database.transaction() as session:
            (key,) = api_keys.usable(session, customer.account_id, datetime.now(UTC))
            api_keys.revoke(session, customer.account_id, key.id, datetime.now(UTC))
            _, other = api_keys.create(session, customer.account_id, "other", datetime.now(UTC))
        with server.client() as owner:
            for job_id in slow:
                owner.delete(f"/api/jobs/{job_id}", headers={"X-Api-Key": other})
        told = {event["status"] for _, event in events}
        assert "cancelled" not in told, "what happens after the key was revoked is not told"


def test_an_account_opens_so_many_streams(server: RunningServer, customer: Customer) -> None:
    job_id = job_of(crop_later(server, customer, SLOW_PICTURE, **SLOW))
    path = f"/api/jobs/{job_id}/events"
    with ExitStack() as open_streams, server.client(customer) as client:
        kept = []  # Dropping an iterator would close its stream.
        for _ in range(20):
            stream = open_streams.enter_context(client.stream("GET", path))
            kept.append(read_events(stream))
            next(kept[-1])
        refused = client.get(path)
        assert (refused.status_code, code_of(refused)) == (429, "RATE_LIMITED")
        client.delete(f"/api/jobs/{job_id}")
    with server.client(customer) as client:
        assert client.get(path).status_code == 200
