"""Prices in the smallest currency units of Stripe."""

import pytest

from billing.subscriptions import currencies


@pytest.mark.parametrize(
    ("amount", "currency", "units"),
    [
        ("9.00", "usd", 900),
        ("9", "USD", 900),
        ("9.5", "eur", 950),
        ("900", "jpy", 900),
        ("2.500", "kwd", 2_500),
        ("2.5", "BHD", 2_500),
        ("900", "isk", 90_000),
    ],
)
def test_an_amount_is_parsed_in_its_currency(amount: str, currency: str, units: int) -> None:
    assert currencies.smallest_units(amount, currency) == units


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("-9", "usd"),
        ("0", "usd"),
        ("9,00", "usd"),
        ("9.001", "usd"),
        ("9.50", "jpy"),
        ("9", "$"),
        ("2.505", "kwd"),
        ("9.50", "isk"),
    ],
)
def test_an_invalid_amount_is_refused(amount: str, currency: str) -> None:
    with pytest.raises(ValueError, match=r"not a price|cannot be charged"):
        currencies.smallest_units(amount, currency)
