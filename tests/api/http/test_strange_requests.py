"""Unusual paths and headers are 4xx in the error shape on every route, never a 500."""

import base64
import json
import os
import socket
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.server import Customer, RunningServer

PATHS = [
    "/api/tools",
    "/api/account",
    "/api/usage",
    "/api/images/img_aaaaaaaaaaaaaaaaaaaaaa",
    "/api/nothing",
    "/healthz",
    "/readyz",
    "/editor/session",
    "/editor/projects",
    "/login",
    "/static/editor/main.js",
]


def in_our_shape(response: httpx.Response, *statuses: int) -> None:
    assert response.status_code in statuses, (response.status_code, response.text[:300])
    body = response.json()
    assert set(body) == {"success", "error", "requestId"}
    assert body["requestId"] == response.headers["x-request-id"]


@pytest.fixture(scope="module")
def customer(server: RunningServer) -> Customer:
    return server.new_customer()


@pytest.fixture(autouse=True)
def no_traceback(server: RunningServer) -> object:
    """No request of a test may cause an unexpected error."""
    before = server.log_text().count("unforeseen error")
    yield
    assert server.log_text().count("unforeseen error") == before


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "query", ["a&" * 25_000, "a=1&" * 64, "name=" + "x" * 20_000, "name=%00", "seen=1&q=a%00b"]
)
def test_an_endless_query_or_a_nul_is_400_on_every_route(
    server: RunningServer, path: str, query: str
) -> None:
    with server.client() as client:
        response = client.get(f"{path}?{query}")
    in_our_shape(response, 400)
    assert response.json()["error"]["code"] == "INVALID_REQUEST"


@pytest.mark.parametrize("path", PATHS)
def test_no_path_or_header_causes_a_500(server: RunningServer, path: str) -> None:
    strange: list[dict[str, str]] = [
        {"Origin": "http://[::1"},
        {"Origin": "\x7f"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Accept": "image/*;q=nan, */*;q=1e999"},
        {"Accept": "," * 1000},
        {"Range": "bytes=9999999999999999999999-"},
        {"If-None-Match": '"' * 1000},
        {"Cookie": "bgeraser_session=\\x00; bgeraser_session=" + "a" * 3000},
        {"Content-Type": "multipart/form-data; boundary=\\"},
        {"Authorization": "Bearer " + "x" * 3000},
        {"X-Forwarded-For": "[::1, x, 999.999.999.999"},
        {"Host": "[::1"},
        {"Host": "a:b"},
        {"Host": "a:99999999"},
    ]
    with server.client() as client:
        for headers in strange:
            for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"):
                response = client.request(method, path, headers=headers)
                assert response.status_code < 500, (method, headers, response.text[:300])


@pytest.mark.parametrize(
    "path", ["/api/%00", "/static/%00", "/app/%00", "/editor/projects/%00", "/api/images/img_%00"]
)
def test_a_nul_in_a_path_is_400(server: RunningServer, path: str) -> None:
    with server.client() as client:
        in_our_shape(client.get(path), 400)


@pytest.mark.parametrize("place", ["/static/", "/static/editor/", "/api/images/", "/api/tools/", "/api/"])
@pytest.mark.parametrize("name", ["a" * 300, "a" * 5000, "%FF%FE", "%ED%A0%80", "..%2f" * 50, "\u6f22" * 200])
def test_an_unusual_path_is_404(server: RunningServer, place: str, name: str) -> None:
    with server.client() as client:
        response = client.get(place + name)
    assert response.status_code in (403, 404, 405), response.text[:300]
    if place.startswith("/api"):
        in_our_shape(response, 403, 404, 405)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "LOCK"])
def test_an_unknown_method_is_405(server: RunningServer, customer: Customer, method: str) -> None:
    with server.client(customer) as client:
        for path in ("/api/tools/crop", "/api/tools", "/api/account", "/api/usage", "/api/images"):
            response = client.request(method, path)
            in_our_shape(response, 405)
            assert response.headers["allow"]


def test_a_trailing_slash_is_served(server: RunningServer, customer: Customer) -> None:
    with server.client(customer) as client:
        for path in ("/api/tools/", "/api/account/", "/api/usage/"):
            assert client.get(path).status_code == 200
        assert client.post("/api/tools/crop/").json()["error"]["code"] == "MISSING_IMAGE"
        in_our_shape(client.get("/api/nothing/"), 404)


@pytest.mark.parametrize(
    "path", ["/", "/api/tools", "/api/tools/crop", "/app/", "/app/gradio_api/queue/join"]
)
def test_a_websocket_is_refused_in_the_error_shape(server: RunningServer, path: str) -> None:
    parts = urlsplit(server.address)
    key = base64.b64encode(os.urandom(16)).decode()
    head = [
        f"GET {path} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
    ]
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as client:
        client.sendall("\r\n".join([*head, "", ""]).encode())
        received = b""
        while b"\r\n\r\n" not in received:
            piece = client.recv(65536)
            assert piece, "closed without an answer"
            received += piece
    status = int(received.split()[1])
    assert status != 101
    assert status < 500
    if status == 404:
        client_body = received.partition(b"\r\n\r\n")[2]
        assert not client_body or json.loads(client_body)["success"] is False
