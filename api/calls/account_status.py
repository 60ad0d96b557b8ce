"""What is known of an account while one of its requests is served: it becomes the answer's headers."""

from dataclasses import dataclass

from api.rate_limit import RateState


@dataclass
class AccountStatus:
    """Filled in as it becomes known, so that refusals tell as much as successes."""

    rate: RateState | None = None
    credits_remaining: int | None = None
    credits_charged: int = 0
