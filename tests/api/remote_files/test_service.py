"""Fetching callers' URLs: nothing but public hosts is connected to, and everything is bounded."""

import asyncio
import gc
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from api.errors import (
    ApiError,
    FileTooLarge,
    InvalidParameter,
    RateLimited,
    RemoteFileUnavailable,
    RemoteHostUnavailable,
    UnusableRemoteUrl,
    is_retryable,
)
from api.remote_files import remote_urls, service
from api.remote_files.pinned_connections import PinnedBackend
from api.remote_files.pinned_requests import PinnedRequests
from api.remote_files.service import RemoteFiles
from tests.support.ml.photos import photo, png_bytes
from tests.support.remote_host import LOOPBACK, NAME, Names, RemoteHost, files_of, running_host

LIMIT_BYTES = 3 * 1024 * 1024
PICTURE = png_bytes(photo("chelsea")[:40, :60])


@pytest.fixture(scope="module")
def host() -> Iterator[RemoteHost]:
    with running_host() as running:
        yield running


def fetch(files: RemoteFiles, url: str, on_bytes: Callable[[int], None] = lambda _: None) -> bytes:
    fetching = files.fetch(
        url, "image_url", account_id="a", concurrent=4, limit_bytes=LIMIT_BYTES, on_bytes=on_bytes
    )
    return asyncio.run(fetching)


def refusal(files: RemoteFiles, url: str) -> InvalidParameter:
    with pytest.raises(InvalidParameter) as raised:
        fetch(files, url)
    assert raised.value.param == "image_url"
    return raised.value


def test_a_picture_is_fetched_over_tls_with_nothing_of_ours_in_the_request(host: RemoteHost) -> None:
    url = host.serve("/a.png?size=2", PICTURE)
    assert fetch(files_of(host), url) == PICTURE
    head = host.heads[-1].decode().lower()
    assert head.startswith("get /a.png?size=2 http/1.1\r\n")
    assert f"host: {NAME}:{host.port}\r\n" in head
    names = {line.split(":")[0] for line in head.split("\r\n")[1:] if line}
    assert names == {"host", "accept", "accept-encoding", "user-agent", "connection"}


