"""Prices in the smallest currency units of Stripe, as text and back."""

import pytest

from billing.subscriptions import currencies

#: What an operator writes, the currency, Stripe's amount, what a customer reads.
#: According to Stripe's page of currencies.
TABLE = [
    ("9.00", "usd", 900, "$9.00"),
    ("9", "USD", 900, "$9.00"),
    ("0.01", "usd", 1, "$0.01"),
    ("1234.5", "eur", 123_450, "€1,234.50"),
    ("9.99", "gbp", 999, "£9.99"),
    ("9.50", "chf", 950, "9.50 CHF"),
    ("5.00", "usd", 500, "$5.00"),
    ("999999.99", "usd", 99_999_999, "$999,999.99"),
    # No decimals: the amount is the number itself.
    ("500", "jpy", 500, "500 JPY"),
    ("500.00", "jpy", 500, "500 JPY"),
    ("9900", "krw", 9_900, "9,900 KRW"),
    ("10000000", "vnd", 10_000_000, "10,000,000 VND"),
    ("500", "mga", 500, "500 MGA"),
    *[
        ("500", code, 500, f"500 {code.upper()}")
        for code in ("bif", "clp", "djf", "gnf", "kmf", "pyg", "rwf", "vuv", "xaf", "xof", "xpf")
    ],
    # Three decimals, the last one 0.
    ("5.000", "kwd", 5_000, "5.000 KWD"),
    ("5", "kwd", 5_000, "5.000 KWD"),
    ("5.12", "bhd", 5_120, "5.120 BHD"),
    ("0.010", "jod", 10, "0.010 JOD"),
    ("2.500", "omr", 2_500, "2.500 OMR"),
    ("2.500", "tnd", 2_500, "2.500 TND"),
    # No decimals for people, two for Stripe, which are always 00.
    ("900", "isk", 90_000, "900 ISK"),
    ("900.00", "isk", 90_000, "900 ISK"),
    ("5", "ugx", 500, "5 UGX"),
    ("35000", "ugx", 3_500_000, "35,000 UGX"),
    # Two decimals; only payouts are whole.
    ("10.45", "huf", 1_045, "10.45 HUF"),
    ("800.45", "twd", 80_045, "800.45 TWD"),
    # Two at Stripe, though ISO 4217 or locales have none.
    ("9.50", "afn", 950, "9.50 AFN"),
    ("9.50", "lbp", 950, "9.50 LBP"),
]


@pytest.mark.parametrize(("amount", "currency", "units", "text"), TABLE)
def test_an_amount_is_parsed_and_shown_in_its_currency(
    amount: str, currency: str, units: int, text: str
) -> None:
    assert currencies.smallest_units(amount, currency) == units
    assert currencies.text(units, currency) == text


@pytest.mark.parametrize(
    ("units", "currency", "text"),
    [
        (0, "usd", "$0.00"),
        (0, "jpy", "0 JPY"),
        (-4_000, "usd", "-$40.00"),
        (-4_000, "jpy", "-4,000 JPY"),
        (-5, "kwd", "-0.005 KWD"),
        (90_050, "isk", "900.50 ISK"),  # an invoice of before Stripe refused these
    ],
)
def test_what_invoices_may_have_beyond_prices_is_shown(units: int, currency: str, text: str) -> None:
    assert currencies.text(units, currency) == text


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("-9", "usd"),
        ("0", "usd"),
        ("0.00", "usd"),
        ("9,00", "usd"),
        ("9.001", "usd"),
        ("1e3", "usd"),
        ("٩", "usd"),
        (" 9", "usd"),
        ("9.", "usd"),
        ("", "usd"),
        ("1000000.00", "usd"),
        ("9.50", "jpy"),
        ("100000000", "jpy"),
        ("9", "$"),
        ("9", "usdt"),
        ("9", ""),
        ("2.505", "kwd"),
        ("5.124", "kwd"),
        ("0.001", "bhd"),
        ("5.0000", "kwd"),
        ("9.50", "isk"),
        ("5.50", "ugx"),
    ],
)
def test_an_invalid_amount_is_refused(amount: str, currency: str) -> None:
    with pytest.raises(ValueError, match=r"not a price|cannot be charged"):
        currencies.smallest_units(amount, currency)
