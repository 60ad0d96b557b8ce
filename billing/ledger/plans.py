"""The three plans and their limits: the only place that defines them."""

from dataclasses import dataclass
from enum import StrEnum


class PlanName(StrEnum):
    FREE = "free"
    STANDARD = "standard"
    BUSINESS = "business"


@dataclass(frozen=True)
class Plan:
    name: PlanName
    title: str
    monthly_credits: int
    concurrent_calls: int
    calls_per_minute: int
    paid: bool
    price_lookup_key: str | None = None


PLANS: dict[PlanName, Plan] = {
    plan.name: plan
    for plan in (
        Plan(PlanName.FREE, "Free", 15, 2, 20, paid=False),
        Plan(PlanName.STANDARD, "Standard", 500, 10, 120, True, "bgeraser_standard_monthly"),
        Plan(PlanName.BUSINESS, "Business", 5_000, 50, 600, True, "bgeraser_business_monthly"),
    )
}
