"""Which Gradio routes are reachable, and by whom."""

import json
import re

import httpx
import pytest

from tests.support.gradio_client import DATA, JOIN, NO_LIMITS, Dashboard, browser
from tests.support.raw_client import RawClient
from tests.support.server import Customer, RunningServer

CLOSED = (
    "gradio_api/upload",
    "gradio_api/file=/etc/passwd",
    "gradio_api/file/etc/passwd",
    "gradio_api/proxy=https://example.com",
    "gradio_api/info",
    "gradio_api/openapi.json",
    "gradio_api/call/generate",
    "gradio_api/component_server",
    "gradio_api/mcp",
    "monitoring",
    "monitoring/summary",
    "login",
    "logout",
    "login_check",
    "gradio_api/upload_progress",
    "gradio_api/deep_link",
    "gradio_api/vibe-code",
    "runs",
    "config",
    "manifest.json",
    "robots.txt",
    "gradio_api/runs",
    "gradio_api/startup-events",
    "gradio_api/reset",
    "gradio_api/cancel",
    "gradio_api/run/generate",
    "gradio_api/api/generate",
    "gradio_api/user",
    "gradio_api/token",
    "gradio_api/stream/a",
    "gradio_api/custom_component/a/client/b/c",
    "assets/" + "a" * 5_000,
    "assets/..%2f..%2f..%2froutes.py",
    "assets/%2e%2e/%2e%2e/%2e%2e/routes.py",
    "assets/",
    "assets//etc/passwd",
    "assets/%ed%a0%80",
    "static/" + "a/" * 2_000,
    "static/http://127.0.0.1/",
    "gradio_api/heartbeat/" + "a" * 5_000,
)
WITH_NUL = ("assets/%00", "assets/index.js%00.css", "static/%00", "svelte/%00", "gradio_api/heartbeat/%00")


@pytest.fixture
def customer(server: RunningServer) -> Customer:
    return server.new_customer()


