"""The billing demo: its clock, refunds and disputes."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from billing.ledger.plans import PlanName
from tests.fakes.stripe import backstage
from tests.fakes.stripe.demo_server import CLOCK_FILE
from tests.support.shop import Owner, Shop, open_shop


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path) as opened:
        yield opened
        opened.settle()
        opened.check()


@pytest.fixture
def ada(shop: Shop) -> Owner:
    owner = shop.owner()
    shop.buy(owner, PlanName.STANDARD)
    shop.settle()
    return owner


def press(shop: Shop, name: str) -> None:
    """The page's first button of this name, as a browser sends it."""
    address = shop.world.address + backstage.PATH
    found = re.search(rf'name="{name}" value="([^"]+)"', httpx.get(address).text)
    assert found is not None
    assert httpx.post(address, data={name: found[1]}).status_code == 303
    shop.settle()


def test_time_passes_and_the_subscription_renews(shop: Shop, ada: Owner) -> None:
    address = shop.world.address + backstage.PATH
    assert httpx.post(address, data={"step": "month"}).status_code == 303
    shop.settle()
    assert len(shop.charges(ada)) == 2
    assert shop.world.ahead_seconds == 31 * 86_400
    assert shop.plan_and_credits(ada) == ("standard", 500)


def test_a_payment_is_refunded(shop: Shop, ada: Owner) -> None:
    press(shop, "refund")
    assert shop.plan_and_credits(ada) == ("standard", 15)
    assert 'name="refund"' not in httpx.get(shop.world.address + backstage.PATH).text


@pytest.mark.parametrize(("outcome", "credits_"), [("won", 515), ("lost", 15)])
def test_a_dispute_can_be_opened_and_decided(shop: Shop, ada: Owner, outcome: str, credits_: int) -> None:
    press(shop, "dispute")
    assert shop.plan_and_credits(ada) == ("standard", 15)
    press(shop, outcome)
    assert shop.plan_and_credits(ada) == ("standard", credits_)


def test_the_demo_server_follows_the_clock_of_the_simulator(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text(str(40 * 86_400), encoding="ascii")
    program = (
        "from tests.fakes.stripe import demo_server\n"
        "from billing import timestamps\n"
        "from datetime import UTC, datetime\n"
        "timestamps.utc_now = demo_server.shifted_now\n"
        "from api.services import utc_now\n"
        "print((utc_now() - datetime.now(UTC)).days)"
    )
    environment = os.environ | {CLOCK_FILE: str(clock)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
    )
    assert int(done.stdout) in (39, 40)