def test_proxies_of_the_environment_are_not_used(host: RemoteHost, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert fetch(files_of(host), host.serve("/proxied.png", PICTURE)) == PICTURE


def test_letters_of_a_path_are_escaped(host: RemoteHost) -> None:
    host.serve("/gr%C3%BCn%20a.png?q=%C3%A4", PICTURE)
    assert fetch(files_of(host), f"{host.url}/grün a.png?q=ä") == PICTURE


#: Forms of this machine, its networks and of what stands for them: refused by the real rules.
URLS = [
    *(
        f"https://{host}/a.png"
        for host in (
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "printer.local",
            "db.internal",
            "router.lan",
            "intranet",
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "127.0.1",
            "2130706433",
            "0177.0.0.1",
            "017700000001",
            "0x7f.0.0.1",
            "0x7f000001",
            "0X7F.1",
            "127.0.0.0x1",
            "127.000.000.001",
            "0",
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.168.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::1]",
            "[::]",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[64:ff9b::127.0.0.1]",
            "[64:ff9b::a9fe:a9fe]",
            "[2002:7f00:1::]",
            "[2001:0:7f00:1::]",
            "[fe80::1]",
            "[fe80::1%25eth0]",
            "[fd00::1]",
            "[ff02::1]",
            "[::1",
            "\uff11\uff12\uff17.0.0.1",
            "127\u30020\u30020\u30021",
            "ⓛocalhost",
            "bücher.example.com",
            "user@public.example.com",
            "user:secret@public.example.com",
            "public.example.com@127.0.0.1",
            "public.example.com:8443",
            "public.example.com:22",
            "public.example.com:0",
            "public.example.com:",
            "public.example.com:port",
            "public.example.com:443@127.0.0.1",
            "public.example.com\\@127.0.0.1",
            "public.example.com%2f@127.0.0.1",
            "public .example.com",
            "public.example.com.",
            "-a.example.com",
            "a..example.com",
            "",
        )
    ),
    "http://public.example.com/a.png",
    "ftp://public.example.com/a.png",
    "file:///etc/passwd",
    "gopher://public.example.com/",
    "data:image/png;base64,AAAA",
    "//public.example.com/a.png",
    "public.example.com/a.png",
    "https:/public.example.com",
    "https:public.example.com",
    "javascript:alert(1)",
    "https://public.example.com/a\r\nHost: 127.0.0.1",
    "https://pub\tlic.example.com/",
    "https://public.example.com/\x00",
    "https://public.example.com/" + "a" * remote_urls.URL_LENGTH_MAX,
    "",
]
#: Names that resolve, but not only to public addresses.
PRIVATE_NAMES = {
    "loopback.example.com": ["127.0.0.1"],
    "metadata.example.com": ["169.254.169.254"],
    "private.example.com": ["10.1.2.3"],
    "shared.example.com": ["100.64.9.9"],
    "mixed.example.com": ["93.184.216.34", "127.0.0.1"],
    "mapped.example.com": ["::ffff:127.0.0.1"],
    "nat64.example.com": ["64:ff9b::7f00:1"],
    "sixtofour.example.com": ["2002:7f00:1::"],
    "unique-local.example.com": ["fd00::1"],
    "zone.example.com": ["fe80::1%1"],
    "none.example.com": [],
}


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Where connections are opened, of which none is."""
    opened: list[tuple[str, int]] = []

    async def connect(_: object, host: str, port: int, **__: object) -> None:
        opened.append((host, port))
        raise AssertionError(f"a connection to {host}")

    monkeypatch.setattr("httpcore.AnyIOBackend.connect_tcp", connect)
    return opened


def test_there_are_enough_cases() -> None:
    assert len(URLS) + len(PRIVATE_NAMES) >= 60


@pytest.mark.parametrize("url", URLS, ids=lambda url: ascii(url)[:60])
def test_a_url_that_is_not_plainly_public_is_refused_without_a_connection(
    url: str, connections: list[tuple[str, int]]
) -> None:
    names = Names(**{"public.example.com": ["93.184.216.34"]})
    error = refusal(RemoteFiles(PinnedRequests(resolve=names)), url)
    assert isinstance(error, UnusableRemoteUrl)
    assert connections == []
    # Names and numbers of this machine are not even looked up; an address is its own.
    assert not [name for name in names.asked if not name[-1].isdigit() and ":" not in name]


@pytest.mark.parametrize("name", PRIVATE_NAMES)
def test_a_name_with_an_address_that_is_not_public_is_refused_without_a_connection(
    name: str, connections: list[tuple[str, int]]
) -> None:
    names = Names(**PRIVATE_NAMES)
    error = refusal(RemoteFiles(PinnedRequests(resolve=names)), f"https://{name}/a.png")
    unknown = refusal(RemoteFiles(PinnedRequests(resolve=names)), "https://unknown.example.com/a.png")
    assert (connections, names.asked[0]) == ([], name)
    assert (type(error), error.message) == (
        type(unknown),
        unknown.message,
    )  # Whether it exists is not said.


def test_an_address_is_allowed_only_where_its_operator_did(host: RemoteHost) -> None:
    """The way in of these tests is an argument; with the usual rules the same host gets no connection."""
    url = host.serve("/a.png", PICTURE)
    before = host.connections
    names = Names(**{NAME: [LOOPBACK]})
    usual = RemoteFiles(PinnedRequests(resolve=names, ports=frozenset({host.port}), tls=host.trusting()))
    assert isinstance(refusal(usual, url), UnusableRemoteUrl)
    assert host.connections == before


def test_a_rebinding_name_is_connected_to_where_it_was_checked(host: RemoteHost) -> None:
    names = Names()
    names.turns[NAME] = [[LOOPBACK], ["10.0.0.1"]]
    url = host.serve("/rebinding.png", PICTURE)
    assert fetch(files_of(host, names), url) == PICTURE
    assert names.asked == [NAME]  # looked up once
    assert isinstance(refusal(files_of(host, names), url), UnusableRemoteUrl)


def test_the_certificate_is_checked_for_the_name(host: RemoteHost) -> None:
    url = host.serve("/a.png", PICTURE).replace(NAME, "other.example.com")
    names = Names(**{"other.example.com": [LOOPBACK]})
    assert isinstance(refusal(files_of(host, names), url), RemoteFileUnavailable)


def test_an_unknown_authority_is_not_trusted(host: RemoteHost) -> None:
    url = host.serve("/a.png", PICTURE)
    error = refusal(files_of(host, tls=ssl.create_default_context()), url)
    assert isinstance(error, RemoteFileUnavailable)


def test_http_is_fetched_only_by_setting(connections: list[tuple[str, int]]) -> None:
    names = Names(**{"public.example.com": ["93.184.216.34"]})
    with pytest.raises(AssertionError, match="a connection to"):
        fetch(RemoteFiles(PinnedRequests(resolve=names, allows_http=True)), "http://public.example.com/a.png")
    assert connections == [("93.184.216.34", 80)]


@pytest.mark.parametrize(
    "location",
    [
        "https://169.254.169.254/latest/meta-data/",
        "http://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "//127.0.0.1/",
        "https://2130706433/",
        "https://localhost/",
        "file:///etc/passwd",
        "https://inside.example.com/",
        "http://pictures.example.com/a.png",
        "",
    ],
)
def test_a_redirect_is_checked_as_the_url_itself(host: RemoteHost, location: str) -> None:
    names = Names(**{NAME: [LOOPBACK], "inside.example.com": ["10.0.0.7"]})
    files = files_of(host, names)
    url = host.redirect("/away", location)
    if not location:
        host.redirect("/away", "/away")
    before = host.connections
    assert isinstance(refusal(files, url), RemoteFileUnavailable)
    assert host.connections - before == (1 if location else service.REDIRECTS_MAX + 1)


@pytest.mark.parametrize("hops", [1, service.REDIRECTS_MAX, service.REDIRECTS_MAX + 1])
def test_three_redirects_are_followed(host: RemoteHost, hops: int) -> None:
    host.serve("/hop0", PICTURE)
    for hop in range(1, hops + 1):
        host.redirect(f"/hop{hop}", f"/hop{hop - 1}", status="301 Moved Permanently")
    url = f"{host.url}/hop{hops}"
    if hops <= service.REDIRECTS_MAX:
        assert fetch(files_of(host), url) == PICTURE
    else:
        assert "redirected" in refusal(files_of(host), url).message


def test_a_lying_content_type_does_not_matter(host: RemoteHost) -> None:
    assert fetch(files_of(host), host.serve("/t", PICTURE, content_type="text/html")) == PICTURE
    page = host.serve("/page", b"<html>" + b" " * 4096, content_type="image/png")
    assert "JPEG" in refusal(files_of(host), page).message


def test_what_is_no_picture_is_left_after_its_first_bytes(host: RemoteHost) -> None:
    def endless(_: bytes, connection: ssl.SSLSocket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n" + b"x" * 100)
        host.wait_until_stopped()

    error = refusal(files_of(host, seconds=30.0), host.respond("/endless", endless))
    assert "JPEG" in error.message


def test_a_file_over_the_limit_is_refused_by_its_declared_length(host: RemoteHost) -> None:
    declared = str(LIMIT_BYTES + 1)
    with pytest.raises(FileTooLarge):
        fetch(files_of(host), host.serve("/big", PICTURE, content_length=declared))


def test_a_file_over_the_limit_is_refused_without_a_declared_length(host: RemoteHost) -> None:
    received: list[int] = []

    def chunks(_: bytes, connection: ssl.SSLSocket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        piece = PICTURE + bytes(1024 * 1024 - len(PICTURE))
        while True:
            connection.sendall(b"100000\r\n" + piece + b"\r\n")

    with pytest.raises(FileTooLarge):
        fetch(files_of(host, seconds=60.0), host.respond("/chunks", chunks), received.append)
    assert max(received) <= LIMIT_BYTES


@pytest.mark.parametrize("declared", [len(PICTURE) + 1, -1])
def test_a_declared_length_that_is_wrong_is_a_failure(host: RemoteHost, declared: int) -> None:
    url = host.serve(f"/short{declared}", PICTURE, content_length=str(declared), connection="close")
    assert isinstance(refusal(files_of(host), url), RemoteFileUnavailable)


def test_bytes_after_the_declared_length_are_not_read(host: RemoteHost) -> None:
    url = host.serve("/long", PICTURE + b"more", content_length=str(len(PICTURE)))
    assert fetch(files_of(host), url) == PICTURE


@pytest.mark.parametrize(
    "sent", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n"]
)
def test_a_host_that_hangs_is_left_at_the_time_limit(host: RemoteHost, sent: bytes) -> None:
    def hang(_: bytes, connection: ssl.SSLSocket) -> None:
        connection.sendall(sent)
        host.wait_until_stopped()

    error = refusal(files_of(host, seconds=0.3), host.respond(f"/hang{len(sent)}", hang))
    assert "0.3 seconds" in error.message
    assert is_retryable(error)


def test_a_name_that_is_never_resolved_is_left_at_the_time_limit() -> None:
    async def never(_: str, __: int) -> list[str]:
        await asyncio.sleep(3600)
        return []

    assert (
        "seconds"
        in refusal(RemoteFiles(PinnedRequests(resolve=never), seconds=0.1), "https://a.example.com/").message
    )


@pytest.mark.parametrize(
    "status", ["404 Not Found", "401 Unauthorized", "500 Oops", "204 No Content", "206 Part"]
)
def test_an_error_there_is_a_failure_that_does_not_say_which(host: RemoteHost, status: str) -> None:
    url = host.serve("/error", b"the secret of that server", status=status)
    message = refusal(files_of(host), url).message
    assert status[:3] not in message
    assert "secret" not in message


@pytest.mark.parametrize(
    ("status", "may_pass"),
    [
        ("429 Slow Down", True),
        ("500 Oops", True),
        ("503 Not Now", True),
        ("404 Not Found", False),
        ("403 Forbidden", False),
        ("204 No Content", False),
    ],
)
def test_a_failure_that_may_pass_is_retryable(host: RemoteHost, status: str, may_pass: bool) -> None:
    error = refusal(files_of(host), host.serve("/passing", PICTURE, status=status))
    assert is_retryable(error) == may_pass


def test_a_connection_that_fails_may_succeed_later(host: RemoteHost) -> None:
    def close(_: bytes, connection: ssl.SSLSocket) -> None:
        connection.close()

    assert is_retryable(refusal(files_of(host), host.respond("/closed", close)))
    with socket.create_server((LOOPBACK, 0)) as closed:
        port = closed.getsockname()[1]
    files = files_of(host, ports=frozenset({port}))
    assert isinstance(refusal(files, f"https://{NAME}:{port}/a.png"), RemoteHostUnavailable)


def test_a_connection_that_is_given_up_during_the_tls_handshake_is_closed(host: RemoteHost) -> None:
    def read_to_the_end(connection: socket.socket) -> None:
        connection.settimeout(30)
        while connection.recv(65536):
            pass

    async def main() -> None:
        with socket.create_server((LOOPBACK, 0)) as silent:
            port = silent.getsockname()[1]
            files = files_of(host, ports=frozenset({port}), seconds=0.5)
            with pytest.raises(RemoteHostUnavailable):
                await files.fetch(
                    f"https://{NAME}:{port}/a.png", "image_url", account_id="a", concurrent=4, limit_bytes=9
                )
            accepted, _ = silent.accept()
            with accepted:
                await asyncio.to_thread(read_to_the_end, accepted)

    gc.disable()  # It would close the connection, some time later.
    try:
        asyncio.run(main())
    finally:
        gc.enable()


@pytest.mark.parametrize(("error_number", "may_pass"), [(socket.EAI_AGAIN, True), (socket.EAI_NONAME, False)])
def test_a_name_may_be_resolved_later_only_if_no_name_server_answered(
    error_number: int, may_pass: bool
) -> None:
    async def fail(_: str, __: int) -> list[str]:
        raise socket.gaierror(error_number, "the resolver's message")

    error = refusal(RemoteFiles(PinnedRequests(resolve=fail)), "https://a.example.com/")
    assert is_retryable(error) == may_pass
    assert isinstance(error, UnusableRemoteUrl) != may_pass


def test_what_the_host_cannot_change_is_not_retryable(host: RemoteHost) -> None:
    names = Names(**{NAME: ["10.0.0.7"]})
    assert not is_retryable(refusal(files_of(host, names), f"{host.url}/a.png"))
    assert not is_retryable(refusal(files_of(host), host.serve("/page", b"<html>" * 100)))
    inside = host.redirect("/inside", "https://127.0.0.1/")
    assert not is_retryable(refusal(files_of(host), inside))


def test_what_breaks_the_protocol_is_a_failure(host: RemoteHost) -> None:
    def garbage(_: bytes, connection: ssl.SSLSocket) -> None:
        connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

    def long_head(_: bytes, connection: ssl.SSLSocket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\na: " + b"x" * 1_000_000)

    for path, respond in {"/garbage": garbage, "/head": long_head}.items():
        assert isinstance(refusal(files_of(host), host.respond(path, respond)), RemoteFileUnavailable)


def _sending(host: RemoteHost, path: str, content: bytes) -> str:
    def respond(_: bytes, connection: ssl.SSLSocket) -> None:
        with suppress(OSError):  # The fetcher does not wait for all of it.
            connection.sendall(content)

    return host.respond(path, respond)


def _chunked(content: bytes, chunk_bytes: int) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = (content[start : start + chunk_bytes] for start in range(0, len(content), chunk_bytes))
    return head + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def test_what_keeps_the_event_loop_busy_is_left_early(host: RemoteHost) -> None:
    """Each interim answer and each chunk is parsed on the event loop."""
    large = png_bytes(photo("chelsea"))
    assert fetch(files_of(host), _sending(host, "/small", _chunked(PICTURE, 7))) == PICTURE
    assert fetch(files_of(host), _sending(host, "/many", _chunked(large, 400))) == large
    answers = {
        "too small pieces": _chunked(large, 8),
        "the connection failed": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 10_000 + _chunked(PICTURE, 1000),
    }
    for path, (reason, content) in enumerate(answers.items()):
        assert reason in refusal(files_of(host), _sending(host, f"/busy/{path}", content)).message


def test_one_account_downloads_a_few_files_at_once() -> None:
    async def never(_: str, __: int) -> list[str]:
        await asyncio.sleep(3600)
        return []

    async def work() -> None:
        files = RemoteFiles(PinnedRequests(resolve=never))

        def start(account: str) -> "asyncio.Task[bytes]":
            fetching = files.fetch(
                "https://a.example.com/", "image_url", account_id=account, concurrent=2, limit_bytes=1
            )
            return asyncio.create_task(fetching)

        first = [start("a"), start("a")]
        await asyncio.sleep(0.05)
        with pytest.raises(RateLimited):
            await start("a")
        other = start("b")
        await asyncio.sleep(0.05)
        assert not other.done()
        for task in (*first, other):
            task.cancel()
        await asyncio.gather(*first, other, return_exceptions=True)
        again = start("a")
        await asyncio.sleep(0.05)
        assert not again.done()  # There is room again.
        again.cancel()
        await asyncio.gather(again, return_exceptions=True)

    asyncio.run(work())


def test_received_bytes_are_reported_and_may_be_refused(host: RemoteHost) -> None:
    class Full(ApiError):
        pass

    def refuse(_: int) -> None:
        raise Full("no room")

    with pytest.raises(Full):
        fetch(files_of(host), host.serve("/a.png", PICTURE), refuse)


def test_a_host_without_an_answering_address_is_tried_at_the_next_one(host: RemoteHost) -> None:
    dead = "127.0.0.2"  # on Linux an address of this machine too, where nothing listens at this port
    files = files_of(
        host,
        Names(**{NAME: [dead, LOOPBACK]}),
        is_allowed=lambda address: address in (dead, LOOPBACK),
    )
    assert fetch(files, host.serve("/a.png", PICTURE)) == PICTURE


def test_the_backend_makes_connections_of_no_other_kind() -> None:
    backend = PinnedBackend(Names(), lambda _: True)
    with pytest.raises(NotImplementedError):
        asyncio.run(backend.connect_unix_socket("/run/docker.sock"))
