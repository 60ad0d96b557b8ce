"""Bodies that are too large, slow, or of a wrong length are refused and never stored."""

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import httpx
import pytest

from api.http.middleware import body_limits
from billing.ledger.plans import PlanName
from tests.support.calling import code_of, crop, small_picture
from tests.support.raw_client import HEAD_OF_PART, RawClient
from tests.support.server import Customer, RunningServer
from tests.support.waiting import PATIENCE_SECONDS

MIB = 1024 * 1024


@pytest.fixture
def client(server: RunningServer) -> Iterator[RawClient]:
    opened = RawClient(server)
    yield opened
    opened.close()


@pytest.fixture
def customer(server: RunningServer) -> Iterator[Customer]:
    made = server.new_customer(PlanName.STANDARD)
    yield made
    assert server.balance(made) == (500, 0)
    assert crop(server, made).status_code == 200


def temporary_files(server: RunningServer) -> list[str]:
    """Files that the server process holds open outside its data directory, deleted ones included."""
    held = []
    for link in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            held.append(str(link.readlink()))
    return [name for name in held if name.startswith("/tmp/") and str(server.data_dir) not in name]


def test_a_client_that_sends_everything_before_reading_receives_the_413(
    client: RawClient, customer: Customer
) -> None:
    client.head(customer, f"Content-Length: {60 * MIB}")
    for _ in range(60):
        assert client.write(bytes(MIB))
    status, body = client.answer()
    assert (status, b"FILE_TOO_LARGE" in body) == (413, True)


def test_a_client_that_sends_a_file_over_25_mib_before_reading_receives_the_413(
    client: RawClient, customer: Customer
) -> None:
    content = HEAD_OF_PART + small_picture() + bytes(26 * MIB) + b"\r\n--part-boundary--\r\n"
    client.head(customer, f"Content-Length: {len(content)}")
    assert client.write(content)
    status, body = client.answer()
    assert (status, b"FILE_TOO_LARGE" in body) == (413, True)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("expect", ["Expect:", "Expect: 100-continue"])
def test_curl_receives_the_413_for_a_file_that_is_too_large(
    server: RunningServer, customer: Customer, tmp_path: Path, expect: str
) -> None:
    big = tmp_path / "big.png"
    big.write_bytes(small_picture() + bytes(60 * MIB))
    command = ["curl", "-s", "-H", expect, "-H", f"X-Api-Key: {customer.key}", "-F", f"image=@{big}"]
    done = subprocess.run(
        [*command, "-w", "\n%{http_code}", f"{server.address}/api/tools/crop"], capture_output=True, text=True
    )
    body, _, status = done.stdout.rpartition("\n")
    assert (done.returncode, status) == (0, "413"), done.stderr
    assert "FILE_TOO_LARGE" in body


def test_a_content_length_of_ten_times_the_limit_is_refused_at_once(
    server: RunningServer, client: RawClient, customer: Customer
) -> None:
    client.head(customer, f"Content-Length: {520 * MIB}")
    status, _ = client.answer()
    assert status == 413


def test_ten_times_the_limit_in_chunks_is_refused_in_constant_memory(
    server: RunningServer, client: RawClient, customer: Customer
) -> None:
    crop(server, customer, headers={"Idempotency-Key": "warm-up"}, quality="0")
    before = server.memory_bytes()
    client.head(customer, "Transfer-Encoding: chunked")
    client.write(b"%x\r\n%s\r\n" % (len(HEAD_OF_PART), HEAD_OF_PART))
    chunk = b"100000\r\n" + bytes(MIB) + b"\r\n"
    peak = before
    for number in range(520):
        if not client.write(chunk):
            break
        if number % 10 == 0:
            peak = max(peak, server.memory_bytes())
    assert number < 520 - 1, "the server took in ten times its limit"
    assert peak - before < 50 * MIB
    assert temporary_files(server) == []


def test_a_chunked_body_over_the_limit_receives_the_413(client: RawClient, customer: Customer) -> None:
    client.head(customer, "Transfer-Encoding: chunked")
    client.write(b"%x\r\n%s\r\n" % (len(HEAD_OF_PART), HEAD_OF_PART))
    for _ in range(60):
        assert client.write(b"100000\r\n" + bytes(MIB) + b"\r\n")
    client.write(b"0\r\n\r\n")
    assert client.answer()[0] == 413


@pytest.mark.parametrize("length", ["-1", "1e9", "0x10", "10, 20", "99999999999999999999999"])
def test_an_invalid_content_length_is_refused(client: RawClient, customer: Customer, length: str) -> None:
    client.head(customer, f"Content-Length: {length}")
    assert 400 <= client.answer()[0] < 500


