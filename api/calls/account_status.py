"""An account's rate and credits during a request, as reported by the answer's headers."""

from dataclasses import dataclass

from api.rate_limit import RateState


@dataclass(frozen=True)
class AccountStatus:
    """None means not known yet, for example before authentication."""

    rate: RateState | None = None
    credits_remaining: int | None = None
    credits_charged: int = 0