@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unused_gradio_routes_are_404(server: RunningServer, method: str, path: str) -> None:
    answer = httpx.request(method, f"{server.address}/app/{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("path", WITH_NUL)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_path_with_a_nul_is_refused(server: RunningServer, method: str, path: str) -> None:
    answer = httpx.request(method, f"{server.address}/app/{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_REQUEST")


def test_an_upload_through_gradio_is_refused_and_leaves_nothing(server: RunningServer) -> None:
    answer = httpx.post(f"{server.address}/app/gradio_api/upload", files={"files": b"x" * 3_000_000})
    assert answer.status_code == 404


def test_pages_load_nothing_from_other_hosts(server: RunningServer) -> None:
    answer = httpx.get(f"{server.address}/app/")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "https:" not in policy
    assert "frame-ancestors 'none'" in policy
    for place in re.findall(r'<(?:script|link)[^>]+(?:src|href)="([^"]+)"', answer.text):
        assert not place.startswith(("http:", "https:", "//")) or place.startswith(server.address)


def test_the_editor_url_may_lack_its_trailing_slash(server: RunningServer) -> None:
    answer = httpx.get(f"{server.address}/app")
    assert (answer.status_code, answer.headers["location"]) == (308, "/app/")


def test_the_dashboard_needs_an_account(server: RunningServer) -> None:
    answer = httpx.get(f"{server.address}/app/dashboard")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/app/dashboard")


def in_our_shape(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert body.keys() == {"success", "error", "requestId"}, body
    return answer.status_code, body["error"]["code"]


def test_gradio_assets_are_served(server: RunningServer, customer: Customer) -> None:
    with browser(server, customer) as client:
        page = client.get("/app/dashboard").text
    (entrance,) = re.findall(r'src="\./(assets/index-[^"]+\.js)"', page)[:1]
    for method in ("GET", "HEAD"):
        answer = httpx.request(method, f"{server.address}/app/{entrance}")
        assert (answer.status_code, bool(answer.content)) == (200, method == "GET")
        assert answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_the_dashboards_page_is_compressed_and_names_its_modules_ahead(
    server: RunningServer, customer: Customer
) -> None:
    with browser(server, customer) as client:
        plain = client.get("/app/dashboard", headers={"accept-encoding": "gzip"})
        packed = client.get("/app/dashboard", headers={"accept-encoding": "gzip, br"})
        modules = re.findall(r'<link rel="modulepreload" href="\./(assets/[^"]+)"', plain.text)
        assert len(modules) > 5
        assert [name for name in modules if client.head(f"/app/{name}").status_code != 200] == []
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "br"
    assert packed.headers["vary"] == "Accept-Encoding"
    assert int(packed.headers["content-length"]) < len(plain.content) / 3
    assert plain.text.partition("</head>")[2] == packed.text.partition("</head>")[2]
    assert not re.search(r"iframeResizer\.contentWindow|manifest\.json|og:image", packed.text)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", JOIN, "POST"),
        ("GET", JOIN, "POST"),
        ("POST", DATA, "GET"),
        ("POST", "/app/", "GET, HEAD"),
        ("DELETE", "/app/dashboard", "GET, HEAD"),
        ("OPTIONS", "/app/theme.css", "GET, HEAD"),
    ],
)
def test_another_method_is_refused(server: RunningServer, method: str, path: str, allowed: str) -> None:
    headers = {"Origin": server.address, "Access-Control-Request-Method": "POST"}
    answer = httpx.request(method, server.address + path, headers=headers)
    assert in_our_shape(answer) == (405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == allowed
    assert "access-control-allow-origin" not in answer.headers


def test_refusals_have_the_error_shape(server: RunningServer, customer: Customer) -> None:
    """Its queue holds no messages for this page, which it would say in a `detail` or inside the stream."""
    with browser(server, customer) as client:
        answer = client.get(DATA, params={"session_hash": "nobody"})
        assert in_our_shape(answer) == (404, "NOT_FOUND")


#: Of a proxy's headers only X-Forwarded-For and -Proto are read, by the server, and from trusted proxies.
FORWARDED = {
    "x-forwarded-port": "444",
    "x-forwarded-prefix": "/evil.example",
    "x-gradio-server": "http://evil.example/",
    "forwarded": "host=evil.example",
}


@pytest.mark.parametrize("path", ["/app/", "/app/dashboard", "/app/?deep_link=../x&view=api&__theme=dark"])
def test_pages_ignore_forwarded_host_headers(server: RunningServer, customer: Customer, path: str) -> None:
    with browser(server, customer) as client:
        plain, forged = client.get(path), client.get(path, headers=FORWARDED)
        misdirected = client.get(path, headers={"x-forwarded-host": "evil.example"})
    assert (misdirected.status_code, "evil.example" in misdirected.text) == (400, False)
    assert forged.status_code == 200
    assert "evil.example" not in forged.text
    assert plain.headers["cache-control"] == "no-store"
    assert f'"root":"{server.address}/app"' in forged.text


@pytest.mark.parametrize("host", ["[::1", "a b", "a/b", "a@b", "a:99999999", "", "a\\b"])
def test_a_malformed_host_is_refused(server: RunningServer, host: str) -> None:
    client = RawClient(server)
    client.write(f"GET /app/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    status, body = client.answer()
    client.close()
    assert 400 <= status < 500
    assert set(json.loads(body)) == {"success", "error", "requestId"}


@pytest.mark.parametrize(
    "path", ["/app/", "/app/gradio_api/queue/join", "/healthz", "/api/tools", "/nowhere"]
)
def test_a_websocket_is_refused(server: RunningServer, path: str) -> None:
    client = RawClient(server)
    client.write(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    status, body = client.answer()
    client.close()
    assert status == 400
    assert json.loads(body)["error"]["code"] == "INVALID_REQUEST"
    assert httpx.get(f"{server.address}/healthz").status_code == 200


def test_other_upgrades_are_answered_as_plain_http(server: RunningServer) -> None:
    """As `curl --http2` asks; RFC 9110 lets a server go on with the present protocol."""
    client = RawClient(server)
    client.write(
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABk\r\n\r\n"
    )
    assert client.answer()[0] == 200
    client.close()


def test_the_dashboard_url_may_end_with_a_slash(server: RunningServer) -> None:
    answer = httpx.get(f"{server.address}/app/dashboard/")
    assert (answer.status_code, answer.headers["location"]) == (308, "/app/dashboard")


def test_no_request_of_these_tests_left_a_traceback(server: RunningServer, customer: Customer) -> None:
    before = server.log_text().count("Traceback")
    with browser(server, customer) as client:
        event = Dashboard(client).event("generate", "a name", *NO_LIMITS)
        for headers in ({"origin": "http://[::1"}, {"host": "[::1"}):
            client.post(JOIN, json=event, headers=headers)
        for path in CLOSED:
            client.get(f"/app/{path}")
    assert server.log_text().count("Traceback") == before
