"""Acts, credits and sizes in words."""

from collections.abc import Mapping
from typing import Any

from api.operators.models import Act
from billing.ledger.models import GrantKind
from billing.ledger.plans import PLANS, PlanName

ACT_TITLES: Mapping[Act, str] = {
    Act.CREATE_ACCOUNT: "Account created",
    Act.CREATE_KEY: "API key created",
    Act.LOGIN_LINK: "Login link created",
    Act.GRANT_OPERATOR: "Made an operator",
    Act.REVOKE_OPERATOR: "Operator's mark taken away",
    Act.GRANT_CREDITS: "Credits granted",
    Act.TAKE_BACK_CREDITS: "Credits taken back",
    Act.CHANGE_PLAN: "Plan changed",
    Act.SUSPEND: "Suspended",
    Act.RESTORE: "Restored",
    Act.END_SESSIONS: "Browsers signed out",
    Act.REVOKE_KEYS: "API keys revoked",
    Act.REFUND_CALL: "Call refunded",
    Act.RECONCILE: "Compared with Stripe",
}
GRANT_TITLES: Mapping[str, str] = {
    GrantKind.MONTHLY: "Free plan, this month",
    GrantKind.PLAN: "Paid plan, this month",
    GrantKind.PACK: "Credit pack",
    GrantKind.GOODWILL: "Given by the operator",
    GrantKind.RETURNED: "Returned after a dispute or a failed refund",
}
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
#: Names of values in the log, where they are not clear by themselves.
_VALUE_NAMES = {
    "setByOperator": "set by an operator",
    "expiresAt": "end",
    "asked": "asked for",
    "since": "suspended since",
}


def plan(name: str) -> str:
    return PLANS[PlanName(name)].title


def size(size_bytes: int) -> str:
    """`512 bytes`, `1.5 GiB`."""
    amount = float(size_bytes)
    for unit in _UNITS:
        if amount < 1024 or unit == _UNITS[-1]:
            break
        amount /= 1024
    return f"{size_bytes:,} bytes" if unit == _UNITS[0] else f"{amount:,.1f} {unit}"


def seconds(milliseconds: int | None) -> str:
    return "-" if milliseconds is None else f"{milliseconds / 1000:.2f} s"


def percent(share: float) -> str:
    """`0 %`, `0.4 %`, `12 %`."""
    number = share * 100
    return f"{number:.1f} %" if 0 < number < 10 else f"{number:.0f} %"


def values(entry: Mapping[str, Any]) -> str:
    """`available 3, held 0`."""
    return ", ".join(f"{_VALUE_NAMES.get(name, name)} {_value(value)}" for name, value in entry.items())


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "never"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return str(value)
