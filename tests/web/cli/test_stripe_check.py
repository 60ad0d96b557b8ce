"""`bgeraser serve --check` with a key of Stripe's: its mode, its prices, and Stripe out of reach."""

from collections.abc import Iterator

import pytest
from typer.testing import CliRunner, Result

from billing.subscriptions import setup
from billing.subscriptions.gateway import StripeGateway
from tests.fakes.stripe.server import serving
from tests.fakes.stripe.world import SECRET_KEY, World
from tests.support.shop import AMOUNTS
from web.cli import main


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(1_780_000_000)
    with serving(made) as address:
        monkeypatch.setenv("BGERASER_STRIPE_API_BASE", address)
        monkeypatch.setenv("BGERASER_STRIPE_SECRET_KEY", SECRET_KEY)
        yield made


def sell(world: World) -> None:
    gateway = StripeGateway(SECRET_KEY, world.address)
    setup.set_up(gateway, amounts=AMOUNTS, currency="usd", webhook_url=None)


def checked() -> Result:
    return CliRunner().invoke(main.app, ["serve", "--check"])


def test_prices_that_are_there_are_no_reason_to_speak(world: World) -> None:
    sell(world)
    done = checked()
    assert (done.exit_code, done.output) == (0, "")


def test_missing_prices_are_named(world: World) -> None:
    done = checked()
    assert done.exit_code == 0
    assert "Stripe has no price for Standard, Business; run bgeraser admin stripe-setup" in done.output


@pytest.mark.parametrize("kind", ["price", "product"])
def test_prices_and_products_of_the_other_mode_are_refused(world: World, kind: str) -> None:
    sell(world)
    for each in world.all(kind):
        each["livemode"] = True
    if kind == "price":
        done = checked()
        assert done.exit_code == 1
        assert "is of Stripe's live mode, but the secret key is a test key" in done.output
        (sentence,) = done.output.splitlines()
        assert SECRET_KEY not in sentence
    options = ["--standard", "9.00", "--business", "49.00"]
    again = CliRunner().invoke(main.app, ["admin", "stripe-setup", *options])
    assert again.exit_code == 1
    assert "is of Stripe's live mode, but the secret key is a test key" in again.output


def test_a_wrong_key_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BGERASER_STRIPE_SECRET_KEY", "sk_test_wrong")
    done = checked()
    assert (done.exit_code, "Invalid API Key" in done.output) == (1, True)
    assert "sk_test_wrong" not in done.output


def test_stripe_out_of_reach_is_a_warning_only(world: World) -> None:
    world.is_down = True
    done = checked()
    assert (done.exit_code, "the prices were not checked" in done.output) == (0, True)


@pytest.mark.parametrize(("public", "is_allowed"), [("https://a.example", "true"), ("http://127.0.0.1", "")])
def test_a_test_key_is_accepted_where_it_is_meant_or_nobody_else_connects(
    world: World, monkeypatch: pytest.MonkeyPatch, public: str, is_allowed: str
) -> None:
    sell(world)
    monkeypatch.setenv("BGERASER_PUBLIC_URL", public)
    monkeypatch.setenv("BGERASER_SECRET_KEY", "x" * 48)
    if is_allowed:
        monkeypatch.setenv("BGERASER_STRIPE_ALLOW_TEST", is_allowed)
    assert checked().exit_code == 0
