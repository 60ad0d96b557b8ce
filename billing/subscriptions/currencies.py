"""Stripe's smallest currency units, according to its own table.

Tables of ISO 4217 or of locales differ from it: they have no decimals for ISK, AFN or LBP, for which
Stripe uses two.
"""

import re
from decimal import Decimal

_NO_DECIMALS = frozenset(
    "bif clp djf gnf jpy kmf krw mga pyg rwf ugx vnd vuv xaf xof xpf".split()  # noqa: SIM905 - reads better
)
#: Stripe, like card networks, requires the last of the three digits to be zero.
_THREE_DECIMALS = frozenset("bhd jod kwd omr tnd".split())  # noqa: SIM905 - likewise
#: Counted in hundredths, but only whole units are accepted.
_WHOLE_ONLY = frozenset({"isk"})
_SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£"}


def decimals(currency: str) -> int:
    """The number of decimals of a currency at Stripe."""
    code = currency.lower()
    return 0 if code in _NO_DECIMALS else 3 if code in _THREE_DECIMALS else 2


def text(units: int, currency: str) -> str:
    """The amount as text, such as "$9.00", "900 JPY" or "2.500 KWD"."""
    digits = decimals(currency)
    amount = f"{Decimal(units) / 10**digits:,.{digits}f}"
    symbol = _SYMBOLS.get(currency.lower())
    return f"{symbol}{amount}" if symbol else f"{amount} {currency.upper()}"


def smallest_units(amount: str, currency: str) -> int:
    """`"9.00"` in the smallest unit of `currency`. Raises ValueError for what Stripe cannot charge."""
    if not re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,3})?", amount) or not re.fullmatch(r"[A-Za-z]{3}", currency):
        raise ValueError(f"{amount} {currency} is not a price: write it as 9.00 and usd")
    code = currency.lower()
    units = Decimal(amount) * 10 ** decimals(code)
    step = 10 if code in _THREE_DECIMALS else 100 if code in _WHOLE_ONLY else 1
    if units <= 0 or units % step:
        raise ValueError(f"{amount} {currency} cannot be charged by Stripe in this currency")
    return int(units)
