"""The editor tells a member without credits to ask the account's owner, and not where credits are sold."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.auth import members
from api.memberships.models import Role
from api.payments import packs
from billing.identifiers import new_id
from billing.ledger import accounts
from billing.timestamps import utc_now
from tests.support.browsing import Browser as PlainBrowser
from tests.support.browsing import Site
from tests.support.editor_client import Browser
from tests.support.member_rows import make_member
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.server import Customer, RunningServer
from tests.support.shop import BASE, Owner, Shop, open_shop
from web.editor import routes as editor

JSON = {"Accept": "application/json", "Sec-Fetch-Site": "same-origin"}
ASK_OWNER = "No credits can be spent in this account. Ask its owner for more."


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Iterator[Shop]:
    with open_shop(tmp_path, packs_on_sale=True, database_url=database_url) as opened:
        opened.api.call(packs.pack_offers, opened.api.services)
        yield opened
        opened.check()


@pytest.fixture
def site(shop: Shop) -> Iterator[Site]:
    opened = Site(shop.api)
    editor.add_to(shop.api.app, shop.api.services)
    yield opened
    opened.auth.close()


def csrf_token(browser: PlainBrowser) -> str:
    session: dict[str, Any] = browser._send("GET", "/editor/session", headers=JSON).json()
    return str(session["data"]["csrfToken"])


def start_batch(browser: PlainBrowser) -> httpx.Response:
    steps = [{"tool": "crop", "params": {"width": "10", "height": "10"}}]
    pictures = [{"name": "a.png", "imageId": new_id("img")}]
    body = {"steps": json.dumps(steps), "pictures": json.dumps(pictures)}
    headers = {**JSON, "X-CSRF-Token": csrf_token(browser)}
    return browser._send("POST", "/editor/batches", headers=headers, json=body)


def test_a_member_who_starts_a_batch_is_not_told_where_credits_are_sold(shop: Shop, site: Site) -> None:
    owner, member = (site.browser().join(f"{name}@example.com") for name in ("owner", "member"))
    with shop.api.services.database.transaction() as session:
        own, person = (accounts.find_by_email(session, f"{n}@example.com").id for n in ("owner", "member"))
        members.add(session, own, person, Role.MEMBER, shop.api.clock())
    chosen = member.post_raw("/accounts/choose", {"csrf_token": csrf_token(member), "account_id": own})
    assert chosen.status_code == 303
    shop.spend(Owner(own, ""), 15)
    answers = {name: start_batch(browser) for name, browser in (("owner", owner), ("member", member))}
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(answers, 402)
    told = {name: answer.json()["error"] for name, answer in answers.items()}
    assert told["owner"]["topUpUrl"] == f"{BASE}/plans#packs"
    assert told["owner"]["message"] == "No credits are left."
    assert "topUpUrl" not in told["member"]
    assert told["member"]["message"] == ASK_OWNER
    # In the own account, which has credits, the person is refused for the picture alone.
    back = member.post_raw("/accounts/choose", {"csrf_token": csrf_token(member), "account_id": person})
    assert back.status_code == 303
    assert start_batch(member).status_code == 404


@pytest.mark.parametrize("is_verified", [True, False])
def test_a_run_of_a_member_fails_and_says_to_ask_the_owner(
    server: RunningServer, *, is_verified: bool
) -> None:
    owner = server.new_customer(credits=0)
    with server.database.transaction() as session:
        person = make_member(session, owner.account_id, utc_now())
        member = Customer(person.id, person.email, "")
        if not is_verified:
            accounts.lock(session, owner.account_id).verified_at = None
    with Browser(server, member) as browser, Browser(server, owner) as owners:
        token = browser.client.headers["X-CSRF-Token"]
        chosen = browser.client.post(
            "/accounts/choose", data={"csrf_token": token, "account_id": owner.account_id}
        )
        assert chosen.status_code == 303
        session_data = browser.client.get("/editor/session").json()["data"]
        browser.client.headers["X-CSRF-Token"] = session_data["csrfToken"]
        project = browser.open(jpeg_bytes(photo("coffee")))

        def error_of(of: Browser) -> dict[str, Any]:
            ended = of.watch(project, of.start(project, "bg-removal", {"model": "fast"}).json()["data"])
            assert (ended["status"], ended["error"]["code"]) == ("failed", "INSUFFICIENT_CREDITS")
            return dict(ended["error"])

        refused = error_of(browser)
        assert (refused["status"], refused["message"]) == (402, ASK_OWNER)
        assert "topUpUrl" not in refused
        own_words = "No credits are left." if is_verified else "Confirm your e-mail address first"
        assert error_of(owners)["message"].startswith(own_words)
    assert server.balance(owner) == (0, 0)
