"""What counts as delivered, and which hosts are never connected to."""

import asyncio
import ssl
import time
from collections.abc import Iterator

import pytest

from api.errors import UnusableRemoteUrl
from api.remote_files.pinned_requests import PinnedRequests
from api.remote_files.public_addresses import is_public
from api.webhooks.sender import AttemptOutcome, WebhookSender
from tests.support.remote_host import LOOPBACK, NAME, Names, RemoteHost, running_host
from tests.support.webhook_receiver import sender_for


@pytest.fixture(scope="module")
def host() -> Iterator[RemoteHost]:
    with running_host() as running:
        yield running


def post(sender: WebhookSender, url: str) -> AttemptOutcome:
    try:
        return asyncio.run(sender.post(url, [("webhook-id", "msg_1")], b'{"a":1}'))
    finally:
        sender.close()


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "204 No Content", "299 Odd"])
def test_every_2xx_is_a_success(host: RemoteHost, status: str) -> None:
    outcome = post(sender_for(host), host.serve("/fine", b"", status=status))
    assert (outcome.status_code, outcome.error) == (int(status[:3]), None)
    head = host.heads[-1].decode().lower()
    assert head.startswith("post /fine http/1.1\r\n")
    names = {line.split(":")[0] for line in head.partition("\r\n\r\n")[0].split("\r\n")[1:]}
    assert names == {"host", "content-type", "content-length", "webhook-id", "user-agent", "connection"}


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("301 Moved Permanently", "REDIRECTED"),
        ("307 Temporary Redirect", "REDIRECTED"),
        ("304 Not Modified", "REDIRECTED"),
        ("400 Bad Request", "ERROR_STATUS"),
        ("404 Not Found", "ERROR_STATUS"),
        ("410 Gone", "GONE"),
        ("429 Too Many Requests", "ERROR_STATUS"),
        ("500 Internal Server Error", "ERROR_STATUS"),
    ],
)
def test_every_other_status_is_a_failure_and_no_redirect_is_followed(
    host: RemoteHost, status: str, error: str
) -> None:
    host.serve("/elsewhere", b"")
    url = host.serve("/bad", b"", status=status, location=f"{host.url}/elsewhere")
    before = host.connections
    assert post(sender_for(host), url).error == error
    assert host.connections - before == 1


def test_a_huge_answer_is_not_read(host: RemoteHost) -> None:
    sent_bytes = 0

    def answer(_: bytes, connection: ssl.SSLSocket) -> None:
        nonlocal sent_bytes
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000000\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)
            sent_bytes += 65536

    assert post(sender_for(host), host.respond("/huge", answer)).is_success
    assert sent_bytes < 64 * 1024**2


def test_a_receiver_that_hangs_or_drips_is_given_up(host: RemoteHost) -> None:
    def hang(_: bytes, connection: ssl.SSLSocket) -> None:
        host.wait_until_stopped()

    def drip(_: bytes, connection: ssl.SSLSocket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for number in range(1000):
            connection.sendall(b"x-%d: 1\r\n" % number)
            time.sleep(0.05)

    for path, page in (("/hang", hang), ("/drip", drip)):
        outcome = post(sender_for(host, seconds=0.6), host.respond(path, page))
        assert (outcome.status_code, outcome.error) == (None, "TIMED_OUT")


def test_a_receiver_that_hangs_up_or_talks_nonsense_fails(host: RemoteHost) -> None:
    def endless_head(_: bytes, connection: ssl.SSLSocket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000)

    pages = {
        "/closed": lambda _, connection: None,
        "/nonsense": lambda _, connection: connection.sendall(b"SSH-2.0-hello\r\n\r\n"),
        "/endless": endless_head,
    }
    for path, page in pages.items():
        assert post(sender_for(host), host.respond(path, page)).error == "CONNECTION_FAILED"


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "::1", "::ffff:127.0.0.1", "fd00::1", "0.0.0.0"]
)
def test_a_name_that_has_turned_to_a_private_address_is_not_connected_to(
    host: RemoteHost, address: str
) -> None:
    names = Names()
    names.turns[NAME] = [["93.184.215.14", address], [address]]
    before = host.connections
    sender = sender_for(host, names, is_allowed=is_public)
    sender.check_url(f"{host.url}/fine", "url")  # A name is looked up when something is sent.

    async def post_twice() -> list[AttemptOutcome]:
        return [await sender.post(f"{host.url}/fine", [], b"{}") for _ in range(2)]

    assert [outcome.error for outcome in asyncio.run(post_twice())] == ["HOST_REFUSED"] * 2
    sender.close()
    assert names.asked == [NAME, NAME]
    assert host.connections == before


def test_an_unknown_host_has_the_same_error_as_a_private_one(host: RemoteHost) -> None:
    assert post(sender_for(host, Names()), f"{host.url}/fine").error == "HOST_REFUSED"


def test_a_certificate_for_another_name_is_refused(host: RemoteHost) -> None:
    names = Names(**{"other.example.com": [LOOPBACK]})
    outcome = post(sender_for(host, names), f"https://other.example.com:{host.port}/fine")
    assert outcome.error == "CONNECTION_FAILED"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "shop.example.com/hooks",
        "http://shop.example.com/hooks",
        "ftp://shop.example.com/",
        "https://169.254.169.254/latest",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://localhost/",
        "https://printer.local/",
        "https://user:secret@shop.example.com/",
        "https://shop.example.com:8443/",
        "https://shop.example.com/\r\nx: y",
        "https://shop.example.com/" + "a" * 2048,
    ],
)
def test_urls_that_are_never_sent_to_are_refused_at_once(url: str) -> None:
    sender = WebhookSender(PinnedRequests())
    with pytest.raises(UnusableRemoteUrl) as raised:
        sender.check_url(url, "callback_url")
    assert raised.value.param == "callback_url"
    sender.close()


def test_plain_http_is_a_setting() -> None:
    sender = WebhookSender(PinnedRequests(allows_http=True))
    sender.check_url("http://shop.example.com/hooks", "url")
    with pytest.raises(UnusableRemoteUrl):
        sender.check_url("http://127.0.0.1/hooks", "url")
    sender.close()
