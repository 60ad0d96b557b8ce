"""Amounts in Stripe's smallest currency units, according to its own table of currencies.

Tables of ISO 4217 or of locales differ from it: they have no decimals for ISK, UGX, AFN or LBP, for which
Stripe uses two. HUF and TWD have two as well: only payouts to the operator's bank are in whole units.
"""

import re
from decimal import Decimal

_NO_DECIMALS = frozenset(
    "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split()  # noqa: SIM905 - reads better
)
#: Stripe, like card networks, requires the last of the three digits to be zero.
_THREE_DECIMALS = frozenset("bhd jod kwd omr tnd".split())  # noqa: SIM905 - likewise
#: Without decimals, but counted in hundredths for compatibility: 5 UGX are 500.
_WHOLE_ONLY = frozenset({"isk", "ugx"})
_SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£"}
#: Stripe accepts amounts of at most eight digits.
_UNITS_MAX = 99_999_999


def decimals(currency: str) -> int:
    """The number of decimals that Stripe counts a currency's amounts in."""
    code = currency.lower()
    return 0 if code in _NO_DECIMALS else 3 if code in _THREE_DECIMALS else 2


def text(units: int, currency: str) -> str:
    """The amount as text, such as "$9.00", "900 JPY", "2.500 KWD", "900 ISK" or "-$5.00"."""
    code = currency.lower()
    digits = decimals(code)
    shown = 0 if code in _WHOLE_ONLY and units % 100 == 0 else digits
    amount = f"{abs(Decimal(units)) / 10**digits:,.{shown}f}"
    symbol, sign = _SYMBOLS.get(code), "-" if units < 0 else ""
    return f"{sign}{symbol}{amount}" if symbol else f"{sign}{amount} {currency.upper()}"


def smallest_units(amount: str, currency: str) -> int:
    """`"9.00"` in the smallest unit of `currency`. Raises ValueError for what Stripe cannot charge."""
    if not re.fullmatch(r"[0-9]{1,8}(\.[0-9]{1,3})?", amount) or not re.fullmatch(r"[A-Za-z]{3}", currency):
        raise ValueError(f"{amount} {currency} is not a price: write it as 9.00 and usd")
    code = currency.lower()
    units = Decimal(amount) * 10 ** decimals(code)
    step = 10 if code in _THREE_DECIMALS else 100 if code in _WHOLE_ONLY else 1
    if not 0 < units <= _UNITS_MAX or units % step:
        raise ValueError(f"{amount} {currency} cannot be charged by Stripe in this currency")
    return int(units)
