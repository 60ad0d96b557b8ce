"""What is read from Stripe's objects; tests/fakes/test_stripe_shapes.py compares the shapes themselves."""

import pytest

from billing.subscriptions import parsing


@pytest.mark.notices(fault="pending refunds are ignored")
@pytest.mark.parametrize(
    ("status", "is_in_effect"),
    [
        ("succeeded", True),
        ("pending", True),
        ("requires_action", True),
        ("failed", False),
        ("canceled", False),
        (None, False),
    ],
)
def test_a_refund_is_in_effect_unless_it_failed_or_was_cancelled(
    status: str | None, is_in_effect: bool
) -> None:
    stripe_refund = {"id": "re_1", "status": status, "amount": 300, "created": 1_790_000_000}
    found = parsing.refund(stripe_refund)
    assert (found is not None) is is_in_effect
    assert found is None or found.amount == 300


@pytest.mark.parametrize(
    ("status", "is_in_effect"),
    [
        ("needs_response", True),
        ("under_review", True),
        ("lost", True),
        ("won", False),
        ("warning_needs_response", False),
        ("prevented", False),
    ],
)
def test_a_dispute_is_in_effect_while_its_money_is_withdrawn(status: str, is_in_effect: bool) -> None:
    stripe_dispute = {"id": "du_1", "status": status, "amount": 900, "created": 1_790_000_000}
    assert (parsing.dispute(stripe_dispute) is not None) is is_in_effect
