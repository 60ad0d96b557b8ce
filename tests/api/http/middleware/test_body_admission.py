"""Uploads before admission are bounded by account, address and process, and never reach the disk."""

import errno
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.requests import Request

from api.errors import status_and_code
from api.http import responses
from api.http.middleware import body_gate
from api.http.middleware.body_gate import Sender
from billing.ledger.plans import PlanName
from tests.support.apps import local_api
from tests.support.calling import code_of, crop, small_picture
from tests.support.raw_client import HEAD_OF_PART, RawClient
from tests.support.server import RunningServer

MIB = 1024 * 1024


def temporary_files(server: RunningServer) -> list[str]:
    """Files in the temporary directory that the server holds open, deleted ones too."""
    names = []
    for link in Path(f"/proc/{server.process.pid}/fd").iterdir():
        try:
            names.append(str(link.readlink()))
        except FileNotFoundError:
            continue  # closed meanwhile
    return [name for name in names if name.startswith("/tmp/") and str(server.data_dir) not in name]


def test_60_large_bodies_on_one_free_key_take_no_more_memory_than_4(server: RunningServer) -> None:
    customer = server.new_customer()
    other = server.new_customer()
    assert crop(server, other).status_code == 200  # so that what is loaded once is loaded
    before = server.memory_bytes()
    content = HEAD_OF_PART + small_picture() + bytes(24 * MIB)

    def send(_: int) -> RawClient:
        """All but the end, so that a body that is let in stays."""
        client = RawClient(server)
        client.head(customer, f"Content-Length: {len(content) + 1000}")
        client.write(content)
        return client

    with ThreadPoolExecutor(60) as threads:
        sending = [threads.submit(send, number) for number in range(60)]
        peak = before
        while not all(client.done() for client in sending):
            peak = max(peak, server.memory_bytes())
            assert temporary_files(server) == []
            assert crop(server, other, headers={"Accept": "image/*"}).status_code in (200, 429, 402)
            time.sleep(0.2)
        clients = [client.result() for client in sending]
    try:
        statuses = [client.status_at_once() for client in clients]
        refused = [status for status in statuses if status is not None]
        assert len(refused) >= 60 - body_gate.OF_ACCOUNT_MIN
        assert set(refused) <= {429, 400}  # 400: it was let in and then sent nothing for too long
        assert refused.count(429) >= 60 - 2 * body_gate.OF_ACCOUNT_MIN
        assert peak - before < 8 * 26 * MIB
    finally:
        for client in clients:
            client.close()
    assert temporary_files(server) == []
    assert crop(server, customer).status_code == 200
    assert server.balance(customer) == (14, 0)


def test_exhausted_body_memory_is_503_until_it_is_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_gate, "WAIT_SECONDS", 0.0)
    with local_api(tmp_path, body_memory_mb=128) as api:
        key = api.new_key("a@example.com", PlanName.STANDARD)
        gate = api.app.state.body_gate
        payers = [Sender("1.1.1.1", f"acc_{number}", is_paid=True) for number in range(2)]
        held = [api.call(gate.admit, payer, 64 * MIB) for payer in payers]
        files = {"image": ("a.png", small_picture())}
        refused = api.request("POST", "/api/images", files=files, headers={"X-Api-Key": key})
        assert (refused.status_code, code_of(refused)) == (503, "OVERLOADED")
        assert int(refused.headers["retry-after"]) >= 1
        for admission in held:
            admission.close()
        assert gate.bytes_in_flight == 0
        taken = api.request("POST", "/api/images", files=files, headers={"X-Api-Key": key})
        assert taken.status_code == 200
        assert (gate.bytes_in_flight, gate.bodies_arriving) == (0, 0)


@pytest.mark.parametrize("path", ["/api/images", "/api/tools/crop", "/stripe/webhook", "/login", "/nothing"])
def test_reserved_memory_is_released_however_a_request_ends(tmp_path: Path, path: str) -> None:
    with local_api(tmp_path) as api:
        key = api.new_key("a@example.com")
        for content, content_type in (
            (b"x" * 1000, "multipart/form-data; boundary=b"),
            (b"x" * (2 * MIB), "multipart/form-data; boundary=b"),
            (b"a=1", "application/x-www-form-urlencoded"),
            (b"{}", "application/json"),
        ):
            for sent_key in (key, "wrong"):
                headers = {"X-Api-Key": sent_key, "Content-Type": content_type}
                answer = api.request("POST", path, content=content, headers=headers)
                assert 400 <= answer.status_code < 500
        gate = api.app.state.body_gate
        assert (gate.bytes_in_flight, gate.bodies_arriving) == (0, 0)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_503_in_the_error_shape_everywhere(number: int) -> None:
    known = responses.as_known_error(OSError(number, os.strerror(number)))
    assert status_and_code(known) == (503, "SERVICE_UNAVAILABLE")
    request = Request({"type": "http", "state": {"request_id": "req_1"}, "headers": []})
    response = responses.error(request, OSError(number, os.strerror(number), "/srv/secret"))
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert b"secret" not in response.body
