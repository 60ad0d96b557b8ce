"""A row in every table of payments, for tests that copy or migrate whole databases."""

from datetime import datetime

from sqlmodel import Session

from api.db.models import PeriodicWork
from api.payments.models import TrialCard
from billing.ledger.models import PaidInvoice
from billing.subscriptions.models import PackPurchase, Reversal, StripeCustomer, StripeEvent, Subscription


def pay(session: Session, account_id: str, now: datetime) -> None:
    """What an account leaves that had a subscription and a pack, without credits of them."""
    session.add(StripeCustomer(id=f"cus_{account_id}", account_id=account_id, created_at=now))
    session.add(
        Subscription(
            id=f"sub_{account_id}",
            account_id=account_id,
            item_id="si_1",
            plan="standard",
            status="canceled",
            created_at=now,
            period_starts_at=now,
            period_ends_at=now,
            ends_at=now,
        )
    )
    session.add(
        PaidInvoice(
            id=f"in_{account_id}",
            account_id=account_id,
            subscription_id=f"sub_{account_id}",
            plan="standard",
            amount_paid=900,
            currency="usd",
            credits=0,
            entitled=0,
            period_ends_at=now,
            created_at=now,
        )
    )
    session.flush()
    session.add(
        Reversal(
            id=f"re_{account_id}",
            account_id=account_id,
            invoice_id=f"in_{account_id}",
            kind="refund",
            amount=900,
            credits=0,
            taken=0,
            created_at=now,
        )
    )
    session.add(
        PackPurchase(
            id=f"cs_{account_id}",
            account_id=account_id,
            credits=100,
            amount_paid=500,
            currency="usd",
            created_at=now,
            expires_at=now,
        )
    )
    session.flush()
    session.add(
        Reversal(
            id=f"du_{account_id}",
            account_id=account_id,
            pack_id=f"cs_{account_id}",
            kind="dispute",
            amount=500,
            credits=0,
            taken=0,
            created_at=now,
        )
    )
    session.add(
        StripeEvent(
            id=f"evt_{account_id}",
            type="invoice.paid",
            object_id=f"in_{account_id}",
            created_at=now,
            received_at=now,
            handled_at=now,
            next_try_at=now,
        )
    )
    session.add(TrialCard(id=f"hash of {account_id}", account_id=account_id, kept_until=now))
    session.add(PeriodicWork(id=f"work of {account_id}", due_at=now))
    session.flush()
