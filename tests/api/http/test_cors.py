"""Which answers pages of other origins may read."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from sqlmodel import select

from api.calls import admission
from api.settings import Settings, WrongSettings
from billing.ledger.models import Account
from tests.support.apps import LocalApi, local_api
from tests.support.calling import code_of, small_picture

SHOP = "https://shop.example.com"
OTHERS = [
    "https://evil.example.com",
    "null",
    "https://shop.example.com.evil.example.com",
    "http://shop.example.com",
]


@pytest.fixture(scope="module")
def apis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, LocalApi]]:
    """APIs by the setting."""
    values = {"": "off", "*": "any", f"{SHOP}, http://localhost:5173": "listed"}
    with ExitStack() as opened:
        yield {
            name: opened.enter_context(local_api(tmp_path_factory.mktemp(name), cors_origins=value))
            for value, name in values.items()
        }


def preflight(
    api: LocalApi, origin: str, path: str = "/api/tools/crop", method: str = "POST", headers: str = ""
) -> httpx.Response:
    sent = {"Origin": origin, "Access-Control-Request-Method": method}
    return api.request(
        "OPTIONS", path, headers=sent | ({"Access-Control-Request-Headers": headers} if headers else {})
    )


def cors_headers(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("access-control")}


@pytest.mark.parametrize(("name", "allowed"), [("any", "*"), ("listed", SHOP)])
@pytest.mark.parametrize("path", ["/api/tools/crop", "/api/images", "/api/account", "/v1.0/removebg", "/mcp"])
def test_a_preflight_is_answered_before_the_key(
    apis: dict[str, LocalApi], name: str, allowed: str, path: str
) -> None:
    answer = preflight(apis[name], SHOP, path, headers="authorization,content-type,idempotency-key")
    assert (answer.status_code, answer.content) == (204, b"")
    assert cors_headers(answer) == {
        "access-control-allow-origin": allowed,
        "access-control-allow-methods": "GET, HEAD, POST, DELETE",
        "access-control-allow-headers": "authorization,content-type,idempotency-key",
        "access-control-max-age": "7200",
    }
    assert "Origin" in answer.headers["vary"]
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("origin", OTHERS)
def test_a_page_of_another_origin_gets_no_permission(apis: dict[str, LocalApi], origin: str) -> None:
    refused = preflight(apis["listed"], origin)
    assert (refused.status_code, code_of(refused)) == (405, "METHOD_NOT_ALLOWED")
    answer = apis["listed"].request("GET", "/api/account", headers={"Origin": origin})
    assert cors_headers(refused) == cors_headers(answer) == {}
    assert "Origin" in answer.headers["vary"]  # so that a cache does not give one page another one's answer


def test_it_is_off_by_default(apis: dict[str, LocalApi]) -> None:
    assert Settings(_env_file=None).cors_allowed_origins == frozenset()
    refused = preflight(apis["off"], SHOP)
    answer = apis["off"].request("GET", "/api/tools", headers={"Origin": SHOP})
    assert refused.status_code == 405
    assert cors_headers(refused) == cors_headers(answer) == {}
    assert "vary" not in answer.headers


@pytest.mark.parametrize("name", ["any", "listed"])
def test_answers_and_every_refusal_can_be_read(apis: dict[str, LocalApi], name: str) -> None:
    api = apis[name]
    key = {"X-Api-Key": api.new_key(f"{name}@example.com"), "Origin": SHOP}
    huge = {"Content-Length": str(99 << 20), "Content-Type": "multipart/form-data; boundary=a"}
    answers = {
        200: api.request("GET", "/api/account", headers=key),
        400: api.request("GET", "/api/account?" + "a=1&" * 99, headers=key),
        401: api.request("POST", "/api/tools/crop", headers={"Origin": SHOP}),
        404: api.request("GET", "/api/nothing", headers=key),
        405: api.request("PUT", "/api/account", headers=key),
        413: api.request("POST", "/api/tools/crop", content=b"", headers=key | huge),
        415: api.request("POST", "/api/tools/crop", files={"image": b"no picture"}, headers=key),
    }
    with api.services.database.transaction() as session:
        account = session.exec(select(Account).where(Account.email == f"{name}@example.com")).one()
        while admission.take_rate(session, account.id, api.clock()).remaining:
            pass
    limited = api.request("POST", "/api/images", files={"image": b"a"}, headers=key)
    answers[429] = limited
    for status, answer in answers.items():
        assert answer.status_code == status, answer.text
        assert answer.headers["access-control-allow-origin"] == ("*" if name == "any" else SHOP)
        assert "access-control-allow-credentials" not in answer.headers
        exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
        assert "x-request-id" in exposed
    exposed = answers[429].headers["access-control-expose-headers"].lower().split(", ")
    assert {"retry-after", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"} <= set(exposed)
    assert {"x-credits-charged", "x-credits-remaining", "ratelimit", "ratelimit-policy"} <= set(exposed)
    assert not {"x-frame-options", "content-security-policy"} & set(exposed)


def test_a_defect_can_be_read_too(tmp_path: Path) -> None:
    async def broken() -> None:
        raise KeyError("defect")

    with local_api(tmp_path, cors_origins=SHOP) as api:
        api.app.add_api_route("/api/broken", broken)
        answer = api.request("GET", "/api/broken", headers={"Origin": SHOP})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (500, SHOP)


@pytest.mark.parametrize("name", ["off", "any", "listed"])
def test_any_page_may_read_a_signed_image(apis: dict[str, LocalApi], name: str) -> None:
    api = apis[name]
    key = {"X-Api-Key": api.new_key(f"images-{name}@example.com")}
    stored = api.request("POST", "/api/images", files={"image": small_picture()}, headers=key).json()["data"]
    path = stored["imageUrl"].removeprefix("http://test")
    for url, status in ((path, 200), (path + "0", 403), ("/api/images/img_none", 403)):
        for method in ("GET", "HEAD"):
            answer = api.request(method, url, headers={"Origin": "https://anywhere.example.com"})
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == "*"
            assert "Origin" not in answer.headers.get("vary", "")
    deleted = api.request(
        "DELETE", path.partition("?")[0], headers=key | {"Origin": "https://evil.example.com"}
    )
    assert deleted.headers.get("access-control-allow-origin") == ("*" if name == "any" else None)


def test_a_preflight_of_a_signed_image_allows_reading_only(apis: dict[str, LocalApi]) -> None:
    answer = preflight(
        apis["listed"], "https://anywhere.example.com", "/api/images/img_a", "GET", "if-none-match"
    )
    assert cors_headers(answer)["access-control-allow-origin"] == "*"
    assert cors_headers(answer)["access-control-allow-methods"] == "GET, HEAD"
    refused = preflight(apis["listed"], "https://anywhere.example.com", "/api/images/img_a", "DELETE")
    assert cors_headers(refused) == {}


@pytest.mark.parametrize("path", ["/healthz", "/", "/app/dashboard", "/editor/session", "/apis", "/api"])
def test_pages_of_this_server_are_not_included(apis: dict[str, LocalApi], path: str) -> None:
    assert cors_headers(apis["any"].request("GET", path, headers={"Origin": SHOP})) == {}
    assert cors_headers(preflight(apis["any"], SHOP, path)) == {}


@pytest.mark.parametrize("asked", ["a" * 3_000, "a b", "a;b", "ä", "a,,b"])
def test_headers_that_are_no_names_are_not_repeated(apis: dict[str, LocalApi], asked: str) -> None:
    answer = apis["any"].request(
        "OPTIONS",
        "/api/tools/crop",
        headers=[
            (b"origin", SHOP.encode()),
            (b"access-control-request-method", b"POST"),
            (b"access-control-request-headers", asked.encode()),
        ],
    )
    assert answer.status_code == 204
    assert "access-control-allow-headers" not in answer.headers


def test_an_options_request_of_no_browser_is_answered_as_before(apis: dict[str, LocalApi]) -> None:
    for headers in ({}, {"Origin": SHOP}, {"Access-Control-Request-Method": "POST"}):
        assert apis["any"].request("OPTIONS", "/api/tools/crop", headers=headers).status_code == 405


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("", set()),
        ("*", {"*"}),
        (f" {SHOP} ,http://localhost:5173", {SHOP, "http://localhost:5173"}),
        ("HTTPS://Shop.example.com:443, http://a.example.com:80", {SHOP, "http://a.example.com"}),
        ("https://a.example.com:80", {"https://a.example.com:80"}),
    ],
)
def test_origins_are_read_as_browsers_send_them(text: str, origins: set[str]) -> None:
    assert Settings(_env_file=None, cors_origins=text).cors_allowed_origins == origins


@pytest.mark.parametrize(
    "text",
    [
        "shop.example.com", f"{SHOP}/", f"{SHOP}/path", f"{SHOP}?a", f"*, {SHOP}", "null", "https://*.example.com",
        "ftp://a.example.com", "https://user@a.example.com", "https://", f"{SHOP} http://localhost", "https://ä.example.com",
        "https://a.example.com:port",
    ],
)  # fmt: skip
def test_what_is_no_origin_is_refused_at_the_start(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BGERASER_CORS_ORIGINS", text)
    with pytest.raises(WrongSettings, match="BGERASER_CORS_ORIGINS must be"):
        Settings.load()
