"""Refusals of tool calls over HTTP, and the order of the checks."""

import httpx
import pytest

from api.auth import api_keys
from billing.ledger import accounts
from billing.ledger.plans import PlanName
from billing.timestamps import utc_now
from tests.support.calling import code_of, crop, small_picture
from tests.support.server import RunningServer

BIG = 60 * 1024 * 1024


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer bge_live_unknown"},
        {"Authorization": "Basic YTpi"},
        {"X-Api-Key": "bge_live_" + "a" * 38},
        {"Cookie": "session=anything"},
    ],
)
def test_no_key_and_an_unknown_key_are_401(server: RunningServer, headers: dict[str, str]) -> None:
    response = httpx.post(
        f"{server.address}/api/tools/crop", files={"image": small_picture()}, headers=headers
    )
    assert (response.status_code, code_of(response)) == (401, "INVALID_API_KEY")
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["x-credits-charged"] == "0"


def test_a_revoked_key_is_401_at_once(server: RunningServer) -> None:
    customer = server.new_customer()
    assert crop(server, customer).status_code == 200
    with server.database.transaction() as session:
        (key,) = api_keys.listed(session, customer.account_id)
        api_keys.revoke(session, customer.account_id, key.id, utc_now())
    response = crop(server, customer)
    assert (response.status_code, code_of(response)) == (401, "INVALID_API_KEY")


def test_no_credits_is_402_and_the_first_call_after_a_grant_succeeds(server: RunningServer) -> None:
    customer = server.new_customer(credits=1)
    assert crop(server, customer).status_code == 200
    response = crop(server, customer)
    assert (response.status_code, code_of(response)) == (402, "INSUFFICIENT_CREDITS")
    assert response.headers["x-credits-remaining"] == "0"
    with server.client(customer) as client:
        renews_at = client.get("/api/account").json()["data"]["credits"]["renewsAt"]
    error = response.json()["error"]
    assert error["renewsAt"] == renews_at
    assert "topUpUrl" not in error  # nothing is sold here
    assert server.balance(customer) == (0, 0)


def test_exceeding_the_rate_is_429_with_an_accurate_retry_after(server: RunningServer) -> None:
    customer = server.new_customer()
    with server.client(customer) as client:
        answers = [client.post("/api/images", files={"image": small_picture()}) for _ in range(25)]
    refusals = [answer for answer in answers if answer.status_code == 429]
    assert refusals
    assert all(code_of(answer) == "RATE_LIMITED" for answer in refusals)
    wait = int(refusals[-1].headers["retry-after"])
    assert 1 <= wait <= 3
    assert refusals[-1].headers["x-ratelimit-remaining"] == "0"


def test_authentication_precedes_route_and_content_length_checks(server: RunningServer) -> None:
    for path in ("/api/tools/no-such-tool", "/api/tools/crop", "/api/images"):
        response = httpx.post(f"{server.address}{path}", content=bytes(BIG))
        assert (response.status_code, code_of(response)) == (401, "INVALID_API_KEY")


def test_an_unknown_tool_is_404_before_the_content_length_check(server: RunningServer) -> None:
    with server.client(server.customer) as client:
        response = client.post("/api/tools/no-such-tool", content=bytes(BIG))
    assert (response.status_code, code_of(response)) == (404, "NOT_FOUND")
    assert "bg-removal" in response.json()["error"]["message"]


def test_content_length_is_checked_before_the_rate_and_the_rate_before_the_body(
    server: RunningServer,
) -> None:
    customer = server.new_customer()
    with server.client(customer) as client:

        def use_up_rate() -> None:
            while client.post("/api/images", files={"image": small_picture()}).status_code == 200:
                pass

        use_up_rate()
        response = client.post("/api/tools/crop", content=bytes(BIG))
        assert (response.status_code, code_of(response)) == (413, "FILE_TOO_LARGE")
        use_up_rate()  # a large body may take as long as one call of the rate needs to come back
        response = client.post("/api/tools/crop", content=b"no form", headers={"Content-Type": "text/plain"})
        assert (response.status_code, code_of(response)) == (429, "RATE_LIMITED")


def test_a_refused_body_does_not_count_towards_the_rate(server: RunningServer) -> None:
    customer = server.new_customer(PlanName.STANDARD)
    with server.client(customer) as client:
        answers = [client.post("/api/tools/crop", data={"width": "1"}) for _ in range(3)]
    assert {answer.headers["x-ratelimit-remaining"] for answer in answers} == {"120"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api"),
        ("GET", "/api/"),
        ("GET", "/api/nothing"),
        ("POST", "/api/tools/crop/more"),
        ("GET", "/v1.0/accounts"),
        ("POST", "/v1.0/improve"),
        ("GET", "/v1.0"),
        ("GET", "/api/job"),
    ],
)
def test_an_unknown_route_is_404_in_the_error_shape(server: RunningServer, method: str, path: str) -> None:
    response = httpx.request(method, f"{server.address}{path}")
    assert (response.status_code, code_of(response)) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/api/tools/crop", "POST"),
        ("PUT", "/api/tools/bg-removal", "POST"),
        ("POST", "/api/tools", "GET, HEAD"),
        ("GET", "/api/images", "POST"),
        ("POST", "/api/images/img_aaaaaaaaaaaa", "DELETE, GET, HEAD"),
        ("PATCH", "/api/account", "GET, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
        ("OPTIONS", "/api/tools", "GET, HEAD"),
        ("TRACE", "/readyz", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_405_and_lists_the_allowed_ones(
    server: RunningServer, method: str, path: str, allowed: str
) -> None:
    response = httpx.request(method, f"{server.address}{path}")
    assert (response.status_code, code_of(response)) == (405, "METHOD_NOT_ALLOWED")
    assert response.headers["allow"] == allowed


def test_a_closed_account_is_403(server: RunningServer) -> None:
    customer = server.new_customer()
    with server.database.transaction() as session:
        accounts.close(session, customer.account_id, now=utc_now())
    response = httpx.get(f"{server.address}/api/account", headers=customer.headers)
    assert (response.status_code, code_of(response)) == (403, "FORBIDDEN")
