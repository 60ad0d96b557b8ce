"""The site pages over HTTP: content, security headers, and errors as pages."""

import re

import httpx
import pytest
from PIL import Image

from api.errors import ERROR_TABLE
from ml.catalogue import TOOLS
from tests.support.server import RunningServer
from web.rendering.static_files import FOLDER
from web.site import reference

HTML = {"Accept": "text/html,application/xhtml+xml"}


def get(server: RunningServer, path: str, **headers: str) -> httpx.Response:
    return httpx.get(f"{server.address}{path}", headers=HTML | headers)


@pytest.mark.parametrize("path", ["/", "/docs", "/docs/agents", "/openapi"])
def test_a_page_loads_only_local_resources_and_lists_its_scripts_in_the_policy(
    server: RunningServer, path: str
) -> None:
    first, second = get(server, path), get(server, path)
    assert first.status_code == 200
    policy = first.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    (nonce,) = re.findall(r"script-src 'self' 'nonce-([\w-]{20,})'", policy)
    assert nonce not in second.headers["content-security-policy"]
    assert first.headers["cache-control"] == "no-store"
    foreign = re.findall(r'(?:src|href)="(https?://[^"]+)"', first.text)
    assert foreign == ["https://github.com/bgeraser/bgeraser"]  # a link to follow, nothing to load
    assert httpx.head(f"{server.address}{path}").status_code == 200


def test_the_front_page_lists_every_tool_and_the_url_of_this_server(server: RunningServer) -> None:
    text = get(server, "/").text
    for tool in TOOLS.values():
        assert f"POST /api/tools/{tool.name}" in text
    assert f"curl -X POST {server.address}/api/tools/bg-removal" in text


def test_the_front_pages_pictures_of_extend_show_what_it_adds() -> None:
    ratios = []
    for name in ("before", "after"):
        with Image.open(FOLDER / "showcase" / f"generative-expand-{name}.webp") as picture:
            ratios.append(picture.width / picture.height)
    assert ratios[1] > ratios[0] * 1.1


def test_every_resource_of_a_page_exists_and_is_cacheable(server: RunningServer) -> None:
    for path in ("/", "/docs"):
        for place in re.findall(r'(?:src|href)="(/static/[^"]+)"', get(server, path).text):
            answer = httpx.get(f"{server.address}{place}")
            assert answer.status_code == 200
            assert "immutable" in answer.headers["cache-control"]
    assert get(server, "/openapi/swagger-ui-bundle.js").status_code == 200
    assert get(server, "/favicon.ico").status_code == 308


def test_the_reference_explains_every_code_and_parameter(server: RunningServer) -> None:
    assert set(reference.MEANINGS) == {code for _, code in ERROR_TABLE.values()}
    text = get(server, "/docs").text
    for tool in TOOLS.values():
        for name in tool.params.model_fields:
            assert f"<code>{name}</code>" in text
    assert "<code>GET /api/usage</code>" in text


def test_an_unknown_page_is_an_html_404_and_an_unknown_route_a_json_404(server: RunningServer) -> None:
    page = get(server, "/nothing/here")
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert page.headers["x-request-id"] in page.text
    for path in ("/api/nothing", "/v1.0/nothing", "/static/nothing.css"):
        assert get(server, path).headers["content-type"] == "application/json"
    assert httpx.get(f"{server.address}/nothing").json()["error"]["code"] == "NOT_FOUND"


@pytest.mark.parametrize("path", ["/static/../settings.py", "/static/%2e%2e/app.py", "/static//etc/passwd"])
def test_only_files_of_the_static_folder_are_served(server: RunningServer, path: str) -> None:
    assert get(server, path).status_code == 404


def test_urls_are_escaped_in_pages(server: RunningServer) -> None:
    text = get(server, "/<script>alert(1)</script>").text
    assert "<script>alert" not in text
