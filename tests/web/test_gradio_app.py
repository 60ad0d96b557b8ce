"""What of Gradio can be reached, and by whom."""

import re

import httpx
import pytest

from api.people import sessions
from billing.timestamps import utc_now
from tests.server import Customer, RunningServer

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
)


@pytest.fixture
def customer(server: RunningServer) -> Customer:
    return server.new_customer()


def cookies_of(server: RunningServer, customer: Customer) -> dict[str, str]:
    with server.database.transaction() as session:
        made = sessions.create(session, customer.account_id, now=utc_now())
    return {"bgeraser_session": made.token}


@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_is_not_ours_to_offer_is_not_there(server: RunningServer, method: str, path: str) -> None:
    answer = httpx.request(method, f"{server.address}/app/{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")


def test_an_upload_through_gradio_is_refused_and_leaves_nothing(server: RunningServer) -> None:
    answer = httpx.post(f"{server.address}/app/gradio_api/upload", files={"files": b"x" * 3_000_000})
    assert answer.status_code == 404


def test_its_pages_load_nothing_from_elsewhere(server: RunningServer) -> None:
    answer = httpx.get(f"{server.address}/app/")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "https:" not in policy
    assert "frame-ancestors 'none'" in policy
    for place in re.findall(r'<(?:script|link)[^>]+(?:src|href)="([^"]+)"', answer.text):
        assert not place.startswith(("http:", "https:", "//")) or place.startswith(server.address)


def test_the_editor_s_address_may_lack_its_slash(server: RunningServer) -> None:
    answer = httpx.get(f"{server.address}/app")
    assert (answer.status_code, answer.headers["location"]) == (308, "/app/")


def _event(server: RunningServer, customer: Customer | None, name: str, **headers: str) -> httpx.Response:
    cookies = {} if customer is None else cookies_of(server, customer)
    with httpx.Client(cookies=cookies, headers=headers, timeout=30) as client:
        config = client.get(f"{server.address}/app/config").json()
        numbers = [one["id"] for one in config["dependencies"] if one["api_name"] == name]
        body = {"data": [""], "fn_index": numbers[0] if numbers else 0, "session_hash": "a1b2c3d4e5"}
        return client.post(f"{server.address}/app/gradio_api/queue/join", json=body)


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://elsewhere.example"},
        {"origin": "null"},
    ],
)
def test_an_event_from_another_site_is_refused(
    server: RunningServer, customer: Customer, headers: dict[str, str]
) -> None:
    answer = _event(server, customer, "generate", **headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "FORBIDDEN")


def test_the_dashboard_needs_an_account(server: RunningServer) -> None:
    answer = httpx.get(f"{server.address}/app/dashboard")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/app/dashboard")