def test_malformed_http_is_answered_in_the_error_shape(client: RawClient) -> None:
    client.write(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
    status, body = client.answer()
    assert status == 400
    assert json.loads(body)["error"]["code"] == "INVALID_REQUEST"


def test_endless_headers_are_refused_in_constant_memory(server: RunningServer, client: RawClient) -> None:
    before = server.memory_bytes()
    client.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
    sent = 0
    while sent < 200 * MIB and client.write(b"X-Long: " + b"x" * 65536 + b"\r\n"):
        sent += 65536
    assert sent < 200 * MIB
    assert server.memory_bytes() - before < 50 * MIB


def test_a_body_shorter_than_its_content_length_is_not_processed(
    server: RunningServer, client: RawClient, customer: Customer
) -> None:
    content = HEAD_OF_PART + small_picture() + b"\r\n--part-boundary--\r\n"
    client.head(customer, f"Content-Length: {len(content) + 1000}")
    client.write(content)
    client.close()


def test_10_000_parts_are_400(server: RunningServer, client: RawClient, customer: Customer) -> None:
    part = b'--part-boundary\r\nContent-Disposition: form-data; name="a%d"\r\n\r\n1\r\n'
    content = b"".join(part % number for number in range(10_000)) + b"--part-boundary--\r\n"
    client.head(customer, f"Content-Length: {len(content)}")
    client.write(content)
    status, body = client.answer()
    assert (status, b"INVALID_REQUEST" in body) == (400, True)
    assert temporary_files(server) == []


def test_10_000_files_are_400(server: RunningServer, client: RawClient, customer: Customer) -> None:
    part = b'--part-boundary\r\nContent-Disposition: form-data; name="a%d"; filename="a"\r\n\r\n1\r\n'
    content = b"".join(part % number for number in range(10_000)) + b"--part-boundary--\r\n"
    client.head(customer, f"Content-Length: {len(content)}")
    client.write(content)
    assert client.answer()[0] == 400
    assert temporary_files(server) == []


def test_a_part_with_endless_headers_is_400(client: RawClient, customer: Customer) -> None:
    content = b"--part-boundary\r\nContent-Disposition: " + b"x" * MIB
    client.head(customer, f"Content-Length: {len(content)}")
    client.write(content)
    assert client.answer()[0] == 400


def test_a_text_field_over_4_mib_is_400(server: RunningServer, customer: Customer) -> None:
    with server.client(customer) as client:
        field = {"width": "1" * (4 * MIB + 1)}
        response = client.post("/api/tools/crop", files={"image": small_picture()}, data=field)
    assert (response.status_code, code_of(response)) == (400, "INVALID_REQUEST")


def test_other_routes_accept_small_bodies_only(server: RunningServer, customer: Customer) -> None:
    with server.client(customer) as client:
        answer = client.request("DELETE", "/api/images/img_aaaaaaaaaaaa", content=bytes(2 * MIB))
        assert answer.status_code == 404  # never read
    assert body_limits.OTHER_LIMIT_BYTES == MIB


def test_the_connection_of_a_refused_endless_body_is_closed_after_64_mib(
    server: RunningServer, client: RawClient
) -> None:
    client.head(None, "Transfer-Encoding: chunked")
    chunk = b"100000\r\n" + bytes(MIB) + b"\r\n"
    sent = 0
    while sent < 200 and client.write(chunk):
        sent += 1
    # The socket buffers of both sides come on top.
    assert 60 <= sent <= 64 + 30


def test_a_body_read_in_full_keeps_the_connection_and_an_unread_one_closes_it(
    server: RunningServer, customer: Customer
) -> None:
    with server.client(customer) as client:
        whole = client.post("/api/tools/crop", data={"width": "1"})
        unread = client.post("/api/tools/nothing", data={"width": "1"})
    assert "connection" not in whole.headers
    assert unread.headers["connection"] == "close"


def test_slow_clients_are_disconnected(server: RunningServer, customer: Customer) -> None:
    """All at once, because each of them uses up the server's whole timeout."""
    with ThreadPoolExecutor(8) as threads:
        drip = threads.submit(drip_a_body, server, customer)
        heads = [
            threads.submit(never_end_a_head, server, sent)
            for sent in (b"", b"P", b"POST /api/tools/crop HTTP/1.1\r\nHost: localhost\r\nX-Drip: ")
        ]
        idle = threads.submit(answered_and_idle, server)
        for client in (drip, *heads, idle):
            client.result()


def drip_a_body(server: RunningServer, customer: Customer) -> None:
    """Send a body byte by byte until it is refused."""
    client = RawClient(server)
    client.head(customer, f"Content-Length: {MIB}")
    client.write(HEAD_OF_PART)
    deadline = time.monotonic() + PATIENCE_SECONDS
    answer: Future[tuple[int, bytes]] = Future()
    reader = threading.Thread(target=lambda: answer.set_result(client.answer()))
    reader.start()
    while reader.is_alive() and time.monotonic() < deadline:
        client.write(b"x")
        time.sleep(0.3)  # less than what the server asks for
    status, body = answer.result(timeout=1)
    assert (status, b"INVALID_REQUEST" in body) == (400, True)
    client.close()


def never_end_a_head(server: RunningServer, sent: bytes) -> None:
    with closing(RawClient(server)) as client:
        client.write(sent)
        client.wait_for_close()


def answered_and_idle(server: RunningServer) -> None:
    """Wait until a client that neither sends its body nor leaves is disconnected after its answer."""
    with closing(RawClient(server)) as client:
        client.head(None, f"Content-Length: {10 * MIB}")
        assert client.answer()[0] == 401
        client.wait_for_close()


def test_slow_clients_do_not_slow_down_others(server: RunningServer, customer: Customer) -> None:
    dripping = [RawClient(server) for _ in range(200)]
    for each in dripping:
        each.head(customer, f"Content-Length: {MIB}")
        each.write(HEAD_OF_PART)
    try:
        with httpx.Client(base_url=server.address) as client:
            for _ in range(20):
                for each in dripping:
                    each.write(b"x")
                assert client.get("/healthz").status_code == 200
        assert crop(server, server.new_customer()).status_code == 200
    finally:
        for each in dripping:
            each.close()
