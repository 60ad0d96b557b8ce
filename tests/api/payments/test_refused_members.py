"""A member without credits is told to ask the account's owner, who alone is told where they are sold."""

import json
from dataclasses import dataclass
from pathlib import Path

from api.auth import api_keys
from api.auth.key_settings import KeySettings
from api.calls import call_holds
from api.payments import packs
from billing.ledger import accounts, ledger
from billing.ledger.models import Account
from tests.api.http.mcp.conftest import HEADERS as MCP_HEADERS
from tests.api.http.mcp.conftest import message
from tests.fakes.stripe.shapes import Json
from tests.support.calling import small_picture
from tests.support.job_calls import PREFER
from tests.support.member_rows import make_member
from tests.support.shop import BASE, Owner, Shop, open_shop

ASK_OWNER = "No credits can be spent in this account. Ask its owner for more."


@dataclass(frozen=True)
class Caller:
    """Requests with one key, all of them refused with 402."""

    shop: Shop
    key: str

    def errors(self) -> dict[str, Json]:
        """The error of each way to run a tool that answers in the API's own form."""
        image, sides = {"image": picture()}, {"width": "5", "height": "5"}
        images, batch = {"images": picture()}, {"tool": "crop", **sides}
        return {
            "call": self._sent("/api/tools/crop", files=image, data=sides)["error"],
            "job": self._sent("/api/tools/crop", PREFER, files=image, data=sides)["error"],
            "batch": self._sent("/api/batches", files=images, data=batch)["error"],
            "agent": self._of_agent(),
        }

    def of_drop_in(self) -> Json:
        """The error of the drop-in for remove.bg."""
        (error,) = self._sent("/v1.0/removebg", files={"image_file": picture()})["errors"]
        return dict(error)

    def _of_agent(self) -> Json:
        arguments = {"image": {"url": "https://example.com/a.png"}, "width": 5}
        headers = MCP_HEADERS | {"X-Api-Key": self.key}
        answer = self.shop.api.request("POST", "/mcp", json=message("crop", arguments), headers=headers)
        result = json.loads(answer.text.partition("data: ")[2])["result"]
        assert result["isError"]
        return dict(result["structuredContent"]["error"])

    def _sent(self, path: str, headers: dict[str, str] | None = None, **content: Json) -> Json:
        sent = {"X-Api-Key": self.key, **(headers or {})}
        answer = self.shop.api.request("POST", path, headers=sent, **content)
        assert answer.status_code == 402, answer.text
        body: Json = answer.json()
        return body


def picture() -> tuple[str, bytes, str]:
    return "a.png", small_picture(), "image/png"


def key_of_member(shop: Shop, owner: Owner, settings: KeySettings = api_keys.NO_SETTINGS) -> tuple[str, str]:
    """The key that a new member made, and the id of its budget."""
    now = shop.api.clock()
    with shop.api.services.database.transaction() as session:
        member = make_member(session, owner.account_id, now)
        row, key = api_keys.create(
            session, owner.account_id, "theirs", now, settings=settings, person_id=member.id
        )
        return key, row.family_id


def set_verified(shop: Shop, owner: Owner, *, is_verified: bool) -> None:
    with shop.api.services.database.transaction() as session:
        account = session.get_one(Account, owner.account_id)
        account.verified_at = shop.api.clock() if is_verified else None


def test_only_the_owner_is_told_where_credits_are_sold(tmp_path: Path, database_url: str) -> None:
    with open_shop(tmp_path, packs_on_sale=True, database_url=database_url) as shop:
        ada = shop.owner()
        owners, members = Caller(shop, ada.key), Caller(shop, key_of_member(shop, ada)[0])
        shop.api.call(packs.pack_offers, shop.api.services)
        shop.spend(ada, 15)
        to_member = {
            "code": "INSUFFICIENT_CREDITS",
            "message": ASK_OWNER,
            "param": None,
            "retryable": False,
            "renewsAt": shop.account(ada)["credits"]["renewsAt"],
        }
        to_owner = to_member | {"message": "No credits are left.", "topUpUrl": f"{BASE}/plans#packs"}
        ways = ("call", "job", "batch", "agent")
        assert members.errors() == dict.fromkeys(ways, to_member)
        assert owners.errors() == dict.fromkeys(ways, to_owner)
        drop_in = {"title": "Insufficient credits", "code": "insufficient_credits"}
        assert members.of_drop_in() == drop_in | {"detail": ASK_OWNER}
        assert owners.of_drop_in() == drop_in | {"detail": "No credits are left."}
        assert shop.account(ada)["credits"]["available"] == 0
        shop.check()


def test_only_the_owner_is_told_to_confirm_the_address(tmp_path: Path, database_url: str) -> None:
    with open_shop(tmp_path, packs_on_sale=True, database_url=database_url) as shop:
        ada = shop.owner()
        owners, members = Caller(shop, ada.key), Caller(shop, key_of_member(shop, ada)[0])
        shop.api.call(packs.pack_offers, shop.api.services)
        set_verified(shop, ada, is_verified=False)
        for error in members.errors().values():
            assert error["message"] == ASK_OWNER
            assert "topUpUrl" not in error
        for error in owners.errors().values():
            assert error["message"].startswith("Confirm your e-mail address first")
            assert "topUpUrl" not in error
        set_verified(shop, ada, is_verified=True)
        shop.check()


def test_a_member_is_told_of_the_limit_of_the_own_key(tmp_path: Path) -> None:
    with open_shop(tmp_path, packs_on_sale=True) as shop:
        ada, now = shop.owner(), shop.api.clock()
        key, budget_id = key_of_member(shop, ada, KeySettings(monthly_limit=1))
        shop.api.call(packs.pack_offers, shop.api.services)
        with shop.api.services.database.transaction() as session:
            account = accounts.lock(session, ada.account_id)
            held = call_holds.hold(
                session,
                account,
                request_id="req_1",
                lease_owner="p",
                lease_seconds=60,
                now=now,
                budget_id=budget_id,
                is_test=False,
            )
            ledger.capture(session, held.id, lease_owner="p", now=now)
        for way, error in Caller(shop, key).errors().items():
            assert error["message"].startswith("This API key has reached its limit of 1 credit a month."), way
            assert "topUpUrl" not in error
        shop.check()
