"""URLs in responses come from the settings, never from an unverified Host header."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import Request

from tests.support.apps import LocalApi, local_api
from tests.support.calling import code_of
from tests.support.server import RunningServer

FOREIGN = [
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "localhost@evil.example",
    "evil.example#localhost",
    "evil.example/localhost",
    "localhost:port",
    "192.0.2.7",
    "0.0.0.0",
    "[::1",
    "",
]


@pytest.mark.parametrize("path", ["/", "/healthz", "/reset", "/login", "/app/", "/api/tools", "/nothing"])
def test_in_development_only_local_host_names_are_accepted(server: RunningServer, path: str) -> None:
    with server.client() as client:
        assert client.get(path).status_code in (200, 404)
        refused = client.get(path, headers={"Host": "evil.example"})
        forwarded = client.get(path, headers={"X-Forwarded-Host": "evil.example"})
    for answer in (refused, forwarded):
        assert (answer.status_code, code_of(answer)) == (400, "INVALID_REQUEST")
        assert "evil" not in answer.text
        assert "BGERASER_PUBLIC_URL" in answer.text


def echo(api: LocalApi) -> LocalApi:
    """With a route that returns its base URL."""

    async def own_address(request: Request) -> str:
        return str(request.base_url)

    api.app.add_api_route("/echo", own_address)
    return api


@pytest.fixture(scope="module")
def development(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalApi]:
    with local_api(tmp_path_factory.mktemp("development"), bound_host="box.example") as api:
        yield echo(api)


@pytest.mark.parametrize("host", FOREIGN)
def test_an_unknown_host_is_refused(development: LocalApi, host: str) -> None:
    answer = development.request("GET", "/echo", headers={"Host": host})
    assert (answer.status_code, code_of(answer)) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1:8000", "127.9.9.9", "[::1]:8000"])
def test_all_names_of_this_machine_are_accepted(development: LocalApi, host: str) -> None:
    assert development.request("GET", "/echo", headers={"Host": host}).status_code == 200


def test_the_configured_listen_address_is_accepted(development: LocalApi) -> None:
    assert development.request("GET", "/echo", headers={"Host": "box.example:8000"}).status_code == 200


def test_the_local_address_of_the_connection_is_accepted(development: LocalApi) -> None:
    own = development.request("GET", "http://192.0.2.8/echo")  # the transport's end of the connection too
    assert own.status_code == 200
    other = development.request("GET", "http://192.0.2.8/echo", headers={"Host": "192.0.2.9"})
    assert other.status_code == 400


@pytest.mark.parametrize("host", ["localhost:port", "[::1"])
def test_a_malformed_host_is_refused_by_a_public_server_too(tmp_path: Path, host: str) -> None:
    with local_api(tmp_path, bound_host="127.0.0.1", public_url="https://pictures.example.com") as api:
        answer = echo(api).request("GET", "/echo", headers={"Host": host})
    assert (answer.status_code, code_of(answer)) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize("host", [host for host in FOREIGN if host not in ("localhost:port", "[::1")])
def test_a_public_server_uses_its_public_url_whatever_the_host_header(tmp_path: Path, host: str) -> None:
    public = "https://pictures.example.com:8443"
    with local_api(tmp_path, bound_host="127.0.0.1", public_url=public) as api:
        sent = {"Host": host, "X-Forwarded-Host": "evil.example"}
        answer = echo(api).request("GET", "/echo", headers=sent)
    assert answer.json() == f"{public}/"
