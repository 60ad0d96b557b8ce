"""One trial per card, including while the secret is rotated."""

from datetime import timedelta

from api.db.database import Database
from api.payments.trials import Trials
from billing.ledger.plans import PlanName
from billing.subscriptions.types import CustomerFacts, SubscriptionFacts
from tests.support.builders import NOON, make_account


def trial(subscription_id: str, card: str) -> CustomerFacts:
    subscription = SubscriptionFacts(
        id=subscription_id,
        item_id="si_1",
        anchor_at=NOON,
        status="trialing",
        plan=PlanName.BUSINESS,
        price_id="price_1",
        period_starts_at=NOON,
        period_ends_at=NOON + timedelta(days=14),
        created_at=NOON,
        trial_ends_at=NOON + timedelta(days=14),
        card_fingerprint=card,
    )
    return CustomerFacts("cus_1", subscriptions=(subscription,), invoices=())


def test_a_card_is_recognised_after_a_secret_rotation(database: Database) -> None:
    with database.transaction() as session:
        first, second = make_account(session).id, make_account(session).id
        assert Trials(("old secret",)).repeated(session, first, trial("sub_1", "card"), NOON) == set()
        rotated = Trials(("new secret", "old secret"))
        assert rotated.repeated(session, first, trial("sub_1", "card"), NOON) == set()
        assert rotated.repeated(session, second, trial("sub_2", "card"), NOON) == {"sub_2"}
        assert rotated.repeated(session, second, trial("sub_3", "another card"), NOON) == set()
