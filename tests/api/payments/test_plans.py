"""Offered plans and their setup: cached prices, the Stripe account of the operator, the commands."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.errors import InvalidParameter, NotFound
from api.payments import plans
from billing.errors import StripeUnavailable, UnknownAccount
from billing.ledger.plans import PlanName
from billing.subscriptions import setup
from billing.subscriptions.gateway import StripeGateway
from billing.subscriptions.types import PriceFacts
from tests.fakes.stripe.server import serving
from tests.fakes.stripe.world import SECRET_KEY, World
from tests.support.apps import local_api
from tests.support.shop import AMOUNTS, BASE, Owner, Shop, open_shop


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path) as opened:
        yield opened


@pytest.fixture
def ada(shop: Shop) -> Owner:
    return shop.owner()


def offers(shop: Shop) -> dict[str, str | None]:
    found = shop.api.call(plans.plan_offers, shop.api.services)
    return {offer.name.value: offer.price_text for offer in found}


def set_up_again(shop: Shop, **amounts: int) -> setup.SetUpResult:
    wanted = AMOUNTS | {PlanName(name): amount for name, amount in amounts.items()}
    return setup.set_up(
        shop.stripe.gateway, amounts=wanted, currency="usd", webhook_url=f"{BASE}/stripe/webhook"
    )


def test_plans_are_offered_with_their_prices_and_limits(shop: Shop) -> None:
    assert offers(shop) == {
        "free": None,
        "standard": "$9.00 a month",
        "business": "$49.00 a month",
    }
    business = shop.api.call(plans.plan_offers, shop.api.services)[-1]
    assert (business.monthly_credits, business.concurrent_calls, business.calls_per_minute) == (
        5_000,
        50,
        600,
    )


def test_prices_are_read_once_an_hour(shop: Shop) -> None:
    offers(shop)
    set_up_again(shop, standard=1_100)
    calls_before = len(shop.world.calls)
    shop.world.now += 3_599
    assert offers(shop)["standard"] == "$9.00 a month"
    assert len(shop.world.calls) == calls_before
    shop.world.now += 1
    shop.api.call(shop.stripe.refresh, shop.api.clock())
    assert offers(shop)["standard"] == "$11.00 a month"


def test_the_last_prices_are_shown_while_stripe_is_unavailable(shop: Shop) -> None:
    offers(shop)
    shop.world.is_down = True
    shop.world.now += 7_200
    assert offers(shop)["standard"] == "$9.00 a month"


def test_a_checkout_while_stripe_is_unavailable_reports_it(shop: Shop, ada: Owner) -> None:
    offers(shop)
    shop.world.is_down = True
    with pytest.raises(StripeUnavailable):
        shop.checkout(ada, PlanName.STANDARD)


def test_plans_are_shown_but_not_for_sale_without_stripe_settings(tmp_path: Path) -> None:
    with local_api(tmp_path) as api:
        assert not plans.is_on(api.services)
        assert [each.price_text for each in api.call(plans.plan_offers, api.services)] == [None] * 3
        with pytest.raises(NotFound):
            api.call(plans.checkout_url, api.services, "acc_x", PlanName.STANDARD, BASE)
        with pytest.raises(NotFound):
            api.call(plans.portal_url, api.services, "acc_x", BASE)


def test_the_free_plan_cannot_be_bought(shop: Shop, ada: Owner) -> None:
    with pytest.raises(InvalidParameter):
        shop.checkout(ada, PlanName.FREE)


def test_the_portal_is_unavailable_before_the_first_checkout(shop: Shop, ada: Owner) -> None:
    with pytest.raises(NotFound):
        shop.portal(ada, "cancel")
    assert not shop.state(ada).has_portal


def test_an_unknown_account_has_no_subscription_state(shop: Shop) -> None:
    with pytest.raises(UnknownAccount):
        shop.state(Owner("acc_none", ""))


def test_opening_the_checkout_repeatedly_creates_one_customer(shop: Shop, ada: Owner) -> None:
    for _ in range(3):
        shop.checkout(ada, PlanName.STANDARD)
    assert len(list(shop.world.all("customer"))) == 1


def test_stripe_setup_is_idempotent(shop: Shop) -> None:
    before = set(shop.world.objects)
    done = set_up_again(shop)
    assert set(shop.world.objects) == before
    assert done.webhook_secret is None  # Stripe returns it once, when the endpoint is created


def test_a_new_price_takes_the_lookup_key_and_subscribers_keep_plan_and_price(shop: Shop, ada: Owner) -> None:
    shop.buy(ada, PlanName.STANDARD)
    shop.settle()
    set_up_again(shop, standard=1_100)
    prices = list(shop.world.all("price", lookup_key="bgeraser_standard_monthly"))
    assert [each["unit_amount"] for each in prices] == [1_100]
    shop.pass_days(32)
    shop.settle()
    assert shop.plan_and_credits(ada) == ("standard", 500)
    assert shop.charges(ada)[-1]["amount"] == 900
    shop.check()


def test_the_portal_downgrades_and_cancels_at_the_end_of_the_period_only(shop: Shop) -> None:
    (configuration,) = shop.world.all("billing_portal.configuration")
    features = configuration["features"]
    assert features["subscription_cancel"]["mode"] == "at_period_end"
    assert features["subscription_update"]["proration_behavior"] == "always_invoice"
    conditions = features["subscription_update"]["schedule_at_period_end"]["conditions"]
    assert [each["type"] for each in conditions] == ["decreasing_item_amount"]


def test_an_idempotency_key_is_valid_for_one_request(shop: Shop) -> None:
    create = shop.stripe.gateway.create_customer
    assert create("acc_1", "a@example.com") == create("acc_1", "a@example.com")
    assert create("acc_1", "b@example.com") != create("acc_1", "a@example.com")


@pytest.mark.parametrize(
    ("units", "currency", "text"),
    [
        (900, "usd", "$9.00 a month"),
        (123_456, "eur", "€1,234.56 a month"),
        (900, "jpy", "900 JPY a month"),
        (950, "chf", "9.50 CHF a month"),
        (2_500, "kwd", "2.500 KWD a month"),
        (90_000, "isk", "900 ISK a month"),
    ],
)
def test_a_price_is_formatted_in_its_currency(units: int, currency: str, text: str) -> None:
    assert plans.price_text(PriceFacts("p", PlanName.STANDARD, units, currency, "x")) == text


class TestCommands:
    @pytest.fixture
    def environment(self, tmp_path: Path) -> Iterator[dict[str, str]]:
        world = World(1_780_000_000)
        with serving(world) as address:
            yield {
                "PATH": os.environ["PATH"],
                "BGERASER_DATA_DIR": str(tmp_path),
                "BGERASER_STRIPE_API_BASE": address,
                "BGERASER_STRIPE_SECRET_KEY": SECRET_KEY,
                "BGERASER_PUBLIC_URL": "http://127.0.0.1:8000",
            }

    def run(self, environment: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "web.cli", "admin", *arguments],
            env=environment,
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            timeout=60,
        )

    def test_stripe_setup_creates_once_and_prints_the_secret_to_stdout(
        self, environment: dict[str, str]
    ) -> None:
        arguments = ("stripe-setup", "--standard", "9.00", "--business", "49.00", "--currency", "usd")
        first = self.run(environment, *arguments)
        assert first.returncode == 0, first.stderr
        assert first.stdout == "BGERASER_STRIPE_WEBHOOK_SECRET=whsec_simulation\n"
        assert first.stderr.count("created") == 5
        again = self.run(environment, *arguments)
        assert (again.returncode, again.stdout) == (0, "")
        assert "created" not in again.stderr

    @pytest.mark.parametrize(
        ("currency", "standard", "business", "pack", "units"),
        [
            ("jpy", "900", "4900", "500", [500, 900, 4_900]),
            ("KWD", "2.500", "15", "5.000", [2_500, 5_000, 15_000]),
            ("ugx", "35000", "190000", "20000", [2_000_000, 3_500_000, 19_000_000]),
        ],
    )
    def test_stripe_setup_reads_prices_in_their_currency(
        self,
        environment: dict[str, str],
        currency: str,
        standard: str,
        business: str,
        pack: str,
        units: list[int],
    ) -> None:
        prices = ("--standard", standard, "--business", business, "--pack", f"100:{pack}")
        done = self.run(environment, "stripe-setup", *prices, "--currency", currency)
        assert done.returncode == 0, done.stderr
        gateway = StripeGateway(SECRET_KEY, environment["BGERASER_STRIPE_API_BASE"])
        plan_prices, pack_prices = gateway.prices().values(), gateway.pack_prices().values()
        found = [(each.unit_amount, each.currency) for each in plan_prices]
        found += [(each.unit_amount, each.currency) for each in pack_prices]
        assert sorted(found) == [(each, currency.lower()) for each in units]

    @pytest.mark.parametrize(
        ("currency", "pack"), [("jpy", "100:500.50"), ("kwd", "100:5.125"), ("isk", "100:900.50")]
    )
    def test_stripe_setup_refuses_what_stripe_cannot_charge(
        self, environment: dict[str, str], currency: str, pack: str
    ) -> None:
        prices = ("--standard", "900", "--business", "4900", "--pack", pack)
        refused = self.run(environment, "stripe-setup", *prices, "--currency", currency)
        assert (refused.returncode, "cannot be charged by Stripe" in refused.stderr) == (1, True)

    def test_stripe_setup_sells_packs_and_leaves_them_without_the_option(
        self, environment: dict[str, str]
    ) -> None:
        arguments = ("stripe-setup", "--standard", "9.00", "--business", "49.00")
        options = ("--pack", "100:5.00", "--pack", "1000:39.00")
        first = self.run(environment, *arguments, *options)
        assert first.returncode == 0, first.stderr
        assert "price of 100 credits: price_" in first.stderr
        assert "price of 1,000 credits: price_" in first.stderr
        for repeated in (options, ()):
            again = self.run(environment, *arguments, *repeated)
            assert (again.returncode, again.stdout) == (0, "")
            assert "created" not in again.stderr

    @pytest.mark.parametrize(
        ("texts", "why"),
        [
            (["100"], "not a pack"),
            (["100:"], "not a price"),
            (["0:5.00"], "not a pack"),
            (["1e3:5.00"], "not a pack"),
            (["1000001:5.00"], "not a pack"),
            (["-5:5.00"], "not a pack"),
            (["100:5,00"], "not a price"),
            (["100:5.00", "100:6.00"], "two packs of 100 credits"),
        ],
        ids=str,
    )
    def test_stripe_setup_refuses_nonsense_for_packs(
        self, environment: dict[str, str], texts: list[str], why: str
    ) -> None:
        options = [part for text in texts for part in ("--pack", text)]
        refused = self.run(environment, "stripe-setup", "--standard", "9.00", "--business", "49.00", *options)
        assert (refused.returncode, why in refused.stderr) == (1, True), refused.stderr

    def test_stripe_setup_refuses_nonsense_and_a_wrong_key(self, environment: dict[str, str]) -> None:
        wrong = self.run(environment, "stripe-setup", "--standard", "9,00", "--business", "49.00")
        assert (wrong.returncode, "not a price" in wrong.stderr) == (1, True)
        key = {**environment, "BGERASER_STRIPE_SECRET_KEY": "sk_test_wrong"}
        refused = self.run(key, "stripe-setup", "--standard", "9.00", "--business", "49.00")
        assert (refused.returncode, "Invalid API Key" in refused.stderr) == (1, True)
        assert "sk_test_wrong" not in refused.stderr

    def test_reconcile_reports_and_needs_a_key(self, environment: dict[str, str]) -> None:
        done = self.run(environment, "reconcile")
        assert (done.returncode, done.stdout) == (0, "0 customers, 0 differed and were repaired.\n")
        without = {name: value for name, value in environment.items() if "STRIPE" not in name}
        refused = self.run(without, "reconcile")
        assert (refused.returncode, "BGERASER_STRIPE_SECRET_KEY" in refused.stderr) == (1, True)
