"""Complete subscription lifecycles: the real SDK against the simulator, the webhook and the ledger."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from api.payments import sync
from billing.ledger import accounts
from billing.ledger.plans import PlanName
from tests.fakes.stripe import lifecycle, pages
from tests.support.shop import DAY, Owner, Shop, open_shop

FREE, STANDARD, BUSINESS = PlanName.FREE, PlanName.STANDARD, PlanName.BUSINESS


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path) as opened:
        yield opened
        opened.settle()
        opened.check()


@pytest.fixture
def ada(shop: Shop) -> Owner:
    return shop.owner()


def test_a_subscription_from_upgrade_and_downgrade_through_a_failed_payment_to_its_end(
    shop: Shop, ada: Owner
) -> None:
    assert shop.plan_and_credits(ada) == ("free", 15)
    shop.buy(ada, STANDARD)
    assert shop.plan_and_credits(ada) == ("free", 15)  # nothing is believed before Stripe said so
    shop.settle()
    assert shop.plan_and_credits(ada) == ("standard", 515)
    assert shop.account(ada)["limits"] == {"concurrentCalls": 10, "callsPerMinute": 120}
    shop.check()

    shop.pass_days(14)
    shop.spend(ada, 20)
    shop.buy(ada, BUSINESS)
    shop.settle()
    # The price is that of the period's second half, and so are the credits.
    assert shop.plan_and_credits(ada) == ("business", 15 + 500 + 4_500 // 2 - 20)
    assert shop.state(ada).status == "active"
    shop.check()

    shop.portal(ada, "price", STANDARD)
    shop.settle()
    assert shop.plan_and_credits(ada)[0] == "business"
    assert shop.state(ada).next_plan is STANDARD
    shop.check()

    shop.pass_days(14.1)  # the free month and the first period end; the renewal is a draft for an hour
    shop.settle()
    assert shop.plan_and_credits(ada) == ("standard", 500)
    assert shop.state(ada).next_plan is None
    shop.check()

    shop.portal(ada, "declined-card")
    shop.pass_days(31.1)
    shop.settle()
    assert shop.plan_and_credits(ada) == ("standard", 0)
    assert shop.state(ada).status == "past_due"
    shop.check()

    shop.portal(ada, "good-card")
    shop.settle()
    assert shop.plan_and_credits(ada) == ("standard", 500)
    assert shop.state(ada).status == "active"
    shop.check()

    shop.portal(ada, "cancel")
    shop.settle()
    assert shop.plan_and_credits(ada) == ("standard", 500)
    assert shop.state(ada).status == "ending"
    shop.check()

    shop.pass_days(31)
    shop.settle()
    shop.pass_days(0.1)
    assert shop.plan_and_credits(ada) == ("free", 15)
    assert shop.state(ada).status == "free"


def test_a_renewal_charged_an_hour_late_leaves_no_gap_in_credits(shop: Shop, ada: Owner) -> None:
    shop.buy(ada, STANDARD)
    shop.settle()
    end = lifecycle.item_of(shop.subscription(ada))["current_period_end"]
    shop.pass_days((end - shop.world.now + 60) / DAY)
    shop.settle()
    assert shop.plan_and_credits(ada) == ("standard", 500)
    shop.pass_days(0.05)
    shop.settle()
    assert shop.plan_and_credits(ada) == ("standard", 500)  # of the new period: the old ones have ended


def test_switching_plans_back_and_forth_gains_no_credits(shop: Shop, ada: Owner) -> None:
    shop.buy(ada, STANDARD)
    shop.settle()
    subscription = shop.subscription(ada)
    by_key = {each["lookup_key"]: each["id"] for each in shop.world.all("price")}
    for _ in range(3):  # at once, as no portal of ours allows it
        for plan in (BUSINESS, STANDARD):
            shop.pass_days(0.5)
            lifecycle.change_price(shop.world, subscription, by_key[f"bgeraser_{plan.value}_monthly"])
            shop.settle()
    assert shop.plan_and_credits(ada) == ("standard", 15 + 500 + round(4_500 * 27.5 / 28))


def test_a_failed_payment_has_seven_days_of_grace_and_then_the_free_plan(shop: Shop, ada: Owner) -> None:
    shop.buy(ada, STANDARD)
    shop.settle()
    shop.portal(ada, "declined-card")
    shop.pass_days(28.1)
    shop.settle()
    assert shop.state(ada).status == "past_due"
    grace_ends_at = shop.state(ada).grace_ends_at
    assert grace_ends_at is not None
    left = (grace_ends_at - shop.api.clock()).total_seconds()
    # From the failure, which was an hour after the period's start: the invoice is a draft until then.
    period_starts_at = lifecycle.item_of(shop.subscription(ada))["current_period_start"]
    assert grace_ends_at.timestamp() == period_starts_at + lifecycle.DRAFT_SECONDS + 7 * DAY
    shop.pass_days((left - 1) / DAY)
    shop.settle()
    shop.reconcile()
    assert shop.plan_and_credits(ada)[0] == "standard"
    shop.pass_days(1 / DAY)
    shop.reconcile()
    assert shop.plan_and_credits(ada) == ("free", 15)
    assert shop.state(ada).status == "lapsed"
    shop.portal(ada, "good-card")
    shop.settle()
    # The period's free credits were part of what it brings.
    assert shop.plan_and_credits(ada) == ("standard", 500)


def test_the_subscription_ends_after_the_last_payment_attempt(shop: Shop, ada: Owner) -> None:
    shop.buy(ada, STANDARD)
    shop.settle()
    shop.portal(ada, "declined-card")
    shop.pass_days(60)
    shop.settle()
    assert shop.subscription(ada)["status"] == "canceled"
    assert shop.plan_and_credits(ada) == ("free", 15)
    shop.buy(ada, STANDARD)
    shop.settle()
    assert shop.plan_and_credits(ada)[0] == "standard"


def test_an_unpaid_upgrade_raises_neither_limits_nor_credits(shop: Shop, ada: Owner) -> None:
    shop.buy(ada, STANDARD)
    shop.settle()
    shop.portal(ada, "declined-card")
    shop.buy(ada, BUSINESS)
    shop.settle()
    assert shop.plan_and_credits(ada) == ("standard", 515)


@pytest.mark.parametrize(("refunded", "taken"), [(900, 500), (300, 166), (899, 499), (1, 0)], ids=str)
def test_a_refund_revokes_unspent_credits_in_proportion_rounded_down(
    shop: Shop, ada: Owner, refunded: int, taken: int
) -> None:
    shop.buy(ada, STANDARD)
    shop.settle()
    lifecycle.refund(shop.world, shop.charges(ada)[0], refunded)
    shop.settle()
    assert shop.plan_and_credits(ada) == ("standard", 515 - taken)


def test_partial_refunds_add_up_to_a_full_revocation(shop: Shop, ada: Owner) -> None:
    shop.buy(ada, STANDARD)
    shop.settle()
    for _ in range(3):
        shop.pass_days(0.1)
        lifecycle.refund(shop.world, shop.charges(ada)[0], 300)
        shop.settle()
    assert shop.plan_and_credits(ada) == ("standard", 15)


def test_spent_credits_are_not_revoked_and_the_shortfall_is_recorded(shop: Shop, ada: Owner) -> None:
    shop.buy(ada, STANDARD)
    shop.settle()
    shop.spend(ada, 115)  # the 15 free ones first, for they end first
    lifecycle.refund(shop.world, shop.charges(ada)[0])
    shop.settle()
    assert shop.plan_and_credits(ada) == ("standard", 0)
    (reversal,) = shop.books(ada)["reversals"]
    assert (reversal["credits"], reversal["taken"]) == (500, 400)


def test_a_failed_refund_restores_the_credits(shop: Shop, ada: Owner) -> None:
    shop.buy(ada, STANDARD)
    shop.settle()
    made = lifecycle.refund(shop.world, shop.charges(ada)[0])
    shop.settle()
    lifecycle.fail_refund(shop.world, made)
    shop.settle()
    assert shop.plan_and_credits(ada) == ("standard", 515)


@pytest.mark.parametrize("won", [True, False])
def test_a_dispute_revokes_the_credits_and_winning_it_restores_them(
    shop: Shop, ada: Owner, won: bool
) -> None:
    shop.buy(ada, STANDARD)
    shop.settle()
    dispute = lifecycle.open_dispute(shop.world, shop.charges(ada)[0])
    shop.settle()
    assert shop.plan_and_credits(ada) == ("standard", 15)
    shop.pass_days(3)
    lifecycle.close_dispute(shop.world, dispute, won=won)
    shop.settle()
    assert shop.plan_and_credits(ada) == ("standard", 515 if won else 15)


def test_a_dispute_lost_after_it_was_won_revokes_the_credits_again(shop: Shop, ada: Owner) -> None:
    """As often as the bank changes its mind, and never what a refund has taken meanwhile."""
    shop.buy(ada, STANDARD)
    shop.settle()
    charge = shop.charges(ada)[0]
    dispute = lifecycle.open_dispute(shop.world, charge)
    shop.settle()
    for won, left in [(True, 515), (False, 15), (True, 515), (False, 15)]:
        lifecycle.close_dispute(shop.world, dispute, won=won)
        shop.settle()
        assert shop.plan_and_credits(ada) == ("standard", left)
        shop.check()
    lifecycle.close_dispute(shop.world, dispute, won=True)
    shop.settle()
    shop.spend(ada, 115)  # the period's 15 free credits first
    lifecycle.refund(shop.world, charge, 450)
    shop.settle()
    before = shop.plan_and_credits(ada)[1]
    lifecycle.close_dispute(shop.world, dispute, won=False)
    shop.settle()
    assert shop.plan_and_credits(ada)[1] < before
    reversals = {each["kind"]: each for each in shop.books(ada)["reversals"]}
    assert sum(each["credits"] for each in reversals.values()) == 500
    shop.check()


def test_an_upgrade_after_a_won_dispute_grants_the_usual_credits(shop: Shop, ada: Owner) -> None:
    shop.buy(ada, STANDARD)
    shop.settle()
    dispute = lifecycle.open_dispute(shop.world, shop.charges(ada)[0])
    shop.settle()
    lifecycle.close_dispute(shop.world, dispute, won=True)
    shop.settle()
    shop.buy(ada, BUSINESS)
    shop.settle()
    assert shop.plan_and_credits(ada) == ("business", 5_015)


def test_paused_collection_keeps_the_paid_period_and_resumes(shop: Shop, ada: Owner) -> None:
    shop.buy(ada, STANDARD)
    shop.settle()
    subscription = shop.subscription(ada)
    lifecycle.pause_collection(shop.world, subscription)
    shop.settle()
    assert shop.plan_and_credits(ada) == ("standard", 515)
    shop.pass_days(30)
    shop.settle()
    assert shop.plan_and_credits(ada) == ("free", 15)
    lifecycle.pause_collection(shop.world, subscription, paused=False)
    shop.settle()
    shop.pass_days(31.2)
    shop.settle()
    assert shop.plan_and_credits(ada) == ("standard", 500)


def test_an_account_with_an_operator_plan_keeps_its_monthly_credits(shop: Shop) -> None:
    given = shop.owner("given@example.com", STANDARD)
    assert shop.plan_and_credits(given) == ("standard", 500)
    assert shop.state(given).status == "given"
    shop.pass_days(31)
    assert shop.plan_and_credits(given) == ("standard", 500)


def test_two_concurrent_checkouts_create_one_subscription(shop: Shop, ada: Owner) -> None:
    first = shop.checkout(ada, STANDARD)
    shop.buy(ada, BUSINESS)
    closed = first.rsplit("/", 1)[1]
    assert shop.world.get(closed)["status"] == "expired"
    shop.settle()
    assert shop.plan_and_credits(ada) == ("business", 5_015)
    assert "/portal/" in shop.checkout(ada, STANDARD)


def test_a_second_checkout_before_the_webhook_creates_no_second_subscription(shop: Shop, ada: Owner) -> None:
    shop.buy(ada, STANDARD)
    assert "/portal/" in shop.checkout(ada, STANDARD)
    assert shop.plan_and_credits(ada) == ("standard", 515)


def test_the_grace_period_ends_on_time_while_stripe_is_unavailable(shop: Shop, ada: Owner) -> None:
    shop.buy(ada, STANDARD)
    shop.settle()
    shop.portal(ada, "declined-card")
    shop.pass_days(28.1)
    shop.settle()
    shop.world.is_down = True
    shop.world.now += 8 * DAY
    shop.api.call(sync.end_lapsed_graces, shop.api.services)
    assert shop.plan_and_credits(ada) == ("free", 15)
    shop.world.is_down = False


def test_the_subscription_of_a_closed_account_is_cancelled(shop: Shop, ada: Owner) -> None:
    shop.buy(ada, STANDARD)
    shop.settle()
    with shop.api.services.database.transaction() as session:
        accounts.close(session, ada.account_id, now=shop.api.clock())
    shop.reconcile()
    assert shop.subscription(ada)["status"] == "canceled"
    shop.settle()


class TestTrial:
    @pytest.fixture
    def shop(self, tmp_path: Path) -> Iterator[Shop]:
        with open_shop(tmp_path, stripe_trial_days=7) as opened:
            yield opened
            opened.settle()
            opened.check()

    def test_the_trial_invoice_grants_credits_and_the_first_paid_month_grants_again(
        self, shop: Shop, ada: Owner
    ) -> None:
        shop.buy(ada, STANDARD)
        shop.settle()
        assert shop.plan_and_credits(ada) == ("standard", 515)
        assert shop.state(ada).status == "trialing"
        shop.spend(ada, 100)
        shop.pass_days(7.1)
        shop.settle()
        assert shop.plan_and_credits(ada) == ("standard", 515)
        assert shop.state(ada).status == "active"

    def test_a_trial_without_a_card_pauses_and_resumes(self, shop: Shop, ada: Owner) -> None:
        shop.buy(ada, STANDARD)
        shop.settle()
        shop.world.cardless_customers.add(shop.customer_id(ada))
        shop.pass_days(8)
        shop.settle()
        assert shop.subscription(ada)["status"] == "paused"
        assert shop.plan_and_credits(ada)[0] == "free"
        shop.world.cardless_customers.clear()
        lifecycle.resume(shop.world, shop.subscription(ada))
        shop.settle()
        plan, credits_ = shop.plan_and_credits(ada)
        assert plan == "standard"
        assert credits_ >= 500

    def test_an_account_gets_one_trial(self, shop: Shop, ada: Owner) -> None:
        shop.buy(ada, STANDARD)
        shop.settle()
        shop.portal(ada, "cancel")
        shop.pass_days(7.1)
        shop.settle()
        assert shop.plan_and_credits(ada)[0] == "free"
        shop.buy(ada, STANDARD)
        shop.settle()
        assert shop.subscription(ada)["trial_end"] is None
        assert shop.state(ada).renews_at is not None
        assert shop.api.clock() + timedelta(days=27) < shop.state(ada).renews_at  # type: ignore[operator]

    def test_a_card_gets_one_trial(self, shop: Shop, ada: Owner) -> None:
        bob = shop.owner("bob@example.com")
        for owner in (ada, bob):
            url = shop.checkout(owner, STANDARD)
            shop.world.cards[shop.customer_id(owner)] = "the same card"
            pages.complete(shop.world, shop.world.get(url.rsplit("/", 1)[1]))
            shop.settle()
        shop.settle()
        assert shop.state(ada).status == "trialing"
        assert shop.charges(ada) == []
        # Bob's month began at once: he paid, and has its credits once.
        assert shop.state(bob).status == "active"
        assert [each["amount"] for each in shop.charges(bob)] == [900]
        assert shop.plan_and_credits(bob) == ("standard", 515)
