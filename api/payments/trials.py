"""One trial per card, because e-mail addresses are easier to get than cards.

Only a keyed hash of Stripe's fingerprint of the card is kept, for a year.
"""

import hashlib
import hmac
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlmodel import Session, col, delete

from api.payments.models import TrialCard
from billing.subscriptions.types import CustomerFacts

_KEPT_FOR = timedelta(days=365)
#: The invoice of a trial is created with its subscription.
_FIRST_INVOICE_WITHIN = timedelta(minutes=10)


@dataclass(frozen=True)
class Trials:
    """`secrets`: the server's secret, then the previous one, if any."""

    secrets: tuple[str, ...]

    def repeated(self, session: Session, account_id: str, facts: CustomerFacts, now: datetime) -> set[str]:
        """Ids of subscriptions whose card had a trial in another account. Records the other trials."""
        found = set()
        session.execute(delete(TrialCard).where(col(TrialCard.kept_until) <= now))
        for each in facts.subscriptions:
            if each.trial_ends_at is None or not each.card_fingerprint:
                continue
            card_ids = [_hash(secret, each.card_fingerprint) for secret in self.secrets]
            cards = [session.get(TrialCard, card_id, with_for_update=True) for card_id in card_ids]
            stored = next((card for card in cards if card is not None), None)
            if stored is None:
                session.add(TrialCard(id=card_ids[0], account_id=account_id, kept_until=now + _KEPT_FOR))
                session.flush()
            elif stored.account_id != account_id:
                found.add(each.id)
        return found


def _hash(secret: str, fingerprint: str) -> str:
    message = f"bgeraser trial card\n{fingerprint}".encode()
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def without(facts: CustomerFacts, repeated: set[str]) -> CustomerFacts:
    """`facts` without the repeated trials, which give no plan, and without their first invoices."""
    began = {each.id: each.created_at for each in facts.subscriptions if each.id in repeated}
    return replace(
        facts,
        subscriptions=tuple(
            each for each in facts.subscriptions if each.id not in repeated or each.status != "trialing"
        ),
        invoices=tuple(
            each
            for each in facts.invoices
            if each.subscription_id not in began
            or each.amount_paid > 0
            or each.created_at > began[each.subscription_id] + _FIRST_INVOICE_WITHIN
        ),
    )
