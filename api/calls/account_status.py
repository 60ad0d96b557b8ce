"""An account's rate and credits at one moment of a request: what the headers of the answer report."""

from dataclasses import dataclass

from api.rate_limit import RateState


@dataclass(frozen=True)
class AccountStatus:
    """None stands for what is not known yet, such as before authentication."""

    rate: RateState | None = None
    credits_remaining: int | None = None
    credits_charged: int = 0
